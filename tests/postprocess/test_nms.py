"""Suppression against a naive one that compares every pair, in exact terms where it can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeseg.postprocess.nms import BLOCK, box_iou, nms

Boxes = NDArray[np.float32]


def naive(boxes: Boxes, class_ids: NDArray[np.int64] | None, threshold: float, limit: int) -> list[int]:
    """Greedy suppression as the textbook has it."""
    kept: list[int] = []
    for i, box in enumerate(boxes.astype(np.float64).tolist()):
        rivals = [j for j in kept if class_ids is None or class_ids[i] == class_ids[j]]
        if all(_iou(box, boxes[j].astype(np.float64).tolist()) <= threshold for j in rivals):
            kept.append(i)
    return kept[:limit]


def _iou(a: list[float], b: list[float]) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


@st.composite
def scenes(draw: st.DrawFn, count: int) -> tuple[Boxes, NDArray[np.int64]]:
    """Boxes on a coarse grid: many ties, doubles, and boxes without an area."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    grid = draw(st.sampled_from([0.1, 1.0, 37.5]))
    corners = rng.integers(0, draw(st.integers(1, 40)), (count, 2)) * grid
    sides = rng.integers(0, draw(st.integers(1, 12)), (count, 2)) * grid
    classes = draw(st.sampled_from([1, 3, 300]))
    class_ids = draw(st.sampled_from([0, 2**50])) + rng.integers(0, classes, count)
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32), class_ids


@pytest.mark.parametrize("count", [0, 1, 2, 17, BLOCK - 1, BLOCK, BLOCK + 1, 700])
@settings(max_examples=6, deadline=None)
@given(
    data=st.data(),
    agnostic=st.booleans(),
    threshold=st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0]),
    limit=st.sampled_from([1, 2, 10, 300, 1000]),
)
def test_nms_keeps_what_the_naive_one_keeps(
    count: int, data: st.DataObject, agnostic: bool, threshold: float, limit: int
) -> None:
    boxes, class_ids = data.draw(scenes(count))
    groups = None if agnostic else class_ids

    assert nms(boxes, groups, threshold, limit).tolist() == naive(boxes, groups, threshold, limit)


def row(*starts: float, side: float = 10.0) -> Boxes:
    """Boxes of one size on one line."""
    return np.array([[x, 0, x + side, side] for x in starts], np.float32)


def test_a_suppressed_box_suppresses_nothing() -> None:
    # IoU of neighbours 5/15, of the first and the third 0.
    assert nms(row(0, 5, 10), None, 0.3, 10).tolist() == [0, 2]


@pytest.mark.parametrize(("threshold", "kept"), [(1 / 3 - 1e-6, [0]), (1 / 3, [0, 1]), (1 / 3 + 1e-6, [0, 1])])
def test_a_box_goes_where_its_iou_is_above_the_threshold_and_stays_at_it(threshold: float, kept: list[int]) -> None:
    assert nms(row(0, 5), None, threshold, 10).tolist() == kept


def test_identical_boxes_are_one_below_a_threshold_of_1_and_all_at_1() -> None:
    boxes = np.repeat(row(3), 600, axis=0)

    assert nms(boxes, None, 0.999, 1000).tolist() == [0]
    assert nms(boxes, None, 1.0, 1000).tolist() == list(range(600))


def test_touching_boxes_both_stay_at_a_threshold_of_0() -> None:
    assert nms(row(0, 10, 19.5), None, 0.0, 10).tolist() == [0, 1]


def test_boxes_without_an_area_suppress_nothing() -> None:
    assert nms(np.zeros((5, 4), np.float32), None, 0.0, 10).tolist() == [0, 1, 2, 3, 4]


def test_classes_do_not_suppress_each_other_unless_asked() -> None:
    boxes, classes = row(0, 0, 0), np.array([7, 79, 7])

    assert nms(boxes, classes, 0.5, 10).tolist() == [0, 1]
    assert nms(boxes, None, 0.5, 10).tolist() == [0]


def test_the_limit_keeps_the_best_across_blocks() -> None:
    boxes = row(*(20.0 * i for i in range(3 * BLOCK)))

    assert nms(boxes, None, 0.5, BLOCK + 5).tolist() == list(range(BLOCK + 5))


def test_one_huge_box_does_not_change_what_the_others_do() -> None:
    boxes = np.concatenate([row(0, 1), np.array([[-1e30, -1e30, 1e30, 1e30]], np.float32), row(100, 101)])
    classes = np.array([5, 5, 0, 5, 5])

    assert nms(boxes, classes, 0.5, 10).tolist() == [0, 2, 3]


def test_no_boxes_give_no_indices() -> None:
    found = nms(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), 0.5, 10)

    assert found.shape == (0,)
    assert np.issubdtype(found.dtype, np.integer)


def test_box_iou_by_hand() -> None:
    a = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 5, 15, 15], [20, 20, 30, 30], [2, 2, 4, 4], [0, 0, 0, 0]], np.float32)

    np.testing.assert_allclose(box_iou(a, b), np.array([[1, 25 / 175, 0, 0.04, 0], [0.0] * 5]), rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(scene=scenes(50))
def test_box_iou_is_symmetric_and_between_0_and_1(scene: tuple[Boxes, NDArray[np.int64]]) -> None:
    boxes, _ = scene
    ious = box_iou(boxes, boxes)

    assert ((ious >= 0) & (ious <= 1)).all()
    np.testing.assert_array_equal(ious, ious.T)
    has_area = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)
    np.testing.assert_allclose(np.diag(ious), has_area, atol=1e-6)
