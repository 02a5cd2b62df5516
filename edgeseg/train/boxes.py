"""Boxes of the training loss: points, the distribution over a side, and the complete IoU.

The NumPy counterpart of the decoding, for deployment, is `edgeseg/postprocess/decode.py`; a test holds both equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeseg.tensors import REG_MAX, STRIDES

LAST_DISTANCE = REG_MAX - 1 - 0.01
"""Largest side to learn, in strides: it must lie between two bins, the upper of which is at most the last one."""

_EPS = 1e-7
"""Least denominator; areas are in px, where this is far below anything that counts."""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """The P places that each predict one object: cells of all levels, finest level first, row by row.

    Attributes:
        centres: (P, 2) float32, x and y in input px.
        strides: (P,) float32, px per cell.
        counts: points of each level; their sum is P.
    """

    centres: Tensor
    strides: Tensor
    counts: tuple[int, ...]


def make_points(sizes: Sequence[tuple[int, int]], device: torch.device) -> Points:
    """Points at the centres of the cells.

    Args:
        sizes: (rows, columns) of the levels P3, P4 and P5.
        device: where they are needed.
    """
    centres, strides = [], []
    for (rows, columns), stride in zip(sizes, STRIDES, strict=True):
        y = torch.arange(rows, dtype=torch.float32, device=device) + 0.5
        x = torch.arange(columns, dtype=torch.float32, device=device) + 0.5
        centres.append(torch.cartesian_prod(y, x).flip(1) * stride)
        strides.append(torch.full((rows * columns,), float(stride), device=device))
    return Points(torch.cat(centres), torch.cat(strides), tuple(rows * columns for rows, columns in sizes))


def expected_distances(logits: Tensor) -> Tensor:
    """Distribution over 16 bins to its mean (generalized focal loss, arXiv 2006.04388, section 3.2).

    Args:
        logits: (..., 64): left, top, right, bottom, 16 bins each.

    Returns:
        (..., 4) distances in strides.
    """
    weights = logits.reshape(*logits.shape[:-1], 4, REG_MAX).softmax(-1)
    distances: Tensor = weights @ torch.arange(REG_MAX, dtype=logits.dtype, device=logits.device)
    return distances


def distances_to_boxes(centres: Tensor, distances: Tensor) -> Tensor:
    """(..., 4) xyxy from (..., 2) centres and (..., 4) distances to left, top, right, bottom; all in one unit."""
    return torch.cat([centres - distances[..., :2], centres + distances[..., 2:]], dim=-1)


def target_distances(centres: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
    """Distances that make points predict their boxes, as far as the bins reach.

    Args:
        centres: (F, 2) px.
        strides: (F,) px.
        boxes: (F, 4) xyxy px.

    Returns:
        (F, 4) in strides, 0 to `LAST_DISTANCE`.
    """
    distances = torch.cat([centres - boxes[:, :2], boxes[:, 2:] - centres], dim=1) / strides[:, None]
    return distances.clamp(0, LAST_DISTANCE)


def overlaps(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and complete IoU (arXiv 1911.08287, equations 10 and 11) of boxes, pair by pair.

    Args:
        boxes: (..., 4) xyxy.
        others: (..., 4) xyxy, in the same unit.

    Returns:
        IoU in 0..1 and complete IoU in -1.5..1, each (...,). The trade-off factor of the aspect term is a constant to
        the gradient, as in the paper. Boxes without area have IoU 0.
    """
    size, other_size = _sizes(boxes), _sizes(others)
    shared = torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])
    intersection = shared.clamp_min(0).prod(-1)
    union = size.prod(-1) + other_size.prod(-1) - intersection
    iou = intersection / union.clamp_min(_EPS)

    hull = torch.maximum(boxes[..., 2:], others[..., 2:]) - torch.minimum(boxes[..., :2], others[..., :2])
    apart = (boxes[..., :2] + boxes[..., 2:] - others[..., :2] - others[..., 2:]) / 2
    distance = apart.square().sum(-1) / hull.square().sum(-1).clamp_min(_EPS)
    aspect = 4 / math.pi**2 * (_angle(size) - _angle(other_size)).square()
    trade_off = (aspect / (1 - iou + aspect).clamp_min(_EPS)).detach()
    return iou, iou - distance - trade_off * aspect


def _sizes(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0)


def _angle(size: Tensor) -> Tensor:
    # Without the lower limit a box without width and height has an undefined angle, whose gradient is NaN.
    return torch.atan(size[..., 0] / size[..., 1].clamp_min(_EPS))
