"""Mask IoU of every instance after a data set went to another format and back.

    python benchmarks/convert_roundtrip.py SET...

A SET is a COCO json or a YOLO-seg yaml; `SET@DIR` names the folder of its pictures. Masks are rasterised and compared
by pycocotools, the originals from the source's own files: those of a label file by its numbers times the picture's
size.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from edgeseg.data.convert import convert, kind_of
from edgeseg.data.convert_options import ConvertOptions
from edgeseg.data.picture_size import picture_size
from edgeseg.data.yolo_yaml import label_path, list_pictures, read_yaml

OTHER = {"coco": "yolo-seg", "yolo-seg": "coco"}
LIMIT = 0.99

Masks = dict[str, list[Any]]
"""Picture stem to compressed masks, crowds left out."""


def of_coco(path: Path) -> Masks:
    """Masks of a COCO json."""
    content = json.loads(path.read_bytes())
    images = {row["id"]: row for row in content["images"]}
    masks: Masks = {Path(row["file_name"]).stem: [] for row in content["images"]}
    for row in content["annotations"]:
        if not row.get("iscrowd"):
            image = images[row["image_id"]]
            masks[Path(image["file_name"]).stem].append(rle(row["segmentation"], image["height"], image["width"]))
    return masks


def of_yolo(path: Path, split: str) -> Masks:
    """Masks of a YOLO-seg set."""
    masks: Masks = {}
    for picture in list_pictures(read_yaml(path), split).pictures:
        height, width = picture_size(picture)
        label = Path(label_path(picture))
        lines = label.read_text().splitlines() if label.is_file() else []
        rings = [np.array(line.split()[1:], float) * np.tile([width, height], len(line.split()) // 2) for line in lines]
        masks[Path(picture).stem] = [rle([ring.tolist()], height, width) for ring in rings]
    return masks


def rle(segmentation: Any, height: int, width: int) -> Any:
    """A compressed mask."""
    if isinstance(segmentation, dict):
        packed = isinstance(segmentation["counts"], str)
        return segmentation if packed else coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))


def ious(before: Masks, after: Masks) -> Iterator[float]:
    """IoU of each instance with its counterpart; an instance that is lost counts 0."""
    for stem, masks in before.items():
        pairs = list(zip(masks, after[stem], strict=False))
        yield from [0.0] * abs(len(masks) - len(after[stem]))
        for a, b in pairs:
            both_empty = coco_mask.area(a) == coco_mask.area(b) == 0
            yield 1.0 if both_empty else float(coco_mask.iou([a], [b], [0])[0, 0])


def main() -> None:
    """Convert there and back, print the counts."""
    worst = 1.0
    for argument in sys.argv[1:]:
        name, _, images = argument.partition("@")
        source, kind = Path(name), kind_of(Path(name))
        with tempfile.TemporaryDirectory() as folder:
            options = ConvertOptions(("val",), images=Path(images) if images else None, pictures="link")
            there = convert(source, Path(folder, "there"), OTHER[kind], options=options)
            back = convert(
                there.files[0], Path(folder, "back"), kind, options=ConvertOptions(("val",), pictures="link")
            )
            if kind == "coco":
                before, after = of_coco(source), of_coco(back.files[0])
            else:
                before, after = of_yolo(source, "val"), of_yolo(back.files[0], "val")
            found = np.array(list(ious(before, after)))
        worst = min(worst, found.min())
        print(f"{name}: {kind} to {OTHER[kind]} and back, {len(found)} instances that are no crowds")
        print(f"  IoU 1: {(found == 1).sum()}, at least {LIMIT}: {(found >= LIMIT).sum()}, least: {found.min():.6f}")
        for note in there.notes + back.notes:
            print(f"  {note}")
    sys.exit(worst < LIMIT)


if __name__ == "__main__":
    main()
