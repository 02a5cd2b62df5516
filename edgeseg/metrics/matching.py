"""Detections matched to objects by COCO's rule, for what the judge does not tell: curves, and the bootstrap.

The judge's twelve numbers come from its own code (average_precision.py). Here the IoUs that it computed are matched
again, by the same rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.files import replacing
from edgeseg.metrics.coco_results import CocoResults

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
MAX_DETECTIONS = 100
"""Of one class in one picture (COCO evaluation, cocodataset.org/#detection-eval)."""

_ALMOST_ONE = 1 - 1e-10


@dataclass(frozen=True)
class Matches:
    """All detections of all classes, grouped by class, best first within a class.

    Attributes:
        class_index: (N,) position in the list of categories.
        image_index: (N,) position in the list of pictures.
        scores: (N,) float64.
        correct: (10, N) whether it matches an object, by IoU threshold.
        ignored: (10, N) whether it matches a crowd, which counts neither way.
        objects: (classes, pictures) number of objects that are no crowd.
    """

    class_index: NDArray[np.intp]
    image_index: NDArray[np.intp]
    scores: NDArray[np.float64]
    correct: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    objects: NDArray[np.int64]


def match_detections(
    ious: Mapping[tuple[int, int], NDArray[np.float64]],
    truth: Mapping[str, Any],
    results: Iterable[Mapping[str, Any]],
) -> Matches:
    """Match by COCO's rule: best first, each to the free object that it overlaps most, a crowd only if none.

    Args:
        ious: the judge's, (image id, category id) to (detections, objects).
        truth: the COCO instances dictionary.
        results: the detections that were judged.
    """
    categories = {row["id"]: index for index, row in enumerate(truth["categories"])}
    images = {row["id"]: index for index, row in enumerate(truth["images"])}
    crowds: dict[tuple[int, int], list[bool]] = {}
    for row in truth["annotations"]:
        crowds.setdefault((row["image_id"], row["category_id"]), []).append(bool(row.get("iscrowd", 0)))
    objects = np.zeros((len(categories), len(images)), np.int64)
    for (image, category), flags in crowds.items():
        objects[categories[category], images[image]] = len(flags) - sum(flags)
    cells, scores = _best_first(CocoResults.of(results).table, categories, images)
    correct = np.zeros((len(IOU_THRESHOLDS), cells.size), bool)
    ignored = np.zeros_like(correct)
    for (image, category), iou in ious.items():
        cell = categories[category] * len(images) + images[image]
        part = slice(*np.searchsorted(cells, (cell, cell + 1)))
        correct[:, part], ignored[:, part] = _match(iou, np.array(crowds[image, category]))
    class_index, image_index = np.divmod(cells, max(len(images), 1))
    order = np.lexsort((-scores, class_index))
    return Matches(
        class_index[order], image_index[order], scores[order], correct[:, order], ignored[:, order], objects
    )  # fmt: skip


def _best_first(
    table: NDArray[np.void], categories: Mapping[int, int], images: Mapping[int, int]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Cells and scores of the detections that count, best first within a cell, which is a class in a picture."""
    cells = _places(table["category_id"], categories) * len(images) + _places(table["image_id"], images)
    # In a cell, as everywhere, equal scores keep the order of the results.
    order = np.lexsort((-table["score"], cells))
    cells, scores = cells[order], table["score"][order]
    counted = np.arange(cells.size) - np.searchsorted(cells, cells) < MAX_DETECTIONS
    return cells[counted], scores[counted]


def _places(ids: NDArray[np.int64], known: Mapping[int, int]) -> NDArray[np.intp]:
    """The position of each id."""
    values, inverse = np.unique(ids, return_inverse=True)
    return np.array([known[value] for value in values.tolist()], np.intp)[inverse]


def _match(iou: NDArray[np.float64], crowd: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """One class of one picture: (10, detections) correct and ignored."""
    thresholds = np.minimum(IOU_THRESHOLDS, _ALMOST_ONE)
    correct = np.zeros((len(thresholds), len(iou)), bool)
    ignored = np.zeros_like(correct)
    every = np.arange(len(thresholds))
    free = np.repeat(~crowd[None, :], len(thresholds), axis=0)
    for index, row in enumerate(iou):
        # Among equal overlaps the last object wins, as in the judge.
        overlap = np.where(free, row, -1.0)
        best = len(crowd) - 1 - overlap[:, ::-1].argmax(axis=1)
        hit = overlap[every, best] >= thresholds
        correct[:, index] = hit
        free[every[hit], best[hit]] = False
        ignored[:, index] = ~hit & (np.where(crowd, row, -1.0).max() >= thresholds)
    return correct, ignored


def save_matches(path: Path, matches: Mapping[str, Matches]) -> None:
    """Write several matches to one `.npz`, atomically; no pickle."""
    arrays = {f"{kind}.{name}": array for kind, one in matches.items() for name, array in vars(one).items()}
    with replacing(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def load_matches(path: Path) -> dict[str, Matches]:
    """Read what `save_matches` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        kinds = sorted({name.partition(".")[0] for name in stored.files})
        return {kind: Matches(**{f.name: stored[f"{kind}.{f.name}"] for f in fields(Matches)}) for kind in kinds}
