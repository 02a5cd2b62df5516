"""`edgeseg verify`: prove one artifact against its reference, or a bundle against its golden vectors."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import click

from edgeseg.cli.output import emit_json, parse_pairs, progress_bar, verbosity

BUNDLE_ONLY = ("result", "runs", "finished")


@click.command(context_settings={"show_default": True})
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--against", type=click.Path(path_type=Path), help="Reference weights; default: found by hash near it.")
@click.option("--pictures", multiple=True, metavar="SOURCE", help="What to compare on; default: the shipped photos.")
@click.option("--gate", multiple=True, metavar="NAME=LIMIT", help="Such as mask_iou_min=0.98; over the defaults.")
@click.option("--score", type=float, help="Score threshold of the compared instances.  [default: 0.25]")
@click.option("--iou", type=float, help="Suppression threshold.  [default: 0.7]")
@click.option("--option", multiple=True, metavar="KEY=VALUE", help="Of the artifact's runtime.")
@click.option("--worst", type=click.Path(path_type=Path), help="Folder for pictures of the worst instances.")
@click.option("--result", type=click.Path(path_type=Path), help="Of a bundle.  [default: result.json beside it]")
@click.option("--runs", type=int, help="Of a bundle: timed runs, 0 for none.  [default: 20]")
@click.option("--finished", type=click.Path(path_type=Path), help="Of a bundle: keep here what is compiled.")
@click.option("--blame", is_flag=True, help="Name the step that loses the masks.")
@click.option("--bisect", is_flag=True, help="Name the first layer that differs.")
@click.option("--offline", is_flag=True, help="Of a build.json: check again the hashes of all that it names.")
@click.option("--strict", is_flag=True, help="With --offline: what cannot be reached fails, too.")
@click.option("--signers", type=click.Path(path_type=Path), help="With --offline: allowed signers (ssh-keygen).")
@click.option("--identity", help="With --signers: who must have signed.")
@click.option("--json", "json_file", help="Write the report as JSON; - for stdout.")
@verbosity
def command(artifact: Path, **asked: Any) -> None:
    """Compare ARTIFACT with the PyTorch reference on the same bytes; exit 5 where a gate is not met.

    A bundle (`edgeseg bundle`) brings its reference along: it is finished here, compared and timed without PyTorch.
    With --offline, ARTIFACT is a build.json: all hashes that it names are checked again, and nothing is run.
    """
    from edgeseg.build_manifest import is_build_manifest
    from edgeseg.bundle.unpack import is_bundle
    from edgeseg.cli import verify_build
    from edgeseg.errors import UsageError

    if is_build_manifest(artifact):
        verify_build.run(artifact, asked)
        return
    verify_build.refuse(artifact, asked)
    if is_bundle(artifact):
        inner = [name for name in ("blame", "bisect") if asked.pop(name)]
        if inner:
            raise UsageError(
                f"--{inner[0]}: {artifact} is a bundle, whose reference is a recording that cannot be run again",
                hint="name the artifact, and its weights by --against",
            )
        from edgeseg.cli.verify_bundle import run

        run(artifact, asked)
        return
    given = [name for name in BUNDLE_ONLY if asked[name] is not None]
    if given and artifact.exists():
        raise UsageError(
            f"--{given[0]}: is for a bundle, {artifact} is none", hint="`edgeseg bundle ARTIFACT` makes one"
        )
    _verify(artifact, **asked)


def _verify(artifact: Path, **asked: Any) -> None:
    from edgeseg.cli.verify_text import print_verification
    from edgeseg.errors import GateError
    from edgeseg.export import find_reference
    from edgeseg.photos import shipped_photos
    from edgeseg.predict import load
    from edgeseg.report.schema import verify_json
    from edgeseg.sources import open_sources
    from edgeseg.verify import VerifyOptions, verify

    thresholds = {name: asked[name] for name in ("score", "iou") if asked[name] is not None}
    options = VerifyOptions(parse_gates(parse_pairs(asked["gate"], "--gate")), **thresholds)
    with closing(load(artifact, **parse_pairs(asked["option"], "--option"))) as opened:
        weights = asked["against"] or find_reference(artifact, opened.metadata)
        with closing(load(weights)) as reference:
            frames = open_sources(list(asked["pictures"]) or [str(path) for path in shipped_photos()])
            with progress_bar("verify", frames.total) as advance:
                report = verify(reference, opened, frames, options, lambda _: advance())
        content = verify_json(report, asked["worst"])
        if asked["blame"] or asked["bisect"]:
            from edgeseg.cli.verify_inside import looked_inside

            content |= looked_inside(opened, Path(weights), options, asked)
    if asked["json_file"]:
        emit_json(content, asked["json_file"])
    if asked["json_file"] != "-":
        print_verification(content)
    blamed = content.get("blame", {}).get("step", "")
    if not report.passed or blamed:
        raise GateError(
            f"{artifact}: not equal to {weights}: " + "; ".join(report.failures or [f"{blamed} loses masks"]),
            hint="; ".join(report.diagnosis),
        )


def parse_gates(pairs: dict[str, Any]) -> Any:
    """Gates from the command line, refused with the known names."""
    from pydantic import ValidationError

    from edgeseg.errors import UsageError, did_you_mean
    from edgeseg.gates import Gates

    for name in pairs:
        if name not in Gates.model_fields:
            raise UsageError(f"--gate: no gate {name!r}", hint=did_you_mean(name, Gates.model_fields))
    try:
        return Gates.model_validate(pairs, strict=False)
    except ValidationError as error:
        raise UsageError(f"--gate {error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from error
