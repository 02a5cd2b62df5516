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
    if class_ids is None:
        return _greedy(xyxy, np.arange(len(xyxy)), iou_threshold, max_detections)
    # Class by class, then the best of all: what one pass over all classes would keep, without comparing across them.
    by_class = np.argsort(class_ids, kind="stable")
    starts = np.flatnonzero(np.diff(class_ids[by_class])) + 1
    kept = [_greedy(xyxy, group, iou_threshold, max_detections) for group in np.split(by_class, starts)]
    return np.sort(np.concatenate(kept))[:max_detections]


def _greedy(
    xyxy: NDArray[np.float32], order: NDArray[np.intp], iou_threshold: float, max_detections: int
) -> NDArray[np.intp]:
    """Those of the boxes at `order`, best first, that no better kept one suppresses."""
    kept = order[:0]
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        if len(kept):
            block = block[~np.any(box_iou(xyxy[block], xyxy[kept]) > iou_threshold, axis=1)]
        suppresses = box_iou(xyxy[block], xyxy[block]) > iou_threshold
        alive = np.ones(len(block), bool)
        # A box that suppresses nobody needs no look: most of them.
        for i in np.flatnonzero(suppresses.sum(axis=1) > 1):
            if alive[i]:
                alive[i + 1 :] &= ~suppresses[i, i + 1 :]
        kept = np.concatenate([kept, block[alive]])[:max_detections]
        if len(kept) == max_detections:
            break
    return kept


def box_iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pairwise IoU of (N, 4) and (M, 4) xyxy boxes: (N, M); 0 where both are empty."""
    left, top, right, bottom = a.astype(np.float64).T[:, :, None]
    other_left, other_top, other_right, other_bottom = b.astype(np.float64).T[:, None, :]
    width = np.minimum(right, other_right) - np.maximum(left, other_left)
    height = np.minimum(bottom, other_bottom) - np.maximum(top, other_top)
    inside = np.maximum(width, 0) * np.maximum(height, 0)
    union = (right - left) * (bottom - top) + (other_right - other_left) * (other_bottom - other_top) - inside
    iou: NDArray[np.float64] = np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)
    return iou
