"""Objects as boxes and as one map of labels, sampled at the exact centres of its cells.

OpenCV's `fillPoly` also fills the pixels under an outline, which makes every object half a cell larger all round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.labelled import Parts
from edgeseg.data.rasterise import Ints
from edgeseg.data.scanline import joined, passings

MASK_STRIDE = 4
"""Input px per cell of the maps that are learned (facts.md, section 3)."""


def label_map(
    objects: Sequence[Parts], size: tuple[int, int], stride: int = MASK_STRIDE, order: Ints | None = None
) -> NDArray[np.int16]:
    """Which object each cell shows: k + 1 where the cell's centre lies in object k, 0 where it lies in none.

    Args:
        objects: N, below 32,767.
        size: (H, W) of the picture in px, multiples of `stride`.
        stride: px per cell, down and across; the centre of cell c is at (c + 0.5) * stride.
        order: (N,) object numbers, the undermost first; None gives `stacking`'s.

    Returns:
        (H / stride, W / stride).
    """
    labels = np.zeros((size[0] // stride, size[1] // stride), np.int16)
    runs = _runs(objects, size, stride)
    if order is None:
        order = _larger_first(runs, len(objects))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    chosen = np.argsort(rank[runs.owner], kind="stable")
    owner, first, length = (column[chosen] for column in runs)
    # Of several values for one cell NumPy keeps the last.
    labels.ravel()[_cells(first, length)] = np.repeat((owner + 1).astype(np.int16), length)
    return labels


def object_maps(objects: Sequence[Parts], size: tuple[int, int], stride: int = MASK_STRIDE) -> NDArray[np.bool_]:
    """Which cells have their centre in each object, whatever else covers them; arguments as of `label_map`.

    Returns:
        (N, H / stride, W / stride).
    """
    rows, columns = size[0] // stride, size[1] // stride
    owner, first, length = _runs(objects, size, stride)
    maps = np.zeros((len(objects), rows, columns), np.bool_)
    maps.ravel()[_cells(owner * (rows * columns) + first, length)] = True
    return maps


def stacking(objects: Sequence[Parts], size: tuple[int, int]) -> Ints:
    """(N,) object numbers, the undermost first: the fewer cells of the learned map one covers, the higher it lies.

    Of objects with equally many the later lies higher; cells of overlapping parts of one object count twice.
    """
    return _larger_first(_runs(objects, size, MASK_STRIDE), len(objects))


def boxes(objects: Sequence[Parts]) -> NDArray[np.float32]:
    """(N, 4) xyxy extents of N objects, px."""
    if not objects:
        return np.zeros((0, 4), np.float32)
    points = np.concatenate([ring for parts in objects for ring in parts])
    first = np.cumsum([0, *(sum(map(len, parts)) for parts in objects)])[:-1]
    low, high = np.minimum.reduceat(points, first), np.maximum.reduceat(points, first)
    extents: NDArray[np.float32] = np.concatenate([low, high], axis=1).astype(np.float32)
    return extents


class _Runs(NamedTuple):
    """Cells side by side in one row: their object, the first one's place in the map, how many."""

    owner: Ints
    first: Ints
    length: Ints


def _runs(objects: Sequence[Parts], size: tuple[int, int], stride: int) -> _Runs:
    rows, columns = size[0] // stride, size[1] // stride
    points, first = joined([ring for parts in objects for ring in parts])
    ring, row, x = passings(points / stride, first, rows)
    column = np.clip(np.ceil(x - 0.5), 0, columns).astype(np.int64)
    # One number that sorts by ring, then row, then column: each pair of neighbours is where a run starts and ends.
    key = np.sort((ring * rows + row) * (columns + 1) + column)
    line, column = np.divmod(key, columns + 1)
    start, stop, line = column[::2], column[1::2], line[::2]
    owner = np.repeat(np.arange(len(objects)), [len(parts) for parts in objects])
    return _Runs(owner[line // rows], line % rows * columns + start, stop - start)


def _cells(first: Ints, length: Ints) -> Ints:
    """All places of runs, one run after another."""
    cells: Ints = np.arange(length.sum()) + np.repeat(first - np.cumsum(length) + length, length)
    return cells


def _larger_first(runs: _Runs, objects: int) -> Ints:
    cells = np.bincount(runs.owner, runs.length, objects)
    return np.argsort(-cells, kind="stable")
