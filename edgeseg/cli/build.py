"""`edgeseg build`: a card to verified artifacts and a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeseg.cli.output import emit_json, is_quiet, verbosity

if TYPE_CHECKING:
    from edgeseg.build.execute import Build


@click.command()
@click.argument("card", type=click.Path(path_type=Path))
@click.option("--weights", type=click.Path(path_type=Path), help="Build from these; nothing is trained.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Folder of the results [default: runs/<name>].")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the card.")
@click.option("--only", multiple=True, metavar="TARGET", help="Build this target only: id, format or device.")
@click.option("--dry-run", is_flag=True, help="Print what would run, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print build.json.")
@verbosity
def command(  # noqa: PLR0913 - one parameter per option of the command line
    card: Path,
    weights: Path | None,
    output: Path | None,
    overrides: tuple[str, ...],
    only: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Build every target of CARD: train, export, inspect, verify against PyTorch, report.

    A card with a `train` section trains first, from its own weights or from fresh ones; a training that was cut off
    goes on. With --weights nothing is trained.
    """
    from edgeseg.build.plan import make_plan
    from edgeseg.card.load import load_card
    from edgeseg.card.resolve import resolve

    resolved = resolve(load_card(card, overrides), weights=weights)
    plan = make_plan(resolved, weights_given=weights is not None, only=only, output=output)
    if dry_run:
        click.echo("\n".join(plan.lines()))
        return
    from rich.console import Console

    from edgeseg.build.execute import execute, train
    from edgeseg.report.build_report import build_json, write_reports

    # It shows its own progress.
    plan = train(plan)
    console = Console(stderr=True)
    with console.status("building") as status:
        if is_quiet() or not console.is_terminal:
            status.stop()
        build = execute(plan, lambda target, stage, outcome: _tell(status, target, stage, outcome))
        _, page = write_reports(build)
    if as_json:
        emit_json(build_json(build))
    else:
        _print(build, page)
    error = build.error()
    if error is not None:
        raise error


def _tell(status: object, target: str, stage: str, outcome: str) -> None:
    import logging

    from rich.status import Status

    what = f"{target} {stage}".strip()
    if isinstance(status, Status):
        status.update(what)
    if outcome:
        logging.getLogger("edgeseg").info("%s: %s", what, outcome)


def _print(build: Build, page: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("target", "outcome", "mask IoU min", "median", "score error", "box error px", "MB", box=None)
    for target in build.targets:
        verified = target.stages.get("verify", {})
        masks, points = verified.get("masks", {}), verified.get("points", {})
        table.add_row(
            target.target.id,
            target.outcome,
            _number(masks.get("mask_iou_min"), ".4f"),
            _number(masks.get("mask_iou_median"), ".4f"),
            _number(points.get("score_error_max"), ".1e"),
            _number(points.get("box_error_px_max"), ".4f"),
            _number(target.stages.get("export", {}).get("artifact_mb"), ".1f"),
        )
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        # A log has no width: names must not be cut.
        console.width = max(console.width, 140)
    console.print(table)
    plan = build.plan
    instances = max((t.stages.get("verify", {}).get("masks", {}).get("matched", 0) for t in build.targets), default=0)
    console.print(f"{len(plan.pictures)} pictures ({plan.pictures_from}), {instances} instances matched")
    console.print(f"report: {page}", soft_wrap=True)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
