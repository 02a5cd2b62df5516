"""`edgeseg data split`: divide a data set into training, validation and test parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.output import emit_json, verbosity

if TYPE_CHECKING:
    from edgeseg.data.split import SplitResult


@click.command(context_settings={"show_default": True})
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("folder", metavar="DEST", type=click.Path(path_type=Path))
@click.option("--val", default=0.2, help="Share of the pictures to validate on.")
@click.option("--test", default=0.0, help="Share of the pictures to test on; 0 makes no such part.")
@click.option("--seed", default=0, help="Another seed divides otherwise.")
@click.option(
    "--group",
    metavar="REGEX",
    help="Keep pictures together whose path gives the same for this expression (its first group, if any).",
)
@click.option("--copy", is_flag=True, help="Copy the pictures; else the new files point to where they are.")
@click.option("--split", default="train", help="Part of a YOLO-seg yaml to divide.")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of a COCO set's pictures.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbosity
def command(source: Path, folder: Path, split: str, images: Path | None, as_json: bool, **options: Any) -> None:
    """Divide SOURCE, a COCO json or a YOLO-seg yaml, into parts of the same format in DEST.

    Each class is divided by its share, and pictures of the same bytes stay together.
    """
    from edgeseg.data.split import SplitOptions, split_dataset

    made = split_dataset(source, folder, SplitOptions(**options), split=split, images=images)
    if as_json:
        emit_json({"together": made.together, "parts": [_row(made, part) for part in made.sources]})
    else:
        _print(made)


def _row(made: SplitResult, part: str) -> dict[str, Any]:
    return {
        "part": part,
        "source": str(made.sources[part]),
        "pictures": made.pictures[part],
        "objects": [
            {"name": name, "objects": number} for name, number in zip(made.names, made.objects[part], strict=True)
        ],
    }


def _print(made: SplitResult) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("class", box=None, pad_edge=False)
    for part in made.sources:
        table.add_column(part, justify="right")
    for class_id, name in enumerate(made.names):
        table.add_row(name, *(str(made.objects[part][class_id]) for part in made.sources))
    table.add_section()
    table.add_row("objects", *(str(sum(made.objects[part])) for part in made.sources))
    table.add_row("pictures", *(str(made.pictures[part]) for part in made.sources))
    Console(markup=False, highlight=False).print(table)
    if made.together:
        click.echo(f"pictures kept with one of the same bytes: {made.together}")
    for path in dict.fromkeys(made.sources.values()):
        click.echo(path)
