"""`edgeseg data check`: find what is wrong with a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.output import emit_json, progress_bar, verbosity

if TYPE_CHECKING:
    from edgeseg.data.check_result import CheckResult

PROBLEMS_SHOWN = 5
"""Of each kind, on the terminal."""


@click.command(context_settings={"show_default": True})
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--split", help="Check this part of a YOLO-seg yaml only; default: all.")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of a COCO set's pictures.")
@click.option(
    "--against",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A data set or a folder of pictures that must have none in common with SOURCE; may be repeated.",
)
@click.option("--html", type=click.Path(path_type=Path), help="Write a page with drawn samples.")
@click.option("--samples", default=24, type=click.IntRange(min=0), help="Pictures that the page shows.")
@click.option("--seed", default=0, help="Another seed draws other samples.")
@click.option("--no-decode", is_flag=True, help="Read the pictures' headers only: faster, finds less.")
@click.option("--strict", is_flag=True, help="Let warnings fail the check, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbosity
def command(source: Path, as_json: bool, **options: Any) -> None:
    """Find what is wrong with SOURCE, a COCO json or a YOLO-seg yaml.

    Missing and broken pictures, wrong classes, outlines that enclose nothing, duplicates, pictures in two parts.
    Exit 5 where there are errors, 0 where there are warnings at most.
    """
    from edgeseg.data.check import check_dataset
    from edgeseg.data.check_scan import scan

    found = scan(source, images=options["images"])
    against = [scan(path) for path in options["against"]]
    chosen, _ = found.divided(options["split"])
    with progress_bar("check", sum(len(part.pictures) for part in chosen)) as advance:
        result = check_dataset(
            found, split=options["split"], against=against, decode=not options["no_decode"], advance=advance
        )
    if options["html"]:
        _write_page(result, options["html"], options["samples"], options["seed"])
    if as_json:
        emit_json(result.to_json())
    else:
        _print(result)
    _judge(result, options["strict"])


def _write_page(result: CheckResult, path: Path, samples: int, seed: int) -> None:
    from edgeseg.files import write_atomically
    from edgeseg.report.data_page import render

    with progress_bar("draw", samples) as advance:
        page = render(result, samples=samples, seed=seed, advance=advance)
    write_atomically(path, page.encode(errors="replace"))


def _print(result: CheckResult) -> None:
    from rich.console import Console
    from rich.table import Table

    from edgeseg.data.check_problems import KINDS, grouped

    table = Table("part", box=None, pad_edge=False)
    for title in ("pictures", "without label", "objects", "crowds", "classes used"):
        table.add_column(title, justify="right")
    for part in result.parts:
        used = f"{sum(number > 0 for number in part.labels)} of {len(result.names)}"
        table.add_row(part.name, *map(str, (part.pictures, part.unlabelled, part.objects, part.crowds, used)))
    console = Console(markup=False, highlight=False)
    console.print(table)
    if any(part.crowds for part in result.parts):
        click.echo("a crowd is one mask for several objects; `edgeseg val` counts it neither as found nor as missed")
    for kind, problems in grouped(result.problems).items():
        click.echo(f"\n{KINDS[kind].severity}: {KINDS[kind].title} ({len(problems)})")
        for problem in problems[:PROBLEMS_SHOWN]:
            click.echo(f"  {problem.where}: {problem.message}")
        if len(problems) > PROBLEMS_SHOWN:
            click.echo(f"  and {len(problems) - PROBLEMS_SHOWN} more")
    click.echo(f"\n{_counted(result.errors, 'error')}, {_counted(result.warnings, 'warning')}")


def _judge(result: CheckResult, strict: bool) -> None:
    """Raise where the check fails.

    Raises:
        GateError: there are errors, or with `strict` warnings.
    """
    from edgeseg.errors import GateError

    if result.errors or (strict and result.warnings):
        counted = _counted(result.errors, "error")
        if strict:
            counted += f" and {_counted(result.warnings, 'warning')}"
        raise GateError(f"{result.source}: {counted}, expected none", hint="--json lists all, --html PAGE shows them")


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
