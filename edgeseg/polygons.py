"""Mask outlines as rings of points, and several rings made one.

Coordinates are those of COCO: the picture spans 0..width and 0..height, and the pixel (row, column) is the
square from (column, row) to (column + 1, row + 1). A ring runs along pixel edges, so it rasterises back to
the very mask. OpenCV's contours run through pixel centres instead and lose half a pixel all round.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.float32]


def trace(bitmap: NDArray[np.bool_]) -> list[Ring]:
    """One ring for each 8-connected part of a mask, its holes joined in by bridges of no width.

    Args:
        bitmap: (h, w) bool.

    Returns:
        Rings of (K, 2) float32 x, y in px of the bitmap, closed implicitly; empty for an empty mask.
    """
    if not bitmap.any():
        return []
    # In a picture of twice the size every pixel has a contour point at each of its corners.
    doubled = cv2.resize(bitmap.view(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts: dict[int, list[Ring]] = {}
    # A row of the hierarchy ends in the contour that encloses this one: -1 for an outer contour.
    for index, (contour, parent) in enumerate(zip(contours, hierarchy[0, :, 3].tolist(), strict=True)):
        parts.setdefault(index if parent < 0 else parent, []).append(_corners(np.asarray(contour)))
    return [join(rings) for rings in parts.values()]


def join(rings: Sequence[Ring]) -> Ring:
    """One ring from several, each joined to those before it by a bridge of no width, there and back.

    Under the even-odd rule that rasterisers of label files use, a bridge encloses nothing; a ring inside
    another is a hole.

    Args:
        rings: at least one, each (K, 2) float32.
    """
    joined = rings[0]
    for ring in rings[1:]:
        here, there = _bridge(joined, ring)
        detour = np.concatenate([ring[there:], ring[: there + 1]])
        joined = np.concatenate([joined[: here + 1], detour, joined[here:]])
    return joined


def _corners(contour: NDArray[np.int32]) -> Ring:
    """Pixel corners on a contour of the doubled picture, without repetition or points on a straight line."""
    points = (contour[:, 0] + 1) // 2
    points = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    steps = np.sign(np.roll(points, -1, axis=0) - points)
    return points[np.any(steps != np.roll(steps, 1, axis=0), axis=1)].astype(np.float32)


def _bridge(a: Ring, b: Ring) -> tuple[int, int]:
    """Indices of two points, one of each ring, close together; all pairs would need K x K memory."""
    here = _nearest(a, b[0])
    there = _nearest(b, a[here])
    return _nearest(a, b[there]), there


def _nearest(ring: Ring, point: Ring) -> int:
    return int(np.square(ring - point).sum(axis=1).argmin())
