"""Small data sets made by hand, for tests that split and check them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SIZE = 40


def write_picture(path: Path, seed: int, size: tuple[int, int] = (SIZE, SIZE)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8))


def write_yolo(folder: Path, labels: Mapping[str, str | None], names: tuple[str, ...] = ("cat", "dog")) -> Path:
    """Picture paths below `images` to the text of their label files; None writes no label file."""
    for number, (name, text) in enumerate(labels.items()):
        write_picture(folder / "images" / name, number)
        if text is not None:
            label = folder / "labels" / Path(name).with_suffix(".txt")
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(text)
    parts = sorted({name.split("/")[0] for name in labels})
    path = folder / "data.yaml"
    path.write_text("".join(f"{part}: images/{part}\n" for part in parts) + f"names: {list(names)}\n")
    return path


def annotation(number: int, image: int, category: int = 1, **changes: Any) -> dict[str, Any]:
    """A square of 10 px in the middle."""
    square = [[10, 10, 20, 10, 20, 20, 10, 20]]
    row = {"id": number, "image_id": image, "category_id": category, "segmentation": square, "iscrowd": 0}
    return {**row, "bbox": [10, 10, 10, 10], "area": 100, **changes}


def coco_content(pictures: int, annotations: list[Any], **changes: Any) -> dict[str, Any]:
    images = [{"id": n, "file_name": f"{n}.png", "height": SIZE, "width": SIZE} for n in range(1, pictures + 1)]
    categories = [{"id": 1, "name": "cat"}, {"id": 5, "name": "dog"}]
    return {"images": images, "annotations": annotations, "categories": categories, **changes}


def write_coco(folder: Path, content: dict[str, Any]) -> Path:
    """The json with a picture for each row that names one."""
    for row in content["images"]:
        if isinstance(row, dict) and "file_name" in row:
            write_picture(folder / "images" / row["file_name"], row["id"])
    path = folder / "set.json"
    path.write_text(json.dumps(content))
    return path
