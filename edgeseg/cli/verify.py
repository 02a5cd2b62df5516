"""`edgeseg verify`: prove one artifact against its reference."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.output import emit_json, parse_pairs, progress_bar, verbosity

if TYPE_CHECKING:
    from edgeseg.verify import VerifyReport


@click.command(context_settings={"show_default": True})
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--against", type=click.Path(path_type=Path), help="Reference weights; default: found by hash near it.")
@click.option("--pictures", multiple=True, metavar="SOURCE", help="What to compare on; default: the shipped photos.")
@click.option("--gate", multiple=True, metavar="NAME=LIMIT", help="Such as mask_iou_min=0.98; over the defaults.")
@click.option("--score", default=0.25, help="Score threshold of the compared instances.")
@click.option("--iou", default=0.7, help="Suppression threshold.")
@click.option("--option", multiple=True, metavar="KEY=VALUE", help="Of the artifact's runtime.")
@click.option("--worst", type=click.Path(path_type=Path), help="Folder for pictures of the worst instances.")
@click.option("--json", "json_file", help="Write the report as JSON; - for stdout.")
@verbosity
def command(artifact: Path, against: Path | None, pictures: tuple[str, ...], **asked: Any) -> None:
    """Compare ARTIFACT with the PyTorch reference on the same bytes; exit 5 where a gate is not met."""
    from edgeseg.errors import GateError
    from edgeseg.export import find_reference
    from edgeseg.photos import shipped_photos
    from edgeseg.predict import load
    from edgeseg.report.schema import verify_json
    from edgeseg.sources import open_sources
    from edgeseg.verify import VerifyOptions, verify

    gates = parse_gates(parse_pairs(asked["gate"], "--gate"))
    with closing(load(artifact, **parse_pairs(asked["option"], "--option"))) as opened:
        weights = against or find_reference(artifact, opened.metadata)
        with closing(load(weights)) as reference:
            frames = open_sources(list(pictures) or [str(path) for path in shipped_photos()])
            with progress_bar("verify", frames.total) as advance:
                options = VerifyOptions(gates, asked["score"], asked["iou"])
                report = verify(reference, opened, frames, options, lambda _: advance())
    content = verify_json(report, asked["worst"])
    if asked["json_file"]:
        emit_json(content, asked["json_file"])
    if asked["json_file"] != "-":
        _print(report)
    if not report.passed:
        raise GateError(
            f"{artifact}: not equal to {weights}: " + "; ".join(report.failures), hint="; ".join(report.diagnosis)
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


def _print(report: VerifyReport) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    if report.tensors:
        table = Table("tensor", "max error", "mean error", "SQNR dB", "cosine", box=None)
        for row in report.tensors:
            numbers = (
                f"{row['max_abs']:.2e}",
                f"{row['mean_abs']:.2e}",
                f"{row['sqnr_db']:.1f}",
                f"{row['cosine']:.6f}",
            )
            table.add_row(str(row["name"]), *numbers)
        console.print(table)
    if report.masks:
        masks = report.masks
        console.print(
            f"\n{masks['pictures']} pictures, {masks['matched']} instances matched, {masks['missing']} missing, "
            f"{masks['extra']} extra"
        )
    gates = Table("gate", "value", "limit", "margin", "", box=None)
    for gate in report.gates:
        gates.add_row(
            gate.name, f"{gate.value:.6g}", f"{gate.limit:g}", f"{gate.margin:+.3g}", "met" if gate.met else "NOT MET"
        )
    console.print(gates)
    if report.not_judged:
        console.print(
            "not judged here: " + ", ".join(report.not_judged) + " (a build judges it on data.val; see edgeseg val)",
            soft_wrap=True,
        )
    for worst in report.worst[:3]:
        console.print(f"worst: {worst.source}: {worst.what}")
