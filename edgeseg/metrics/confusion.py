"""Which classes are taken for which, at a score that users would set: matched by mask IoU whatever the class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.metrics.coco_results import CocoResults

SCORE = 0.25
MATCH_IOU = 0.5


@dataclass
class PictureScore:
    """How well one picture went.

    Attributes:
        image_id: of the picture.
        right: objects matched by a detection of their own class.
        wrong: detections of another class, or of nothing.
        missed: objects without a detection of their class.
        mask_ious: of all matched pairs.
    """

    image_id: int
    right: int = 0
    wrong: int = 0
    missed: int = 0
    mask_ious: list[float] = field(default_factory=list)

    @property
    def quality(self) -> float:
        """F1 of the picture weighted by mask IoU: 1 is perfect, and that of one where only crowds were found."""
        counted = 2 * self.right + self.wrong + self.missed
        return 2 * sum(self.mask_ious) / counted if counted else 1.0


@dataclass(frozen=True)
class Confusion:
    """Counts over all pictures.

    Attributes:
        table: (classes + 1, classes + 1): row is the object's class, column the detection's; the last of each is
            background.
        pictures: one score per picture that has objects or detections.
    """

    table: NDArray[np.int64]
    pictures: list[PictureScore]


def confusion_of(truth: Mapping[str, Any], results: Iterable[Mapping[str, Any]]) -> Confusion:
    """Match detections above `SCORE` to objects by mask IoU, best first.

    Args:
        truth: a COCO instances dictionary whose `segmentation`s are RLE with text counts.
        results: COCO results with `segmentation`.
    """
    order = {row["id"]: index for index, row in enumerate(truth["categories"])}
    found = CocoResults.of(results)
    objects: dict[int, list[Mapping[str, Any]]] = {}
    for row in truth["annotations"]:
        objects.setdefault(row["image_id"], []).append(row)
    places, nothing = _best_by_image(found), np.empty(0, np.intp)
    table = np.zeros((len(order) + 1, len(order) + 1), np.int64)
    pictures = [
        _picture(image, objects.get(image, []), list(found.rows(places.get(image, nothing))), order, table)
        for image in sorted(objects.keys() | places.keys())
    ]
    return Confusion(table, pictures)


def _best_by_image(found: CocoResults) -> dict[int, NDArray[np.intp]]:
    """Image id to the places of its detections above `SCORE`, best first."""
    images, scores = found.table["image_id"], found.table["score"]
    order = np.lexsort((-scores, images))
    order = order[scores[order] > SCORE]
    values, starts = np.unique(images[order], return_index=True)
    return dict(zip(values.tolist(), np.split(order, starts[1:]), strict=False))


def _picture(
    image: int,
    objects: list[Mapping[str, Any]],
    found: list[Mapping[str, Any]],
    order: Mapping[int, int],
    table: NDArray[np.int64],
) -> PictureScore:
    score = PictureScore(image)
    background = len(order)
    crowd = np.array([bool(row.get("iscrowd", 0)) for row in objects], bool)
    overlaps = _overlaps(found, objects, crowd)
    free = ~crowd
    for row, overlap in zip(found, overlaps, strict=True):
        column = order[row["category_id"]]
        best = int(np.where(free, overlap, -1.0).argmax()) if len(objects) else -1
        if best >= 0 and free[best] and overlap[best] >= MATCH_IOU:
            free[best] = False
            actual = order[objects[best]["category_id"]]
            table[actual, column] += 1
            if actual == column:
                score.right += 1
                score.mask_ious.append(float(overlap[best]))
            else:
                score.wrong, score.missed = score.wrong + 1, score.missed + 1
        elif not (overlap[crowd] >= MATCH_IOU).any():
            table[background, column] += 1
            score.wrong += 1
    for index in np.flatnonzero(free):
        table[order[objects[index]["category_id"]], background] += 1
        score.missed += 1
    return score


def _overlaps(
    found: list[Mapping[str, Any]], objects: list[Mapping[str, Any]], crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    if not found or not objects:
        return np.zeros((len(found), len(objects)))
    from pycocotools import mask

    rows = [row["segmentation"] for row in found]
    iou = mask.iou(rows, [row["segmentation"] for row in objects], crowd.astype(np.uint8).tolist())
    return np.asarray(iou, np.float64)
