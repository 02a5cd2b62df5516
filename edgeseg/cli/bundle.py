"""`edgeseg bundle`: pack an artifact for a device that finishes and verifies it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgeseg.cli.output import emit_json, is_quiet, parse_pairs, progress_bar, verbosity


@click.command(context_settings={"show_default": True})
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--against", type=click.Path(path_type=Path), help="Reference weights; default: found by hash near it.")
@click.option("--pictures", multiple=True, metavar="SOURCE", help="What to record; default: the shipped photos.")
@click.option("--gate", multiple=True, metavar="NAME=LIMIT", help="Judged on the device; over those of its build.")
@click.option(
    "--card", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The model card, to go along."
)
@click.option("--calibration", multiple=True, metavar="SOURCE", help="Pictures that the device calibrates with.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Default: STEM.bundle.tar beside the artifact.")
@click.option("--json", "as_json", is_flag=True, help="Print hashes and sizes.")
@verbosity
def command(artifact: Path, against: Path | None, output: Path | None, as_json: bool, **asked: Any) -> None:
    """Pack ARTIFACT with golden vectors of its reference; `edgeseg verify BUNDLE` checks it without PyTorch.

    Where ARTIFACT lies in a build's folder, its target's id and gates are those of the build.
    """
    from edgeseg.bundle.from_build import of_build
    from edgeseg.bundle.pack import BundleRequest, write_bundle
    from edgeseg.bundle.portable import open_portable
    from edgeseg.cli.verify import parse_gates
    from edgeseg.export import find_reference
    from edgeseg.gates import Gates

    # "n.onnx/" has the name "n.onnx"; "." has none.
    artifact = artifact.resolve() if not artifact.name else artifact
    target, gates = of_build(artifact)
    given = parse_gates(parse_pairs(asked["gate"], "--gate")).model_dump(exclude_none=True)
    request = BundleRequest(
        artifact=artifact,
        reference=against or find_reference(artifact, open_portable(artifact).metadata),
        pictures=asked["pictures"],
        output=output or artifact.with_name(f"{artifact.stem}.bundle.tar"),
        target_id=target,
        gates=Gates(**{**gates.model_dump(exclude_none=True), **given}),
        card=asked["card"].read_bytes() if asked["card"] else b"",
        calibration=asked["calibration"],
    )
    with progress_bar("record", None) as advance:
        facts = write_bundle(request, lambda _: advance())
    if as_json:
        emit_json({"path": str(request.output), **facts})
        return
    click.echo(request.output)
    if not is_quiet():
        click.echo(
            f"{facts['megabytes']:.1f} MB, {facts['pictures']} pictures, {facts['instances']} instances; "
            f"on the device: edgeseg verify {request.output.name}",
            err=True,
        )
