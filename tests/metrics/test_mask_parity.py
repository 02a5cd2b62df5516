"""Matching by hand: who is whose counterpart, who is missing, and what the totals say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeseg.instances import CroppedMask, Instances
from edgeseg.metrics.mask_parity import HISTOGRAM_EDGES, ParitySummary, PictureParity, match_instances

Row = tuple[tuple[int, int, int, int], float, int]
"""Box xyxy, score, class id; the mask fills the box."""

SCORE = 0.25
A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 40, 60, 80)


def instances(*rows: Row, masks: list[NDArray[np.bool_]] | None = None) -> Instances:
    bitmaps = masks or [np.ones((y2 - y1, x2 - x1), bool) for (x1, y1, x2, y2), _, _ in rows]
    return Instances(
        xyxy=np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4),
        scores=np.array([score for _, score, _ in rows], np.float32),
        class_ids=np.array([class_id for _, _, class_id in rows], np.int64),
        masks=tuple(CroppedMask(bitmap, box[1], box[0]) for bitmap, (box, _, _) in zip(bitmaps, rows, strict=True)),
        names=("cat", "dog"),
        image_size=(100, 100),
    )


def parity(reference: Instances, found: Instances) -> PictureParity:
    return match_instances(reference, found, SCORE, margin=0.01)


def pairs(result: PictureParity) -> list[tuple[int, int]]:
    return sorted((match.reference, match.found) for match in result.matches)


def test_equal_instances_match_each_other_whatever_their_order() -> None:
    rows: list[Row] = [(A, 0.9, 0), (B, 0.8, 1), (C, 0.7, 0)]

    result = parity(instances(*rows), instances(*reversed(rows)))

    assert pairs(result) == [(0, 2), (1, 1), (2, 0)]
    assert all(match.mask_iou == match.box_iou == 1 and match.score_error == 0 for match in result.matches)
    assert (result.missing, result.extra) == ((), ())


def test_mask_iou_box_iou_and_score_error_are_those_worked_out_by_hand() -> None:
    half = np.zeros((10, 10), bool)
    half[:5] = True

    result = parity(instances((A, 0.9, 0)), instances(((0, 0, 10, 8), 0.85, 0), masks=[half[:8]]))

    (match,) = result.matches
    assert match.mask_iou == 0.5
    assert match.box_iou == pytest.approx(0.8)
    assert match.score_error == pytest.approx(-0.05)


def test_a_swapped_class_is_missing_and_extra() -> None:
    result = parity(instances((A, 0.9, 0)), instances((A, 0.9, 1)))

    assert (result.matches, result.missing, result.extra) == ((), (0,), (0,))


def test_a_double_is_extra_and_the_better_box_is_the_match() -> None:
    result = parity(instances((A, 0.9, 0)), instances(((0, 0, 10, 7), 0.95, 0), (A, 0.5, 0)))

    assert pairs(result) == [(0, 1)]
    assert result.extra == (0,)


def test_the_best_pair_is_taken_first_and_one_counterpart_serves_once() -> None:
    # Both references overlap the only found box; the worse one is missing.
    result = parity(instances(((0, 0, 10, 8), 0.9, 0), (A, 0.8, 0)), instances((A, 0.9, 0)))

    assert pairs(result) == [(1, 0)]
    assert result.missing == (0,)


@pytest.mark.parametrize(("height", "matched"), [(5, True), (4, False)], ids=["IoU 0.5", "IoU 0.4"])
def test_a_match_needs_half_of_the_box(height: int, matched: bool) -> None:
    result = parity(instances((A, 0.9, 0)), instances(((0, 0, 10, height), 0.9, 0)))

    assert bool(result.matches) is matched


@pytest.mark.parametrize(("score", "counts"), [(0.245, False), (0.25, False), (0.255, False), (0.265, True)], ids=str)
def test_a_borderline_instance_may_be_on_either_side_of_the_threshold(score: float, counts: bool) -> None:
    one, none = instances((A, score, 0)), Instances.empty((100, 100), ("cat", "dog"))

    assert parity(one, none).missing == ((0,) if counts else ())
    assert parity(none, one).extra == ((0,) if counts else ())


def test_a_borderline_instance_still_matches_its_counterpart() -> None:
    result = parity(instances((A, 0.262, 0)), instances((A, 0.245, 0)))

    assert pairs(result) == [(0, 0)]
    assert (result.missing, result.extra) == ((), ())


def test_nothing_on_both_sides_is_no_match_and_no_mistake() -> None:
    none = Instances.empty((100, 100), ("cat", "dog"))

    assert parity(none, none) == PictureParity((), (), ())


def test_two_empty_masks_agree_and_one_does_not_agree_with_a_full_one() -> None:
    empty, full = instances((A, 0.9, 0), masks=[np.zeros((10, 10), bool)]), instances((A, 0.9, 0))

    assert parity(empty, empty).matches[0].mask_iou == 1
    assert parity(empty, full).matches[0].mask_iou == parity(full, empty).matches[0].mask_iou == 0


def test_instances_without_masks_are_refused() -> None:
    boxes = instances((A, 0.9, 0))
    without = Instances(boxes.xyxy, boxes.scores, boxes.class_ids, None, boxes.names, boxes.image_size)

    with pytest.raises(ValueError, match="masks"):
        parity(boxes, without)


# Totals


def _part(share: float) -> NDArray[np.bool_]:
    bitmap = np.zeros((40, 25), bool)
    bitmap.ravel()[: round(share * 1000)] = True
    return bitmap


def test_the_summary_adds_pictures_up() -> None:
    shares = [1.0, 0.999, 0.995, 0.97, 0.92, 0.8, 0.6, 0.1]
    box = (0, 0, 25, 40)
    summary = ParitySummary()
    for share in shares:
        # The reference's mask is the whole box, so the share is the IoU.
        summary.add(parity(instances((box, 0.9, 0)), instances((box, 0.88, 0), masks=[_part(share)])))
    summary.add(parity(instances((A, 0.9, 0), (B, 0.9, 0)), instances((C, 0.9, 0))))

    totals = summary.summary()

    assert (totals["pictures"], totals["reference_instances"]) == (9, 10)
    assert (totals["matched"], totals["missing"], totals["extra"]) == (8, 2, 1)
    assert totals["matched_fraction"] == summary.matched_fraction == 8 / 11
    assert totals["mask_iou_min"] == pytest.approx(0.1)
    assert totals["mask_iou_median"] == pytest.approx((0.92 + 0.97) / 2)
    assert totals["mask_iou_mean"] == pytest.approx(sum(shares) / 8)
    assert totals["mask_iou_p05"] == pytest.approx(0.1 + 0.35 * 0.5)
    assert totals["score_error_max"] == pytest.approx(0.02)
    assert totals["mask_iou_histogram_edges"] == [0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1]
    # [0, .5) [.5, .75) [.75, .9) [.9, .95) [.95, .99) [.99, .999) [.999, 1]
    assert totals["mask_iou_histogram"] == [1, 1, 1, 1, 1, 1, 2]


def test_the_histogram_counts_every_match_once() -> None:
    summary = ParitySummary(mask_ious=np.linspace(0, 1, 1001).tolist())
    counts = summary.summary()["mask_iou_histogram"]

    assert isinstance(counts, list)
    assert len(counts) == len(HISTOGRAM_EDGES) - 1
    assert sum(counts) == 1001


def test_nothing_found_is_no_proof() -> None:
    summary = ParitySummary()
    none = Instances.empty((100, 100), ("cat", "dog"))
    summary.add(parity(none, none))

    totals = summary.summary()

    assert totals["pictures"] == 1
    assert totals["matched_fraction"] == 0
    for name in ("mask_iou_min", "mask_iou_p05", "mask_iou_median", "mask_iou_mean", "score_error_max"):
        value = totals[name]
        assert isinstance(value, float)
        assert math.isnan(value)
    assert totals["mask_iou_histogram"] == [0] * 7


@pytest.mark.parametrize("swap", [False, True], ids=["missing", "extra"])
def test_an_instance_too_few_and_one_too_many_cost_the_same(swap: bool) -> None:
    both, one = instances((A, 0.9, 0), (B, 0.9, 0)), instances((A, 0.9, 0))
    summary = ParitySummary()
    summary.add(parity(one, both) if swap else parity(both, one))

    assert summary.matched_fraction == 0.5


def test_quality_is_the_overlap_of_matches_over_matches_and_half_of_what_has_none() -> None:
    half = np.zeros((10, 10), bool)
    half[:5] = True
    whole = np.ones((10, 10), bool)
    reference = instances((A, 0.9, 0), (B, 0.8, 0), masks=[whole, whole])
    # One match whose masks overlap by half, one instance missing, two more than there should be.
    found = instances((A, 0.9, 0), (B, 0.8, 1), (C, 0.7, 1), masks=[half, whole, np.ones((40, 20), bool)])
    assert parity(reference, found).quality == pytest.approx(0.5 / (1 + 1 / 2 + 2 / 2))
    assert parity(reference, reference).quality == 1
    assert parity(instances(), instances()).quality == 1
    assert parity(reference, instances()).quality == 0
