"""Small data sets on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SQUARE = [10.0, 10.0, 30.0, 10.0, 30.0, 30.0, 10.0, 30.0]
"""A polygon of 20 x 20 px."""

WIDTH, HEIGHT = 64, 48


def write_picture(path: Path, size: tuple[int, int] = (HEIGHT, WIDTH), value: int = 0) -> Path:
    """A picture of one grey value; `size` is (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full(size, value, np.uint8))
    return path


def annotation(number: int = 1, segmentation: Any = None, **fields: Any) -> dict[str, Any]:
    """A COCO annotation of picture 1, a square unless told otherwise; a field that is None is left out."""
    row = {
        "id": number,
        "image_id": 1,
        "category_id": 7,
        "segmentation": [SQUARE] if segmentation is None else segmentation,
        "bbox": [10.0, 10.0, 20.0, 20.0],
        "area": 400.0,
        "iscrowd": 0,
    } | fields
    return {key: value for key, value in row.items() if value is not None}


def write_coco(folder: Path, annotations: Sequence[Mapping[str, Any]], **lists: Any) -> Path:
    """A COCO set of the picture images/a.png with the categories 3 and 7, unless `lists` say otherwise."""
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": list(annotations),
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    } | lists
    write_picture(folder / "images" / "a.png")
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


def write_yolo(folder: Path, labels: Mapping[str, str | None], yaml: str = "") -> Path:
    """A YOLO-seg set of images/val/<stem>.png for each stem; None means no label file."""
    for stem, text in labels.items():
        write_picture(folder / "images" / "val" / f"{stem}.png")
        if text is not None:
            path = folder / "labels" / "val" / f"{stem}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    path = folder / "data.yaml"
    path.write_text(yaml or "path: .\nval: images/val\nnames: [cat, dog]\n")
    return path
