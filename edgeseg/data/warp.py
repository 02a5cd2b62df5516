"""Random warps of pictures and outlines by one and the same matrix.

A matrix is 3 x 3 and maps continuous coordinates, in which pixel i covers [i, i + 1). OpenCV's warps count from
pixel centres instead; the half pixel between the two is put in and taken out here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeseg.card.train import Augmentation
from edgeseg.data.labelled import Parts
from edgeseg.data.rasterise import Floats
from edgeseg.data.scanline import joined

MAX_TILT = 0.5
"""Of a perspective: the near end of a picture is at most (1 + 0.5) / (1 - 0.5) = 3 times as large as the far end.

At 1 the horizon would lie in the picture; the published range reaches that on mosaics of 1000 px and more.
"""


def shift(x: float, y: float) -> Floats:
    """The matrix that moves by x, y px."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def scaling(x: float, y: float) -> Floats:
    """The matrix that scales about the origin."""
    return np.diag([x, y, 1.0])


def random_warp(
    settings: Augmentation, canvas: tuple[int, int], size: tuple[int, int], rng: np.random.Generator
) -> Floats:
    """A random matrix from a canvas to a picture, flips among it; where all is 0 it puts centre on centre.

    Args:
        settings: the ranges; the perspective's are in 1/px and are held below `MAX_TILT`.
        canvas: (height, width) of the source, px.
        size: (height, width) of the result, px.
        rng: what to draw with.
    """
    height, width = size
    zoom = 1 + rng.uniform(-settings.scale, settings.scale)
    angle = np.deg2rad(rng.uniform(-settings.degrees, settings.degrees))
    shear_x, shear_y = np.tan(np.deg2rad(rng.uniform(-settings.shear, settings.shear, 2)))
    tilt = rng.uniform(-settings.perspective, settings.perspective, 2)
    move_x, move_y = rng.uniform(-settings.translate, settings.translate, 2)
    flip_x, flip_y = np.where(rng.random(2) < (settings.flip_lr, settings.flip_ud), -1, 1)
    tilt *= min(1.0, MAX_TILT / max(float(np.abs(tilt) @ (canvas[1] / 2, canvas[0] / 2)), MAX_TILT))
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    warped = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    warped = np.array([[1, shear_x, 0], [shear_y, 1, 0], [0, 0, 1]]) @ warped
    warped = warped @ np.array([[1, 0, 0], [0, 1, 0], [*tilt, 1]])
    moved = shift(move_x * width, move_y * height) @ warped @ shift(-canvas[1] / 2, -canvas[0] / 2)
    matrix: Floats = shift(width / 2, height / 2) @ scaling(flip_x, flip_y) @ moved
    return matrix


def seen(matrix: Floats, canvas: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of a canvas that a warp shows, with a pixel more all round for the interpolation.

    Args:
        matrix: from the canvas to the result.
        canvas: (height, width), px.
        size: (height, width) of the result, px.

    Returns:
        left, top, right, bottom, px, at least one pixel wide and high.
    """
    height, width = size
    corners = np.linalg.inv(matrix) @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    limit = np.array([canvas[1], canvas[0]])
    if (corners[2] <= 0).any():
        # The result reaches over the horizon: no rectangle has all that it shows.
        return 0, 0, int(limit[0]), int(limit[1])
    points = corners[:2] / corners[2]
    low = np.clip(np.floor(points.min(axis=1)) - 1, 0, limit - 1).astype(int)
    high = np.clip(np.ceil(points.max(axis=1)) + 1, low + 1, limit).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def warp_picture(
    picture: NDArray[np.uint8], matrix: Floats, size: tuple[int, int], pad_value: int
) -> NDArray[np.uint8]:
    """A picture seen through a matrix, bilinear; what only moves by whole pixels or is flipped is copied.

    Args:
        picture: (h, w, 3).
        matrix: from `picture` to the result.
        size: (height, width) of the result, px.
        pad_value: grey level of what lies out of `picture`.

    Returns:
        (height, width, 3), of memory of its own.
    """
    import cv2

    if _is_copy(matrix):
        return _copied(picture, matrix, size, pad_value)
    centred = shift(-0.5, -0.5) @ matrix @ shift(0.5, 0.5)
    border = (pad_value,) * 3
    dsize = (size[1], size[0])
    if _is_affine(matrix):
        warped = cv2.warpAffine(picture, centred[:2], dsize, flags=cv2.INTER_LINEAR, borderValue=border)
    else:
        warped = cv2.warpPerspective(picture, centred, dsize, flags=cv2.INTER_LINEAR, borderValue=border)
    return np.asarray(warped, np.uint8)


def warp_objects(objects: Sequence[Parts], matrix: Floats) -> list[Parts]:
    """Outlines seen through a matrix; all their points must lie before its horizon.

    Args:
        objects: N.
        matrix: 3 x 3.
    """
    points, first = joined([ring for parts in objects for ring in parts])
    warped = points @ matrix[:2, :2].T + matrix[:2, 2]
    if not _is_affine(matrix):
        warped /= (points @ matrix[2, :2] + matrix[2, 2])[:, None]
    rings = iter(np.split(warped.astype(np.float32), first[1:-1]))
    return [tuple(next(rings) for _ in parts) for parts in objects]


def _is_affine(matrix: Floats) -> bool:
    return bool((matrix[2] == (0, 0, 1)).all())


def _is_copy(matrix: Floats) -> bool:
    linear, move = matrix[:2, :2], matrix[:2, 2]
    return _is_affine(matrix) and bool((np.abs(linear) == np.eye(2)).all() and (move == np.rint(move)).all())


def _copied(picture: NDArray[np.uint8], matrix: Floats, size: tuple[int, int], pad_value: int) -> NDArray[np.uint8]:
    result = np.full((*size, 3), pad_value, np.uint8)
    places = []
    for axis in (1, 0):
        length, backwards = picture.shape[1 - axis], matrix[axis, axis] < 0
        if backwards:
            picture = np.flip(picture, 1 - axis)
        start = int(matrix[axis, 2]) - (length if backwards else 0)
        low, high = max(start, 0), min(start + length, size[1 - axis])
        places.append((slice(low, max(high, low)), slice(low - start, max(high, low) - start)))
    (rows, from_rows), (columns, from_columns) = places
    result[rows, columns] = picture[from_rows, from_columns]
    return result
