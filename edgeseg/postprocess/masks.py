"""Masks at the picture's own resolution, computed only inside their boxes.

A mask is the sign of coefficients x prototypes. The region of the prototype map under a box is interpolated
once, straight to picture pixels, with exact sub-cell offsets: the padding of a letterbox is seldom a whole
number of prototype cells. Memory is proportional to the boxes, never N x H x W.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.letterbox import Geometry
from edgeseg.instances import CroppedMask
from edgeseg.tensors import Array

_EMPTY = np.zeros((0, 0), bool)


def crop_masks(
    prototypes: Array, coefficients: NDArray[np.float32], xyxy: NDArray[np.float32], place: Geometry
) -> tuple[CroppedMask, ...]:
    """One bitmap per box, of the pixels whose centres lie in the box.

    Args:
        prototypes: (32, h, w) float32 over the whole letterbox.
        coefficients: (N, 32) float32.
        xyxy: (N, 4) boxes in picture pixels, inside the picture.
        place: the letterbox's geometry.
    """
    return tuple(
        _one(prototypes, weights, box, place) for weights, box in zip(coefficients, xyxy.tolist(), strict=True)
    )


def _one(prototypes: Array, weights: NDArray[np.float32], box: list[float], place: Geometry) -> CroppedMask:
    import cv2

    x1, y1, x2, y2 = (math.ceil(side - 0.5) for side in box)
    if x2 <= x1 or y2 <= y1:
        return CroppedMask(_EMPTY, y1, x1)
    _, rows, columns = prototypes.shape
    scale_y, scale_x = place.scale_yx
    step_x, first_x = _axis(x1, scale_x, place.left, columns / place.image_size[1])
    step_y, first_y = _axis(y1, scale_y, place.top, rows / place.image_size[0])
    left, right = _cells(first_x, first_x + step_x * (x2 - x1 - 1), columns)
    top, bottom = _cells(first_y, first_y + step_y * (y2 - y1 - 1), rows)
    region = prototypes[:, top:bottom, left:right]
    logits = (weights @ region.reshape(len(weights), -1)).reshape(region.shape[1:])
    to_cells = np.array([[step_x, 0, first_x - left], [0, step_y, first_y - top]], np.float64)
    upsampled = cv2.warpAffine(
        logits,
        to_cells,
        (x2 - x1, y2 - y1),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return CroppedMask(upsampled > 0, y1, x1)


def _axis(first_pixel: int, scale: float, padding: int, cells_per_pixel: float) -> tuple[float, float]:
    """Step and start, in prototype cells, of the centres of picture pixels along one axis."""
    step = scale * cells_per_pixel
    return step, ((first_pixel + 0.5) * scale + padding) * cells_per_pixel - 0.5


def _cells(first: float, last: float, count: int) -> tuple[int, int]:
    """The cells that linear interpolation between `first` and `last` reads, inside the map."""
    start = min(max(math.floor(first), 0), count - 1)
    return start, max(start + 1, min(math.floor(last) + 2, count))
