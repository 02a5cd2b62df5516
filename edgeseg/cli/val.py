"""`edgeseg val`: AP of any model on an annotated data set."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.output import emit_json, parse_pairs, progress_bar, verbosity

if TYPE_CHECKING:
    from edgeseg.data.dataset import Dataset
    from edgeseg.metrics.coco_results import CocoResults
    from edgeseg.validate import Metrics, Retention


@click.command(context_settings={"show_default": True})
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path), required=False)
@click.option("--split", default="val", help="Part of a YOLO-seg set.")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of a COCO set's pictures.")
@click.option("--against", type=click.Path(path_type=Path), help="Reference: print the retention of AP.")
@click.option("--force", is_flag=True, help="A retention over fewer than 32 pictures.")
@click.option("--save-json", type=click.Path(path_type=Path), help="COCO results, for any judge.")
@click.option("--json", "json_file", help="All numbers as JSON; - for stdout.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="AP by class.")
@click.option("--html", type=click.Path(path_type=Path), help="A page with all numbers, curves and the worst pictures.")
@click.option("--batch", type=int, help="Pictures per run; default: the model's.")
@click.option("--image-size", nargs=2, type=int, metavar="H W", help="Letterbox size; default: the model's.")
@click.option("--workers", type=int, default=max((os.cpu_count() or 1) - 1, 0), help="Processes for the masks.")
@click.option("--option", multiple=True, metavar="KEY=VALUE", help="Of the runtime, such as threads=4.")
@verbosity
def command(model: Path, data: Path | None, **asked: Any) -> None:
    """Box and mask AP of MODEL on DATA: a COCO json or a YOLO-seg yaml.

    The published protocol: score 0.001, IoU 0.7, several classes a point, at most 300 detections a picture, masks at
    the picture's own resolution, COCOeval. Without DATA, the set that weights remember
    from their training, and artifacts from their weights.
    """
    from edgeseg.data.open import open_dataset
    from edgeseg.files import write_atomically
    from edgeseg.report.val_json import val_csv, val_json
    from edgeseg.validate import remembered_data, require_pictures, retention

    source, images = (data, asked["images"]) if data else remembered_data(model, asked["images"])
    dataset = open_dataset(source, split=asked["split"], images=images)
    if asked["against"]:
        require_pictures(len(dataset), force=asked["force"])
    metrics = _validated(model, dataset, asked)
    retained: tuple[Retention, ...] = ()
    if asked["against"]:
        # The reference sees what the artifact saw: another size would be another network.
        size = tuple(metrics.environment["image_size"])
        reference = _validated(asked["against"], dataset, {**asked, "image_size": size, "option": ()})
        retained = retention(reference, metrics, force=asked["force"])
    if asked["save_json"]:
        _save_results(asked["save_json"], metrics.detections.rows)
    if asked["csv_file"]:
        write_atomically(asked["csv_file"], val_csv(metrics).encode())
    if asked["html"]:
        _write_page(asked["html"], metrics, dataset, retained)
    if asked["json_file"]:
        emit_json(val_json(metrics, retained), asked["json_file"])
    if asked["json_file"] != "-":
        _print(metrics, retained)


def _validated(model: Path, dataset: Dataset, asked: dict[str, Any]) -> Metrics:
    from edgeseg.predict import load
    from edgeseg.validate import validate

    options = parse_pairs(asked["option"], "--option")
    with closing(load(model, **options)) as opened, progress_bar(f"val {model.name}", len(dataset)) as advance:
        return validate(
            opened,
            dataset,
            workers=asked["workers"],
            batch=asked["batch"],
            image_size=asked["image_size"],
            progress=advance,
        )


def _save_results(path: Path, rows: CocoResults) -> None:
    """Write COCO results to a file, or to stdout (``-``), row by row: the whole text is as large as its rows."""
    from edgeseg.files import replacing

    if str(path) == "-":
        sys.stdout.writelines(rows.json_parts())
        return
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(rows.json_parts())


def _write_page(path: Path, metrics: Metrics, dataset: Dataset, retained: tuple[Retention, ...]) -> None:
    from edgeseg.files import write_atomically
    from edgeseg.report.val_page import render_val

    # A file name of a Linux disk may hold bytes that are no text: they show as question marks.
    write_atomically(path, render_val(metrics, dataset, retained).encode(errors="replace"))


def _print(metrics: Metrics, retained: tuple[Retention, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    from edgeseg.report.words import counted_objects

    table = Table("", "AP", "AP50", "AP75", "small", "medium", "large", "AR100", box=None, pad_edge=False)
    keys = ("AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge", "AR100")
    for name, numbers in (("box", metrics.box), ("mask", metrics.seg)):
        table.add_row(name, *(f"{numbers.stats[key]:.4f}" for key in keys))
    console = Console(markup=False, highlight=False)
    console.print(table)
    best = metrics.curves.best
    objects = counted_objects(metrics.objects, metrics.crowds)
    console.print(
        f"{metrics.pictures} pictures, {objects}, judged by {metrics.seg.judge}; "
        f"masks: best F1 {metrics.curves.f1[best]:.3f} at score {metrics.curves.thresholds[best]:.2f}",
        soft_wrap=True,
    )
    for one in retained:
        console.print(
            f"{one.kind} AP retention {100 * one.value:.2f} % (95 % interval {100 * one.low:.2f} to "
            f"{100 * one.high:.2f} %, paired bootstrap over {one.pictures} pictures)",
            soft_wrap=True,
        )
    for reference, sha256 in {(one.reference, one.reference_sha256): None for one in retained}:
        console.print(f"the reference is {reference}, sha256 {sha256}", soft_wrap=True)
