"""A validation made by hand: two pictures, four objects, four detections, with every number known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg import rle
from edgeseg.data.dataset import Dataset
from edgeseg.data.open import open_dataset
from edgeseg.detect import Detections
from edgeseg.metrics.average_precision import judge
from edgeseg.metrics.coco_results import CocoResults
from edgeseg.metrics.confusion import confusion_of
from edgeseg.metrics.curves import curves_of
from edgeseg.metrics.matching import match_detections
from edgeseg.validate import Metrics
from tests.media import write_picture

NAMES = ("cat", "a dog", "Bird")
"""The last has no object; in the order of their ids, which is not that of the alphabet."""

CATEGORIES = (4, 9, 12)
SIZE = (80, 100)
CROWD = (0, 60, 20, 20)

OBJECTS = ((1, 4, (10, 10, 30, 30)), (1, 9, (50, 10, 20, 20)), (2, 4, (5, 5, 40, 40)))
"""Picture, category and square xywh of each, besides the crowd in picture 2."""

FOUND = (
    (1, 4, (10, 10, 30, 30), 0.9),  # a cat, exact
    (1, 4, (50, 10, 20, 20), 0.8),  # the dog, taken for a cat
    (2, 4, (5, 5, 40, 29), 0.7),  # a cat with mask IoU 0.725
    (2, 9, (60, 60, 10, 10), 0.6),  # a dog where nothing is
    (2, 9, (80, 10, 10, 10), 0.2),  # below the score of the confusion
)


def square(xywh: tuple[int, int, int, int], size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """An RLE."""
    left, top, width, height = xywh
    return dict(rle.encode(np.ones((height, width), bool), (top, left), size))


def write_set(
    folder: Path, names: tuple[str, ...] = NAMES, *, pictures: tuple[str, str] = ("one.png", "two.png")
) -> Dataset:
    """The two pictures with their annotations, opened."""
    for number, name in enumerate(pictures):
        write_picture(folder / "drawn.png", number, SIZE).rename(folder / name)
    rows = [(*row, 0) for row in OBJECTS] + [(2, CATEGORIES[0], CROWD, 1)]
    content = {
        "images": [
            {"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
            for number, name in enumerate(pictures, start=1)
        ],
        "annotations": [
            {"id": number, "image_id": image, "category_id": category, "bbox": list(xywh), "iscrowd": crowd}
            | {"area": xywh[2] * xywh[3], "segmentation": square(xywh)}
            for number, (image, category, xywh, crowd) in enumerate(rows, start=1)
        ],
        "categories": [{"id": category, "name": name} for category, name in zip(CATEGORIES, names, strict=True)],
    }
    source = folder / "instances.json"
    source.write_text(json.dumps(content))
    return open_dataset(source)


def metrics_of(dataset: Dataset, found: tuple[tuple[int, int, tuple[int, int, int, int], float], ...]) -> Metrics:
    """What a validation makes of these detections."""
    rows = [
        {"image_id": image, "category_id": category, "bbox": list(xywh), "score": score, "segmentation": square(xywh)}
        for image, category, xywh, score in found
    ]
    truth = dataset.to_coco()
    judged = {kind: judge(truth, rows, kind) for kind in ("bbox", "segm")}
    matches = {kind: match_detections(judgement.ious, truth, rows) for kind, judgement in judged.items()}
    detections = Detections(CocoResults(rows), pictures=len(dataset), seconds=1.5)
    detections.milliseconds.update({"network": 20.0, "masks": 5.0})
    return Metrics(
        box=judged["bbox"].precision,
        seg=judged["segm"].precision,
        names=dataset.names,
        pictures=len(dataset),
        objects=int(matches["segm"].objects.sum()),
        curves=curves_of(matches["segm"]),
        confusion=confusion_of(truth, rows),
        detections=detections,
        matches=matches["segm"],
        box_matches=matches["bbox"],
        data=str(dataset.source),
        model="somewhere/model.onnx",
        environment={"runs_as": {"provider": "CPU"}},
        crowds=1,
        data_sha256=dataset.sha256,
    )
