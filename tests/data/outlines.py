"""Outlines checked the slow and plain way: point by point, and against what is drawn in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.labelled import Labelled, Parts, Ring

Bitmap = NDArray[np.bool_]


def contains(ring: NDArray[Any], points: NDArray[Any]) -> Bitmap:
    """(M,) whether each of (M, 2) points is inside under the even-odd rule: a ray to the right, edge by edge."""
    x, y = points[:, 0].astype(float), points[:, 1].astype(float)
    found = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(ring.astype(float), np.roll(ring, -1, axis=0).astype(float), strict=True):
        straddles = (y0 <= y) != (y1 <= y)
        if straddles.any():
            found ^= straddles & (x >= x0 + (y - y0) * (x1 - x0) / (y1 - y0 or 1))
    return found


def mask_of(parts: Sequence[NDArray[Any]], size: tuple[int, int], stride: float = 1) -> Bitmap:
    """The cells whose centre lies in one of the parts."""
    rows, columns = np.indices((int(size[0] / stride), int(size[1] / stride)))
    centres = (np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5) * stride
    found = np.zeros(rows.size, bool)
    for ring in parts:
        found |= contains(ring, centres)
    return found.reshape(rows.shape)


def distance(parts: Sequence[NDArray[Any]], points: NDArray[Any]) -> NDArray[np.float64]:
    """(M,) px from each point to the nearest edge."""
    least = np.full(len(points), np.inf)
    for ring in parts:
        for a, b in zip(ring.astype(float), np.roll(ring, -1, axis=0).astype(float), strict=True):
            along = b - a
            at = np.clip((points - a) @ along / max(float(along @ along), 1e-12), 0, 1)
            least = np.minimum(least, np.linalg.norm(points - a - at[:, None] * along, axis=1))
    return least


def star(centre: tuple[float, float], radius: float, points: int = 5, turn: float = 0.3) -> Ring:
    """A shape with corners both ways, which no transform maps onto itself."""
    angles = turn + np.arange(2 * points) * np.pi / points
    radii = radius * np.where(np.arange(2 * points) % 2, 0.6, 1) * (1 + 0.2 * np.sin(angles))
    return (np.array(centre) + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]).astype(np.float32)


def drawn(objects: Sequence[Parts], size: tuple[int, int], channel: int = 0, class_id: int = 0) -> Labelled:
    """A black picture with objects at 255 in one channel; each pixel has the share of it that they cover, of 8 x 8."""
    height, width = size
    union = mask_of([ring for parts in objects for ring in parts], size, 1 / 8)
    share = union.reshape(height, 8, width, 8).mean(axis=(1, 3))
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., channel] = np.rint(share * 255)
    return Labelled(picture, np.full(len(objects), class_id, np.int64), tuple(objects))


def check_agreement(labelled: Labelled, channel: int = 0, zoom: float = 1) -> None:
    """The objects in the picture and the outlines are the same.

    What differs is at most half a pixel from an outline; where a picture was enlarged, half a pixel of its own.
    """
    rings = [ring for parts in labelled.objects for ring in parts]
    check_mask(labelled.picture[..., channel] > 127, rings, 0.5 * max(zoom, 1))


def check_mask(seen: Bitmap, rings: Sequence[NDArray[Any]], within_px: float = 0.5) -> None:
    """As `check_agreement`; areas and centroids agree too."""
    expected = mask_of(rings, (seen.shape[0], seen.shape[1]))
    rows, columns = np.nonzero(seen != expected)
    off = distance(rings, np.stack([columns, rows], axis=1) + 0.5)
    assert not len(off) or off.max() <= within_px
    if expected.sum() > 200:
        assert abs(int(seen.sum()) - int(expected.sum())) <= 0.03 * expected.sum()
        moved = np.mean(np.nonzero(seen), axis=1) - np.mean(np.nonzero(expected), axis=1)
        assert np.abs(moved).max() < (0.25 if len(rings) == 1 else 0.5)
