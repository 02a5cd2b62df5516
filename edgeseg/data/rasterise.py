"""Polygons to run-length masks, to the bit what pycocotools makes of them, without it.

The rule is that of the COCO API, https://github.com/cocodataset/cocoapi, common/maskApi.c (`rleFrPoly`, simplified
BSD licence): points are rounded to a grid of a fifth of a pixel, an edge is a line of grid points, and a column of
pixels is entered or left where such a line passes the column's middle. `rleFrPoly` walks every grid point; here the
passings alone are computed, for all edges of all rings at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeseg.rle import Rle, compress

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

GRID = 5
"""Grid points a pixel (`scale` in rleFrPoly)."""

_MIDDLE = 2
"""Of the grid points 0 to 4 of a pixel: a column changes between this one and the next."""

_PLACE_BITS = 40
"""Of a number that holds a ring and a place in a picture: a terapixel, and eight million rings."""

_RINGS_AT_ONCE = 4096


def on_grid(coordinates: Floats) -> Ints:
    """Grid point of each coordinate in px; like a cast in C this cuts towards zero."""
    # A coordinate beyond this is out of any picture, and must not overflow.
    return (np.clip(coordinates, -1e8, 1e8) * GRID + 0.5).astype(np.int64)


def snapped(coordinates: Floats) -> NDArray[np.float32]:
    """Coordinates in single precision that fall on the same grid points.

    Annotated coordinates such as 321.1 lie on the border of two grid points, where rounding to single precision
    would move an edge by a fifth of a pixel; those go one step of single precision to the right side.
    """
    single = coordinates.astype(np.float32)
    excess = on_grid(single.astype(np.float64)) - on_grid(coordinates)
    towards = np.where(excess > 0, -np.inf, np.inf).astype(np.float32)
    return np.where(excess == 0, single, np.nextafter(single, towards))


def decimals(ring: NDArray[np.float32]) -> Floats:
    """Coordinates with four decimals, for a file, wherever those fall on the same grid points."""
    exact = ring.astype(np.float64)
    rounded = exact.round(4)
    return np.where(on_grid(rounded) == on_grid(exact), rounded, exact)


def rasterise(rings: Sequence[NDArray[np.float32] | Floats], size: tuple[int, int]) -> Rle:
    """The union of polygon parts as a compressed mask; even-odd within a part.

    Args:
        rings: (K, 2) x, y in px each, closed implicitly; points may lie out of the picture.
        size: (height, width) of the picture, px.
    """
    total = size[0] * size[1]
    if not rings:
        return compress({"size": list(size), "counts": [total]})
    first = np.cumsum([0, *(len(ring) for ring in rings)])
    points = np.concatenate(rings).astype(np.float64)
    _, position = _passings(points, first, np.full((len(rings), 2), size))
    # Within each ring, passings go in and out by turns.
    step = np.where(np.arange(len(position)) % 2 == 0, 1, -1)
    by_place = np.argsort(position, kind="stable")
    place, cover = position[by_place], np.cumsum(step[by_place])
    last_of_place = np.append(place[1:] != place[:-1], True)[: len(place)]
    place, inside = place[last_of_place], cover[last_of_place] > 0
    edges = place[inside != np.concatenate([[False], inside[:-1]])[: len(inside)]]
    edges = edges[edges < total]
    return compress({"size": list(size), "counts": np.diff(edges, prepend=0, append=total)})


def ring_areas(points: Floats, first: Ints, sizes: Ints) -> Ints:
    """Pixels inside each of R rings, counted as in `rasterise`.

    Args:
        points: (P, 2) x, y in px of all rings, one after another.
        first: (R + 1,) index of each ring's first point, and P.
        sizes: (R, 2) height, width of each ring's picture, px.

    Returns:
        (R,) pixels.
    """
    areas = np.zeros(len(sizes), np.int64)
    for start in range(0, len(sizes), _RINGS_AT_ONCE):
        stop = min(start + _RINGS_AT_ONCE, len(sizes))
        low, high = int(first[start]), int(first[stop])
        ring, position = _passings(points[low:high], first[start : stop + 1] - low, sizes[start:stop])
        # Double precision is exact for sums of so few places.
        signed = np.where(np.arange(len(position)) % 2 == 0, -1.0, 1.0) * position
        areas[start:stop] = np.bincount(ring, signed, stop - start)
    return areas


@dataclass(frozen=True, slots=True)
class _Edges:
    """Edges in grid points, the end with the smaller x (of a steep one, y) first; `steep` is higher than wide."""

    x: Ints
    y: Ints
    dx: Ints
    dy: Ints
    steep: NDArray[np.bool_]

    def at(self, chosen: Ints) -> _Edges:
        return _Edges(*(getattr(self, name)[chosen] for name in self.__slots__))


def _edges(points: Floats, first: Ints) -> _Edges:
    grid = on_grid(points)
    following = np.arange(1, len(grid) + 1)
    some = np.diff(first) > 0
    following[first[1:][some] - 1] = first[:-1][some]
    a, b = grid, grid[following]
    steep = np.abs(b[:, 0] - a[:, 0]) < np.abs(b[:, 1] - a[:, 1])
    swap = np.where(steep, a[:, 1] > b[:, 1], a[:, 0] > b[:, 0])[:, None]
    start, end = np.where(swap, b, a), np.where(swap, a, b)
    return _Edges(start[:, 0], start[:, 1], end[:, 0] - start[:, 0], end[:, 1] - start[:, 1], steep)


def _passings(points: Floats, first: Ints, sizes: Ints) -> tuple[Ints, Ints]:
    """Where rings pass the middle of a column, sorted: ring of each passing, and its place in column-major order."""
    edges = _edges(points, first)
    ring_of = np.repeat(np.arange(len(sizes)), np.diff(first))
    left, right = np.minimum(edges.x, edges.x + edges.dx), np.maximum(edges.x, edges.x + edges.dx)
    low = np.maximum(-((_MIDDLE - left) // GRID), 0)
    high = np.minimum((right - _MIDDLE - 1) // GRID, sizes[ring_of, 1] - 1)
    number = np.maximum(high - low + 1, 0)
    edge = np.repeat(np.arange(len(number)), number)
    column = low[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(number) - number, number)
    chosen = edges.at(edge)
    y = np.where(chosen.steep, _steep_y(chosen, column), _flat_y(chosen, column))
    ring = ring_of[edge]
    height = sizes[ring, 0]
    row = np.clip((y + GRID - 1 - _MIDDLE) // GRID, 0, height)
    key = np.sort((ring << _PLACE_BITS) + column * height + row)
    return key >> _PLACE_BITS, key & ((1 << _PLACE_BITS) - 1)


def _flat_y(edges: _Edges, column: Ints) -> Ints:
    """The higher up of the two grid points on either side of the column's middle."""
    slope = edges.dy / np.maximum(edges.dx, 1)
    before = column * GRID + _MIDDLE - edges.x
    y_before: Ints = (edges.y + slope * before + 0.5).astype(np.int64)
    y: Ints = np.minimum(y_before, (edges.y + slope * (before + 1) + 0.5).astype(np.int64))
    return y


def _steep_y(edges: _Edges, column: Ints) -> Ints:
    """The grid row above the one in which a steep edge gets past the column's middle."""
    slope = edges.dx / np.maximum(edges.dy, 1)
    border = column * GRID + _MIDDLE + 1
    estimate: Ints = np.ceil((border - 0.5 - edges.x) / np.where(slope == 0, 1, slope)).astype(np.int64)
    # The division rounds; what counts is the walk's own rounding, one step before or after at most.
    estimate -= _is_past(edges, slope, border, estimate - 1)
    estimate += ~_is_past(edges, slope, border, estimate)
    above: Ints = edges.y + estimate - 1
    return above


def _is_past(edges: _Edges, slope: Floats, border: Ints, step: Ints) -> NDArray[np.bool_]:
    x = (edges.x + slope * step + 0.5).astype(np.int64)
    return np.where(slope > 0, x >= border, x < border)
