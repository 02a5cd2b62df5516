"""Masks at the picture's own resolution, computed only inside their boxes.

A mask is the sign of coefficients x prototypes. The region of the prototype map under a box is interpolated
once, straight to picture pixels, with exact sub-cell offsets: the padding of a letterbox is seldom a whole
number of prototype cells. Memory is proportional to the boxes, never N x H x W.

The interpolation is our own: OpenCV before 5.0 rounds the coordinates of its warps to 1/32 of a cell, which
moves the edges in a 4000-px picture by half a pixel, and differs between versions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.letterbox import Geometry
from edgeseg.errors import ContractError
from edgeseg.instances import CroppedMask
from edgeseg.tensors import Array

_BLOCK = 1 << 14
"""Pixels compared at once: their floats stay in a core's own cache, and never fill a mask's whole size."""

_EMPTY = np.zeros((0, 0), bool)


def crop_masks(
    prototypes: Array, coefficients: NDArray[np.float32], xyxy: NDArray[np.float32], place: Geometry
) -> tuple[CroppedMask, ...]:
    """One bitmap per box, of the pixels whose upper left corners lie in the box.

    The corner, not the centre, is how the training loss crops, and what the published evaluation of these networks
    crops by; benchmarks/mask_edges.py prints the AP of the alternatives.

    Args:
        prototypes: (32, h, w) float32 over the whole letterbox; h and w at least 2.
        coefficients: (N, 32) float32.
        xyxy: (N, 4) boxes in picture pixels, inside the picture.
        place: the letterbox's geometry.

    Raises:
        ContractError: the logits of a mask are not finite.
    """
    down = _axis(place, 0, place.top, prototypes.shape[1])
    across = _axis(place, 1, place.left, prototypes.shape[2])
    return tuple(
        _one(prototypes, weights, box, down, across) for weights, box in zip(coefficients, xyxy.tolist(), strict=True)
    )


@dataclass(frozen=True)
class _Axis:
    """Where the centres of the picture's pixels lie along one axis of the prototype map.

    Attributes:
        cell: (pixels,) the cell whose centre comes before.
        fraction: (pixels,) float32, how far it is from there to the next cell's centre, 0..1.
    """

    cell: NDArray[np.intp]
    fraction: NDArray[np.float32]


def _axis(place: Geometry, axis: int, padding: int, count: int) -> _Axis:
    centres = (np.arange(place.picture_size[axis]) + 0.5) * place.scale_yx[axis] + padding
    # Outside the outermost cells' centres their own value holds.
    position = np.clip(centres * (count / place.image_size[axis]) - 0.5, 0, count - 1)
    cell = np.minimum(position.astype(np.intp), count - 2)
    return _Axis(cell, (position - cell).astype(np.float32))


def _one(prototypes: Array, weights: NDArray[np.float32], box: list[float], down: _Axis, across: _Axis) -> CroppedMask:
    x1, y1, x2, y2 = (math.ceil(side) for side in box)
    if x2 <= x1 or y2 <= y1:
        return CroppedMask(_EMPTY, y1, x1)
    columns, rows = across.cell[x1:x2], down.cell[y1:y2]
    region = prototypes[:, rows[0] : rows[-1] + 2, columns[0] : columns[-1] + 2]
    # Not a BLAS product: its threads wait for those of the network's runtime, which spin; this one needs no copy.
    logits = np.einsum("c,chw->hw", weights, region)
    if not np.isfinite(logits).all():
        raise ContractError(
            f"the mask of the box {[round(side) for side in box]}: coefficients x prototypes are not finite",
            hint="the network overflows, or its weights are damaged: verify the artifact against its weights",
        )
    before = columns - columns[0]
    wide = logits[:, before]
    wide += (logits[:, before + 1] - wide) * across.fraction[x1:x2]
    return CroppedMask(_positive(wide, rows - rows[0], down.fraction[y1:y2]), y1, x1)


def _positive(wide: NDArray[np.float32], rows: NDArray[np.intp], fraction: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where `wide`, interpolated down to ``rows + fraction``, is above 0: low + fraction * rise > 0."""
    inside = np.empty((len(rows), wide.shape[1]), bool)
    rise, below = np.diff(wide, axis=0), -wide
    step = max(_BLOCK // wide.shape[1], 1)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        growth = rise[rows[part]]
        growth *= fraction[part, None]
        np.greater(growth, below[rows[part]], out=inside[part])
    return inside
