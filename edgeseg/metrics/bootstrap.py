"""AP of any weighting of the pictures, many at once, and the retention with its bootstrap interval.

With all weights 1, AP equals the judge's (average_precision.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeseg.metrics.matching import IOU_THRESHOLDS, Matches

RECALLS = np.linspace(0, 1, 101)
"""Where COCO samples the precision (cocodataset.org/#detection-eval)."""

CHUNK = 2_000_000
"""Weights gathered at a time, of detections times samples: 16 MB."""


def average_precisions(matches: Matches, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """AP of each class and threshold when picture i counts `weights[sample, i]` times.

    Args:
        matches: from `match_detections`.
        weights: (samples, pictures); None is one sample that counts each picture once.

    Returns:
        (samples, classes, 10), NaN for classes without objects in the weighted pictures.
    """
    classes, pictures = matches.objects.shape
    counts = np.ones((1, pictures)) if weights is None else np.asarray(weights, np.float64)
    positives = counts @ matches.objects.T
    result = np.zeros((len(counts), classes, len(IOU_THRESHOLDS)))
    starts = np.searchsorted(matches.class_index, np.arange(classes + 1))
    for index in range(classes):
        part = slice(starts[index], starts[index + 1])
        correct, ignored = matches.correct[:, part], matches.ignored[:, part]
        step = max(CHUNK // max(part.stop - part.start, 1), 1)
        for first in range(0, len(counts), step):
            some = slice(first, first + step)
            weight = counts[some, matches.image_index[part]]
            result[some, index] = _class_precisions(weight, correct, ignored, positives[some, index])
    result[positives <= 0] = np.nan
    return result


def _class_precisions(
    weight: NDArray[np.float64], correct: NDArray[np.bool_], ignored: NDArray[np.bool_], positives: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(samples, 10) of one class, from (samples, N) weights of its detections and (samples,) weights of its objects.

    Only at a correct detection can the recall or the highest precision of the rest begin, so all is sampled there.
    """
    result = np.zeros((len(weight), len(correct)))
    every = np.cumsum(weight, axis=1)
    for threshold, (right, neither) in enumerate(zip(correct, ignored, strict=True)):
        places = np.flatnonzero(right)
        if not len(places):
            continue
        true = np.cumsum(weight[:, places], axis=1)
        seen = (np.cumsum(weight * ~neither, axis=1) if neither.any() else every)[:, places]
        precision = np.divide(true, seen, out=np.zeros_like(true), where=seen > 0)
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        # How many of the 101 recalls are first reached at each place; recall 0 is reached at the first of all.
        reached = np.searchsorted(RECALLS, true / np.maximum(positives, 1)[:, None], side="right")
        result[:, threshold] = (envelope * np.diff(reached, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)
    return result


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
        The retention, and the 2.5 % and 97.5 % quantiles of its resamplings; NaN where the reference's AP is 0.
    """
    pictures = reference.objects.shape[1]
    reference, found = _without_tails(reference), _without_tails(found)
    draws = np.random.default_rng(seed).multinomial(pictures, np.full(pictures, 1 / pictures), size=samples)
    (value,) = _ratios(reference, found, np.ones((1, pictures)))
    ratios = _ratios(reference, found, draws.astype(np.float64))
    known = ratios[np.isfinite(ratios)]
    low, high = np.quantile(known, (0.025, 0.975)) if len(known) else (np.nan, np.nan)
    return float(value), float(low), float(high)


def _ratios(reference: Matches, found: Matches, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(samples,) mean AP of one over the other's; NaN where the other's is 0, or no picture has objects."""
    ours, theirs = _means(found, weights), _means(reference, weights)
    return np.divide(ours, theirs, out=np.full_like(ours, np.nan), where=theirs > 0)


def _means(matches: Matches, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(samples,) mean over the classes that have objects, NaN where none has."""
    values = average_precisions(matches, weights).reshape(len(weights), -1)
    known = np.isfinite(values)
    mean: NDArray[np.float64] = np.full(len(values), np.nan)
    np.divide(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1), out=mean, where=known.any(axis=1))
    return mean


def _without_tails(matches: Matches) -> Matches:
    """Without what comes after a class's last correct detection, which no AP depends on: most of all detections."""
    correct = np.any(matches.correct, axis=0)
    last = np.full(len(matches.objects), -1, np.intp)
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
