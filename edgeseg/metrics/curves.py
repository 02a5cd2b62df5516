"""Precision, recall and F1 against the score threshold, from matches at IoU 0.50."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeseg.metrics.matching import Matches

GRID = np.linspace(0, 1, 201)
"""Score thresholds of the curves."""


@dataclass(frozen=True)
class Curves:
    """Means over the classes that have objects.

    Attributes:
        thresholds: (T,) score thresholds.
        precision: (T,) share of detections above the threshold that are right; 1 where there is none.
        recall: (T,) share of objects that are found.
        f1: (T,) harmonic mean, by class, then averaged.
    """

    thresholds: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]

    @property
    def best(self) -> int:
        """Position of the threshold with the highest F1."""
        return int(self.f1.argmax())


def curves_of(matches: Matches) -> Curves:
    """The curves of all classes, averaged."""
    positives = matches.objects.sum(axis=1)
    rows = [_class_curves(matches, index, int(positives[index])) for index in np.flatnonzero(positives)]
    if not rows:
        nothing = np.zeros_like(GRID)
        return Curves(GRID, nothing, nothing, nothing)
    precision, recall, f1 = np.mean(rows, axis=0)
    return Curves(GRID, precision, recall, f1)


def _class_curves(matches: Matches, index: int, positives: int) -> NDArray[np.float64]:
    """(3, T): precision, recall, F1 of one class."""
    counted = (matches.class_index == index) & ~matches.ignored[0]
    # Scores fall within a class, so the number above a threshold is a search in the reversed order.
    scores = matches.scores[counted][::-1]
    right = np.concatenate([[0], np.cumsum(matches.correct[0, counted])])
    above = len(scores) - np.searchsorted(scores, GRID, side="left")
    found = right[above]
    precision = np.divide(found, above, out=np.ones(len(GRID)), where=above > 0)
    recall = found / positives
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros(len(GRID)), where=total > 0)
    return np.stack([precision, recall, f1])
