"""Detections matched to objects by COCO's rule, and AP of any weighting of the pictures: curves, bootstrap.

The judge's twelve numbers come from its own code (average_precision.py). Here the IoUs that it computed are matched
again, because a bootstrap needs AP of hundreds of resamplings.
With all weights 1 the result equals the judge's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.files import replacing

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
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
    ious: Mapping[tuple[int, int], NDArray[np.float64]], truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]
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
    scores: dict[tuple[int, int], list[float]] = {}
    for row in results:
        scores.setdefault((row["image_id"], row["category_id"]), []).append(row["score"])
    parts = []
    for key in sorted(scores.keys(), key=lambda pair: (categories[pair[1]], images[pair[0]])):
        found = -np.sort(-np.asarray(scores[key]), kind="stable")[:MAX_DETECTIONS]
        correct, ignored = _match(ious.get(key), np.asarray(crowds.get(key, []), bool), len(found))
        parts.append((categories[key[1]], images[key[0]], found, correct, ignored))
    return _sorted(parts, objects)


def _match(
    iou: NDArray[np.float64] | None, crowd: NDArray[np.bool_], count: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """One class of one picture: (10, count) correct and ignored."""
    thresholds = np.minimum(IOU_THRESHOLDS, _ALMOST_ONE)
    correct = np.zeros((len(thresholds), count), bool)
    ignored = np.zeros_like(correct)
    if iou is None or not len(crowd):
        return correct, ignored
    every = np.arange(len(thresholds))
    free = np.repeat(~crowd[None, :], len(thresholds), axis=0)
    for index, row in enumerate(iou[:count]):
        # Among equal overlaps the last object wins, as in the judge.
        overlap = np.where(free, row, -1.0)
        best = len(crowd) - 1 - overlap[:, ::-1].argmax(axis=1)
        hit = overlap[every, best] >= thresholds
        correct[:, index] = hit
        free[every[hit], best[hit]] = False
        ignored[:, index] = ~hit & (np.where(crowd, row, -1.0).max() >= thresholds)
    return correct, ignored


def _sorted(parts: list[tuple[int, int, NDArray[Any], NDArray[Any], NDArray[Any]]], objects: NDArray[Any]) -> Matches:
    if not parts:
        empty, flags = np.empty(0, np.intp), np.empty((len(IOU_THRESHOLDS), 0), bool)
        return Matches(empty, empty, np.empty(0), flags, flags, objects)
    classes = np.concatenate([np.full(len(part[2]), part[0], np.intp) for part in parts])
    images = np.concatenate([np.full(len(part[2]), part[1], np.intp) for part in parts])
    scores = np.concatenate([part[2] for part in parts])
    correct = np.concatenate([part[3] for part in parts], axis=1)
    ignored = np.concatenate([part[4] for part in parts], axis=1)
    order = np.lexsort((-scores, classes))
    return Matches(
        classes[order], images[order], scores[order], correct[:, order], ignored[:, order], objects
    )  # fmt: skip


def average_precisions(matches: Matches, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """AP of each class and threshold when picture i counts `weights[i]` times.

    Args:
        matches: from `match_detections`.
        weights: (pictures,); None counts each once.

    Returns:
        (classes, 10), NaN for classes without objects in the weighted pictures.
    """
    classes, pictures = matches.objects.shape
    counts = np.ones(pictures) if weights is None else np.asarray(weights, np.float64)
    positives = matches.objects @ counts
    weight = counts[matches.image_index]
    starts = np.searchsorted(matches.class_index, np.arange(classes + 1))
    result = np.full((classes, len(IOU_THRESHOLDS)), np.nan)
    result[positives > 0] = 0.0
    if not len(weight):
        return result
    true = _cumulated(matches.correct * weight, starts)
    seen = true + _cumulated((~matches.correct & ~matches.ignored) * weight, starts)
    precision = np.divide(true, seen, out=np.zeros_like(true), where=seen > 0)
    recall = true / np.maximum(positives, 1)[matches.class_index]
    for index in np.flatnonzero((positives > 0) & (np.diff(starts) > 0)):
        part = slice(starts[index], starts[index + 1])
        envelope = np.maximum.accumulate(precision[:, part][:, ::-1], axis=1)[:, ::-1]
        padded = np.concatenate([envelope, np.zeros((len(envelope), 1))], axis=1)
        for threshold, row in enumerate(recall[:, part]):
            result[index, threshold] = padded[threshold, np.searchsorted(row, RECALLS, side="left")].mean()
    return result


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


def bootstrap_retention(
    reference: Matches, found: Matches, samples: int = 400, seed: int = 0
) -> tuple[float, float, float]:
    """AP of an artifact over AP of its reference, with a paired bootstrap over the pictures.

    Args:
        reference: matches of the reference.
        found: matches of the artifact on the same pictures.
        samples: resamplings; both sides get the same ones.
        seed: of the resampling.

    Returns:
        The retention, and the 2.5 % and 97.5 % quantiles of its resamplings.
    """
    pictures = reference.objects.shape[1]
    reference, found = _without_tails(reference), _without_tails(found)
    draws = np.random.default_rng(seed).multinomial(pictures, np.full(pictures, 1 / pictures), size=samples)
    ratios = [_mean(found, weights) / _mean(reference, weights) for weights in draws.astype(np.float64)]
    low, high = np.nanquantile(ratios, (0.025, 0.975))
    return _mean(found, None) / _mean(reference, None), float(low), float(high)


def _without_tails(matches: Matches) -> Matches:
    """Without what comes after a class's last correct detection, which no AP depends on: most of all detections."""
    correct = np.any(matches.correct, axis=0)
    last = np.zeros(len(matches.objects), np.intp)
    np.maximum.at(last, matches.class_index[correct], np.flatnonzero(correct))
    kept = np.arange(correct.size) <= last[matches.class_index]
    return Matches(
        matches.class_index[kept],
        matches.image_index[kept],
        matches.scores[kept],
        matches.correct[:, kept],
        matches.ignored[:, kept],
        matches.objects,
    )


def _mean(matches: Matches, weights: NDArray[np.float64] | None) -> float:
    values = average_precisions(matches, weights)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _cumulated(values: NDArray[np.float64], starts: NDArray[np.intp]) -> NDArray[np.float64]:
    """Cumulative sums along axis 1 that start anew at each of `starts`."""
    total = np.cumsum(values, axis=1)
    before = np.concatenate([np.zeros((len(values), 1)), total], axis=1)[:, starts[:-1]]
    result: NDArray[np.float64] = total - np.repeat(before, np.diff(starts), axis=1)
    return result
