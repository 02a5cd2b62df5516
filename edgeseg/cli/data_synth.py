"""`edgeseg data synth`: draw a synthetic data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.output import emit_json, progress_bar, verbosity

if TYPE_CHECKING:
    from edgeseg.data.synthetic import SyntheticSet


@click.command(context_settings={"show_default": True})
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--images", default=200, help="Pictures to train on.")
@click.option("--val", default=50, help="Pictures to validate on, besides those.")
@click.option("--size", default=320, help="Side of the square pictures, px.")
@click.option("--classes", default="circle,triangle,square,star,ring", help="Also: ellipse, crescent, blob.")
@click.option("--seed", default=0, help="Another seed gives other pictures.")
@click.option("--max-objects", default=6, help="Most objects in a picture; the least is 1.")
@click.option("--format", default="coco", help="coco or yolo-seg.")
@click.option("--pictures", default="jpg", help="jpg or png.")
@click.option("--workers", type=int, help="Processes; default: one for each processor. The pictures are the same.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbosity
def command(folder: Path, classes: str, workers: int | None, as_json: bool, **options: Any) -> None:
    """Draw a data set of textured shapes, one over another, with exact masks, into DIR.

    The same options give the same pictures. DIR is a new or an empty folder.
    """
    from edgeseg.data.synthetic import synthesize
    from edgeseg.data.synthetic_options import SyntheticOptions

    asked = SyntheticOptions(classes=tuple(word.strip() for word in classes.split(",")), **options)
    with progress_bar("draw", asked.images + asked.val) as advance:
        made = synthesize(folder, asked, workers=workers, advance=advance)
    if as_json:
        emit_json({"folder": str(folder), "parts": [_row(made, part) for part in made.sources]})
        return
    for part, source in made.sources.items():
        counted = ", ".join(f"{number} {name}" for name, number in made.objects[part].items())
        click.echo(f"{part}: {made.pictures[part]} pictures ({counted}), {source}")


def _row(made: SyntheticSet, part: str) -> dict[str, Any]:
    return {
        "part": part,
        "source": str(made.sources[part]),
        "pictures": made.pictures[part],
        "objects": dict(made.objects[part]),
    }
