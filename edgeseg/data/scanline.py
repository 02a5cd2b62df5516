"""Where polygon rings pass the middles of rows: the base of label maps and of areas under the even-odd rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.labelled import Parts
from edgeseg.data.rasterise import Floats, Ints

_AREA_ROWS = 32
"""Rows that measure an area: a clipped outline's share is right to a few percent, which is all that is asked of it."""


def joined(rings: Sequence[NDArray[np.floating]]) -> tuple[Floats, Ints]:
    """(P, 2) points of R rings, one after another, and (R + 1,) index of each ring's first point, and P."""
    first = np.zeros(len(rings) + 1, np.int64)
    np.cumsum([len(ring) for ring in rings], out=first[1:])
    return np.concatenate(rings).astype(np.float64) if len(rings) else np.zeros((0, 2)), first


def passings(points: Floats, first: Ints, rows: int) -> tuple[Ints, Ints, Floats]:
    """Where rings pass the middle of a row, y = row + 0.5; a ring does so an even number of times in every row.

    Args:
        points: (P, 2) x, y of all rings, in rows.
        first: (R + 1,) index of each ring's first point, and P.
        rows: passings of rows 0 to `rows` - 1 are wanted.

    Returns:
        (E,) ring, row and x of each passing, unsorted.
    """
    following = np.arange(1, len(points) + 1)
    following[first[1:] - 1] = first[:-1]
    x, y = points[:, 0], points[:, 1]
    dx, dy = x[following] - x, y[following] - y
    # An edge has its lower end and lacks its upper one, so that a corner on a row's middle counts once.
    top = np.clip(np.ceil(np.minimum(y, y[following]) - 0.5), 0, rows).astype(np.int64)
    bottom = np.clip(np.ceil(np.maximum(y, y[following]) - 0.5), 0, rows).astype(np.int64)
    number = bottom - top
    edge = np.repeat(np.arange(len(points)), number)
    row = np.arange(len(edge)) + np.repeat(top - np.cumsum(number) + number, number)
    slope = dx / np.where(dy == 0, 1, dy)
    ring = np.repeat(np.arange(len(first) - 1), np.diff(first))[edge]
    return ring, row, x[edge] + (row + 0.5 - y[edge]) * slope[edge]


def areas(objects: Sequence[Parts]) -> Floats:
    """(N,) area of each object in square px, summed over its parts, each even-odd; from 32 rows of each part.

    The shoelace formula would take a part that winds the other way for a hole: joined rings have such parts.

    Args:
        objects: N times at least one ring.
    """
    rings = [ring for parts in objects for ring in parts]
    if not rings:
        return np.zeros(len(objects))
    points, first = joined(rings)
    low = np.minimum.reduceat(points[:, 1], first[:-1])
    height = np.maximum.reduceat(points[:, 1], first[:-1]) - low
    lengths = np.diff(first)
    points[:, 1] -= np.repeat(low, lengths)
    points[:, 1] *= np.repeat(_AREA_ROWS / np.where(height == 0, 1, height), lengths)
    ring, row, x = passings(points, first, _AREA_ROWS)
    x = x[np.lexsort((x, row, ring))]
    ring = np.sort(ring)
    widths = np.bincount(ring, np.where(np.arange(len(x)) % 2 == 0, -x, x), len(rings))
    owner = np.repeat(np.arange(len(objects)), [len(parts) for parts in objects])
    found: Floats = np.bincount(owner, widths * height / _AREA_ROWS, len(objects)).astype(np.float64)
    return found
