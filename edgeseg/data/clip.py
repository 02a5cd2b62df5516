"""Outlines cut off at a frame, so that their extent is that of what can be seen.

Sutherland and Hodgman's clipping would leave links of no width along the frame between the pieces of a ring. They
enclose nothing, but reach to places where there is nothing of the object, and would so falsify its box. Here the
ends along each side are paired instead, as the even-odd rule pairs them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.label_map import boxes
from edgeseg.data.labelled import Parts, Ring
from edgeseg.data.rasterise import Floats, Ints
from edgeseg.data.scanline import areas
from edgeseg.polygons import join

MIN_SIDE_PX = 2.0
"""Of a box: a thinner object covers half a cell of the learned mask (stride 4), often none."""

MIN_SHARE = 0.1
"""Of an object's area: from less than a tenth nobody could tell what it is."""

Frame = tuple[float, float, float, float]
"""Left, top, right, bottom, px."""


def clip(objects: Sequence[Parts], frames: Floats | Frame) -> tuple[list[Parts], Floats]:
    """What of each object lies in a frame.

    Args:
        objects: N.
        frames: (4,) where all are cut off, or (N, 4) where each is: left, top, right, bottom, px.

    Returns:
        N times the rings in the frame, none where all is out, and (N,) the share of its area that is left.
    """
    extent = boxes(objects)
    limits = np.broadcast_to(np.asarray(frames, np.float64), (len(objects), 4))
    low, high = limits[:, :2], limits[:, 2:]
    whole = np.all(np.concatenate([extent[:, :2] >= low, extent[:, 2:] <= high], axis=1), axis=1)
    some = np.all(np.concatenate([extent[:, :2] < high, extent[:, 2:] > low], axis=1), axis=1)
    found: list[Parts] = [parts if keep else () for parts, keep in zip(objects, whole, strict=True)]
    shares = np.where(whole, 1.0, 0.0)
    cut = np.flatnonzero(some & ~whole)
    if len(cut):
        for at in cut.tolist():
            frame = limits[at].tolist()
            found[at] = tuple(piece for ring in objects[at] if (piece := clip_ring(ring, frame)) is not None)
        before, after = np.split(areas([*(objects[at] for at in cut), *(found[at] for at in cut)]), 2)
        shares[cut] = after / np.where(before == 0, 1, before)
    return found, shares


def is_kept(objects: Sequence[Parts], shares: Floats) -> NDArray[np.bool_]:
    """(N,) whether enough of each object is left to learn from.

    Its box is at least 2 px wide and high, and at least a tenth of its area can be seen. The share is one of areas
    before and after clipping at the same scale, so that zooming out alone never drops an object by it.

    Args:
        objects: N, clipped.
        shares: (N,) of its area that is left.
    """
    kept = np.zeros(len(objects), bool)
    there = np.array([at for at, parts in enumerate(objects) if parts], np.int64)
    extent = boxes([objects[at] for at in there])
    kept[there] = (extent[:, 2:] - extent[:, :2] >= MIN_SIDE_PX).all(axis=1) & (shares[there] >= MIN_SHARE)
    return kept


def clip_ring(ring: Ring, frame: Sequence[float]) -> Ring | None:
    """What of a ring lies in a frame, None where nothing does; one that only touches it from outside is out.

    Several pieces are joined by bridges of no width between points of theirs: as parts of their own those of a ring
    that crosses itself would cover what is hollow under the even-odd rule.
    """
    low, high = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
    rings = [ring.astype(np.float64)]
    for axis in (0, 1):
        start, end = frame[axis], frame[axis + 2]
        if low[axis] < start or high[axis] <= start:
            rings = [piece for whole in rings for piece in _half(whole, axis, 1, start)]
        if high[axis] > end or low[axis] >= end:
            rings = [piece for whole in rings for piece in _half(whole, axis, -1, end)]
    return join([piece.astype(np.float32) for piece in rings]) if rings else None


def _half(ring: Floats, axis: int, sign: int, limit: float) -> list[Floats]:
    """The pieces of a ring where ``sign * (coordinate - limit) > 0``."""
    depth = sign * (ring[:, axis] - limit)
    inside = depth > 0
    following = np.append(inside[1:], inside[:1])
    enter, leave = np.flatnonzero(following > inside), np.flatnonzero(following < inside)
    if not len(enter):
        return [ring] if inside[0] else []
    if leave[0] < enter[0]:
        leave = np.append(leave[1:], leave[:1])
    crossing = _crossings(ring, depth, np.stack([enter, leave], axis=1).ravel(), axis, limit)
    stop = np.where(leave > enter, leave, leave + len(ring)) + 1
    twice = np.concatenate([ring, ring])
    chains = [
        np.concatenate([start[None], twice[a + 1 : b], end[None]])
        for a, b, start, end in zip(enter, stop, crossing[::2], crossing[1::2], strict=True)
    ]
    return chains if len(chains) == 1 else _linked(chains, np.argsort(crossing[:, 1 - axis], kind="stable"))


def _crossings(ring: Floats, depth: Floats, edge: Ints, axis: int, limit: float) -> Floats:
    """(E, 2) where edges, each named by its first point, cross the limit."""
    following = (edge + 1) % len(ring)
    part = depth[edge] / (depth[edge] - depth[following])
    points: Floats = ring[edge] + (ring[following] - ring[edge]) * part[:, None]
    points[:, axis] = limit
    return points


def _linked(chains: Sequence[Floats], order: Ints) -> list[Floats]:
    """Rings from chains whose ends lie on one line.

    Args:
        chains: end 2k is the start of chain k, end 2k + 1 its stop.
        order: the ends along the line; the object lies between the first and the second, the third and the fourth ...
    """
    partner = np.empty(len(order), np.int64)
    partner[order[::2]], partner[order[1::2]] = order[1::2], order[::2]
    rings: list[Floats] = []
    left = set(range(len(chains)))
    while left:
        first = end = 2 * min(left)
        pieces: list[Floats] = []
        while not pieces or end != first:
            number, backwards = divmod(end, 2)
            left.discard(number)
            pieces.append(chains[number][::-1] if backwards else chains[number])
            end = int(partner[end ^ 1])
        rings.append(np.concatenate(pieces))
    return rings
