"""An annotation as a line of a YOLO-seg label file that reads back as the very mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeseg import rle
from edgeseg.data.dataset import Annotation
from edgeseg.data.notes import Notes
from edgeseg.data.rasterise import Ints, on_grid, rasterise
from edgeseg.polygons import join, trace
from edgeseg.rle import Rle

Ring = NDArray[np.float32]

MIN_DECIMALS = 6

JOINED = "annotations of several parts: joined into one ring by bridges of no width"


def yolo_line(annotation: Annotation, size: tuple[int, int], notes: Notes) -> str | None:
    """The line ``class x1 y1 x2 y2 ...`` in 0..1, without its end; None for what the format has no word for.

    One ring has to do: parts and holes are joined by bridges of no width. Where that would change the mask, because
    parts overlap or reach out of the picture, and for run lengths, the ring runs along the mask's pixels instead.

    Args:
        annotation: of any kind.
        size: (height, width) of its picture, px.
        notes: where to count what was done.
    """
    if annotation.crowd:
        notes.count("crowds, which YOLO-seg cannot mark: left out")
        return None
    ring = join(annotation.rings) if annotation.rings else None
    if ring is None or not _same_mask(annotation, ring, size):
        ring = _traced(annotation.to_rle(size), len(annotation.rings), notes)
    elif len(annotation.rings) > 1:
        notes.count(JOINED)
    if ring is None:
        return None
    parts, digits = _parts_of_size(ring, size)
    words = (f"{value / 10**digits:.{digits}f}" for value in parts.ravel().tolist())
    return " ".join([str(annotation.class_id), *words])


def _same_mask(annotation: Annotation, ring: Ring, size: tuple[int, int]) -> bool:
    """Whether a ring will read back as the annotation's mask."""
    parts, digits = _parts_of_size(ring, size)
    back = parts / 10**digits * (size[1], size[0])
    if len(annotation.rings) == 1 and np.array_equal(on_grid(back), on_grid(ring.astype(np.float64))):
        return True
    return rasterise([back], size) == annotation.to_rle(size)


def _traced(mask: Rle, rings: int, notes: Notes) -> Ring | None:
    bitmap, (top, left) = rle.decode_cropped(mask)
    parts = trace(bitmap)
    if not parts:
        notes.count("annotations without a pixel in their picture: left out")
        return None
    kind = "of parts that overlap or reach out of the picture" if rings else "of run lengths"
    notes.count(f"annotations {kind}: outlined along their pixels")
    if len(parts) > 1:
        notes.count(JOINED)
    return join(parts) + np.array([left, top], np.float32)


def _parts_of_size(ring: Ring, size: tuple[int, int]) -> tuple[Ints, int]:
    """Coordinates in 0..1 as whole numbers, (K, 2), of 10 to the minus `digits`.

    Of the numbers next to the exact one, that is taken which reads back as the same point of the rasteriser's
    grid: COCO's coordinates lie on the border of two points, so that rounding alone would move edges.
    """
    sides = np.array([size[1], size[0]])
    digits = max(MIN_DECIMALS, len(str(sides.max())) + 1)
    exact = ring.astype(np.float64)
    nearest = np.rint(exact / sides * 10**digits).astype(np.int64)
    wanted = on_grid(exact)
    chosen = nearest
    for step in (1, -1):
        misses = on_grid(chosen / 10**digits * sides) != wanted
        chosen = np.where(misses, nearest + step, chosen)
    misses = on_grid(chosen / 10**digits * sides) != wanted
    return np.where(misses, nearest, chosen).clip(0, 10**digits), digits
