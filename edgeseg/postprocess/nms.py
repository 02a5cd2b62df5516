"""Greedy non-maximum suppression, class by class or across classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 256
"""Boxes compared at once: memory stays at BLOCK x (BLOCK + kept), whatever the number of candidates."""


def nms(
    xyxy: NDArray[np.float32], class_ids: NDArray[np.int64] | None, iou_threshold: float, max_detections: int
) -> NDArray[np.intp]:
    """Indices of the boxes to keep.

    Args:
        xyxy: (N, 4) boxes, best score first.
        class_ids: (N,); boxes of different classes never suppress each other. None compares all.
        iou_threshold: a box goes where its IoU with a better kept one is above this.
        max_detections: at most this many are kept.

    Returns:
        Indices, ascending, hence best score first.
    """
    # A class's boxes are moved to a plane of their own, so that one comparison serves both modes.
    # In float64: the offset of a high class id would eat float32's sub-pixel digits.
    boxes = xyxy.astype(np.float64)
    if class_ids is not None and boxes.size:
        boxes += (class_ids * (np.ptp(boxes) + 1))[:, None]
    kept = np.empty(0, np.intp)
    for start in range(0, len(boxes), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(boxes)))
        alive = ~np.any(box_iou(boxes[block], boxes[kept]) > iou_threshold, axis=1)
        suppresses = box_iou(boxes[block], boxes[block]) > iou_threshold
        for i in range(len(block)):
            if alive[i]:
                alive[i + 1 :] &= ~suppresses[i, i + 1 :]
        kept = np.concatenate([kept, block[alive]])[:max_detections]
        if len(kept) == max_detections:
            break
    return kept


def box_iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pairwise IoU of (N, 4) and (M, 4) xyxy boxes: (N, M); 0 where both are empty."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inside = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    area_a = (a[:, 2:] - a[:, :2]).prod(axis=1)
    area_b = (b[:, 2:] - b[:, :2]).prod(axis=1)
    union = area_a[:, None] + area_b[None, :] - inside
    iou: NDArray[np.float64] = np.divide(inside, union, out=np.zeros_like(inside, np.float64), where=union > 0)
    return iou
