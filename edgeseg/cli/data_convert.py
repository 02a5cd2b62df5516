"""`edgeseg data convert`: parse, convert, print what was done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.output import emit_json, verbosity

if TYPE_CHECKING:
    from edgeseg.data.convert import Conversion


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--to", required=True, metavar="KIND", help="coco or yolo-seg.")
@click.option(
    "--from", "kind", metavar="KIND", help="coco, yolo-seg, labelme, masks or via; told from SOURCE if absent."
)
@click.option("--split", "splits", multiple=True, help="A part of SOURCE (default: all), or the name of its one part.")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of the pictures, where they are not found.")
@click.option(
    "--class", "classes", multiple=True, metavar="NAME", help="Class of all objects, or one for each class id."
)
@click.option("--attribute", default="", help="Region attribute of a VIA json that holds the class.")
@click.option("--copy", "pictures", flag_value="copy", default="copy", help="Copy the pictures (the default).")
@click.option("--link", "pictures", flag_value="link", help="Link to the pictures.")
@click.option("--absolute", "pictures", flag_value="absolute", help="Name pictures by their absolute path (COCO).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbosity
def command(source: Path, destination: Path, to: str, kind: str | None, as_json: bool, **options: Any) -> None:
    """Convert the data set SOURCE into the folder DESTINATION.

    SOURCE is a COCO or VIA json, a YOLO-seg yaml, a folder of LabelMe files, of mask PNGs (one value or colour an
    instance), or one with SegmentationObject and SegmentationClass.
    """
    from edgeseg.data.convert import convert
    from edgeseg.data.convert_options import ConvertOptions

    done = convert(source, destination, to, kind=kind, options=ConvertOptions(**options))
    if as_json:
        emit_json(_facts(done))
        return
    for part, pictures in done.pictures.items():
        click.echo(f"{part}: {pictures} pictures, {done.annotations[part]} annotations, from {done.kind}")
    for note in done.notes:
        click.echo(f"  {note}")
    for file in done.files:
        click.echo(file)


def _facts(done: Conversion) -> dict[str, Any]:
    parts = [
        {"part": part, "pictures": pictures, "annotations": done.annotations[part]}
        for part, pictures in done.pictures.items()
    ]
    return {"from": done.kind, "files": [str(file) for file in done.files], "parts": parts, "notes": list(done.notes)}
