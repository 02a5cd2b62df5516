"""A COCO data set of drawn pictures, annotated with what the tiny network finds in them: it should find that again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import edgeseg
from edgeseg import rle
from edgeseg.testing.tiny import NAMES, tiny_frames
from tests.media import write_picture

CATEGORIES = (7, 3, 40)
"""Neither the class ids nor in order, so that a mix-up of the two shows."""


def write_annotated(folder: Path, model: Path, pictures: int, names: tuple[str, ...] = NAMES) -> Path:
    """Write the pictures and `instances.json` beside them.

    Args:
        folder: where.
        model: the tiny network in any format.
        pictures: how many.
        names: what the set calls the network's classes.
    """
    frames = tiny_frames()
    paths = [folder / f"{number:03d}.png" for number in range(pictures)]
    for number, path in enumerate(paths):
        seed = number % len(frames)
        write_picture(path, seed, frames[seed].picture.shape[:2])
    rows: list[dict[str, Any]] = []
    images = []
    with edgeseg.load(model) as opened:
        for image_id, (path, result) in enumerate(
            zip(paths, opened.predict([str(p) for p in paths]), strict=True), start=100
        ):
            height, width = result.instances.image_size
            images.append({"id": image_id, "file_name": path.name, "height": height, "width": width})
            rows += result.instances.to_coco(image_id, CATEGORIES)
    annotations = [
        {
            "id": number,
            "image_id": row["image_id"],
            "category_id": row["category_id"],
            "bbox": row["bbox"],
            "segmentation": row["segmentation"],
            "area": rle.area(row["segmentation"]),
            "iscrowd": 0,
        }
        for number, row in enumerate(rows, start=1)
    ]
    categories = [{"id": category, "name": name} for category, name in zip(CATEGORIES, names, strict=True)]
    source = folder / "instances.json"
    source.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return source
