"""Objects of one picture pasted into another, so that pixels and masks agree.

A label map puts the smaller of two objects on top. Pasting follows the same order: an object goes over larger ones
and under smaller ones, and each pixel comes from the picture whose object a label map shows there. No outline has to
be cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.label_map import label_map, stacking
from edgeseg.data.labelled import Labelled, Parts

MAX_HIDDEN = 0.3
"""Share of an object that pasting may hide: its box stays that of the whole object, and should stay near the rest."""


def paste(below: Labelled, other: Labelled) -> Labelled:
    """A picture with objects of another in it, where they hide little.

    Args:
        below: the picture.
        other: of the same size; its objects are pasted, from the largest, each unless it or an object that it
            overlaps would have more than `MAX_HIDDEN` hidden by pasting.
    """
    height, width = below.picture.shape[:2]
    count = len(below.objects)
    chosen = _fitting((*below.objects, *other.objects), count, (height, width))
    if not chosen:
        return below
    objects = (*below.objects, *(other.objects[at] for at in chosen))
    size = (height, width)
    shown = label_map(objects, size, stride=1, order=stacking(objects, size))
    picture = np.where((shown > count)[..., None], other.picture, below.picture)
    return Labelled(picture, np.concatenate([below.class_ids, other.class_ids[chosen]]), objects)


def _fitting(objects: Sequence[Parts], count: int, size: tuple[int, int]) -> list[int]:
    """Which of the objects after the first `count` are pasted, counted from there."""
    order = stacking(objects, size)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    overlap = _overlaps(objects, size)
    budget = MAX_HIDDEN * np.diag(overlap)
    pasted = np.arange(len(objects)) < count
    for at in order[order >= count].tolist():
        over = np.flatnonzero(pasted & (rank < rank[at]))
        under = np.flatnonzero(pasted & (rank > rank[at]))
        own = overlap[at, under].sum()
        if own <= budget[at] and (overlap[over, at] <= budget[over]).all():
            budget[over] -= overlap[over, at]
            budget[at] -= own
            pasted[at] = True
    return [at - count for at in np.flatnonzero(pasted[count:]) + count]


def _overlaps(objects: Sequence[Parts], size: tuple[int, int]) -> NDArray[np.float32]:
    """(N, N) cells of the learned map that two objects share."""
    masks = np.stack([label_map([parts], size).ravel() for parts in objects]).astype(np.float32)
    shared: NDArray[np.float32] = masks @ masks.T
    return shared
