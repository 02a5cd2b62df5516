"""Four pictures on one canvas, not resampled: the warp that comes after does that once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.clip import clip
from edgeseg.data.labelled import Labelled, Parts
from edgeseg.data.rasterise import Floats
from edgeseg.data.warp import shift, warp_objects

View = tuple[int, int, int, int]
"""Left, top, right, bottom, px."""


def mosaic(
    pictures: Sequence[Labelled], canvas: tuple[int, int], view: View, rng: np.random.Generator, pad_value: int
) -> tuple[Labelled, Floats]:
    """Four pictures around a random centre in the middle half of a canvas; what does not fit is cut off.

    Args:
        pictures: above left, above right, below left, below right; at most half the canvas high and wide.
        canvas: (height, width), px.
        view: the part of the canvas that is wanted.
        rng: what to draw the centre with.
        pad_value: grey level of what no picture covers.

    Returns:
        The view with all objects of the canvas, from the view's corner, and (N,) the share of each one's area that
        is on the canvas; objects of which nothing is have no parts.
    """
    height, width = canvas
    left, top, right, bottom = view
    picture = np.full((bottom - top, right - left, 3), pad_value, np.uint8)
    middle_y = int(rng.integers(height // 4, height - height // 4, endpoint=True)) - top
    middle_x = int(rng.integers(width // 4, width - width // 4, endpoint=True)) - left
    objects: list[Parts] = []
    frames = []
    for number, labelled in enumerate(pictures):
        h, w = labelled.picture.shape[:2]
        y, x = middle_y - (h if number < 2 else 0), middle_x - (0 if number % 2 else w)
        _put(labelled.picture, picture, x, y)
        objects += warp_objects(labelled.objects, shift(x, y))
        frame = max(x, -left), max(y, -top), min(x + w, width - left), min(y + h, height - top)
        frames.append(np.tile(frame, (len(labelled.objects), 1)))
    visible, shares = clip(objects, np.concatenate(frames).astype(np.float64))
    class_ids = np.concatenate([labelled.class_ids for labelled in pictures])
    return Labelled(picture, class_ids, tuple(visible)), shares


def _put(source: NDArray[np.uint8], target: NDArray[np.uint8], x: int, y: int) -> None:
    """Copy what fits of a picture whose corner lies at x, y of another."""
    rows = slice(max(y, 0), max(min(y + len(source), len(target)), 0))
    columns = slice(max(x, 0), max(min(x + source.shape[1], target.shape[1]), 0))
    if rows.start < rows.stop and columns.start < columns.stop:
        target[rows, columns] = source[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
