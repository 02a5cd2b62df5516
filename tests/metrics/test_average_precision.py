"""AP by hand, and by pycocotools on random results."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgeseg import rle
from edgeseg.metrics.average_precision import STATS, Kind, judge
from edgeseg.metrics.confusion import confusion_of
from edgeseg.metrics.curves import curves_of
from edgeseg.metrics.matching import average_precisions, bootstrap_retention, match_detections

SIZE = (200, 300)
Row = dict[str, Any]


def _row(image: int, category: int, box: tuple[int, int, int, int], **more: Any) -> Row:
    """An object or detection that fills its box (x, y, width, height)."""
    x, y, width, height = box
    mask = rle.encode(np.ones((height, width), bool), (y, x), SIZE)
    return {"image_id": image, "category_id": category, "bbox": list(map(float, box)), "segmentation": mask, **more}


def _truth(rows: list[Row], images: int = 1, categories: int = 2) -> Row:
    annotations = [{"id": i, "iscrowd": 0, "area": r["bbox"][2] * r["bbox"][3], **r} for i, r in enumerate(rows, 1)]
    return {
        "images": [{"id": i, "height": SIZE[0], "width": SIZE[1]} for i in range(1, images + 1)],
        "categories": [{"id": c, "name": f"class {c}"} for c in range(1, categories + 1)],
        "annotations": annotations,
    }


def _ap(truth: Row, results: list[Row], kind: Kind = "segm") -> float:
    return judge(truth, results, kind).precision.map


OBJECT = (20, 20, 60, 60)
FAR = (150, 100, 60, 60)


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_perfect_detection_has_ap_1(kind: Kind) -> None:
    found = judge(_truth([_row(1, 1, OBJECT)]), [_row(1, 1, OBJECT, score=0.9)], kind).precision
    assert (found.map, found.map50, found.map75) == pytest.approx((1.0, 1.0, 1.0))
    assert found.maps[0] == pytest.approx(1.0)
    assert np.isnan(found.maps[1])


def test_no_detections_give_0() -> None:
    assert _ap(_truth([_row(1, 1, OBJECT)]), []) == 0.0


def test_empty_set_has_no_ap() -> None:
    assert np.isnan(_ap(_truth([]), [_row(1, 1, OBJECT, score=0.9)]))


def test_wrong_class_gives_0() -> None:
    assert _ap(_truth([_row(1, 1, OBJECT)]), [_row(1, 2, OBJECT, score=0.9)]) == 0.0


def test_detection_on_a_crowd_counts_neither_way() -> None:
    truth = _truth([_row(1, 1, OBJECT), _row(1, 1, FAR, iscrowd=1)])
    results = [_row(1, 1, FAR, score=0.95), _row(1, 1, OBJECT, score=0.9)]
    assert _ap(truth, results) == pytest.approx(1.0)


def test_better_scored_false_detection_halves_the_precision() -> None:
    results = [_row(1, 1, FAR, score=0.9), _row(1, 1, OBJECT, score=0.8)]
    assert _ap(_truth([_row(1, 1, OBJECT)]), results) == pytest.approx(0.5)


def test_second_detection_of_one_object_is_false() -> None:
    truth = _truth([_row(1, 1, OBJECT), _row(1, 1, FAR)])
    results = [_row(1, 1, OBJECT, score=s) for s in (0.9, 0.8)] + [_row(1, 1, FAR, score=0.7)]
    # Recall 0..0.5 at precision 1 (51 of 101 points), the rest at 2/3.
    assert _ap(truth, results) == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_equal_scores_keep_the_order_of_the_results() -> None:
    truth = _truth([_row(1, 1, OBJECT)])
    right, wrong = _row(1, 1, OBJECT, score=0.5), _row(1, 1, FAR, score=0.5)
    assert _ap(truth, [right, wrong]) == pytest.approx(1.0)
    assert _ap(truth, [wrong, right]) == pytest.approx(0.5)


def test_overlap_of_three_quarters_counts_up_to_its_threshold() -> None:
    # 60 x 45 of 60 x 60: IoU 0.75, right at 0.50, 0.55 ... 0.75: six of ten thresholds.
    results = [_row(1, 1, (20, 20, 60, 45), score=0.9)]
    assert _ap(_truth([_row(1, 1, OBJECT)]), results) == pytest.approx(0.6)


def test_huge_and_tiny_objects_are_told_apart_by_area() -> None:
    truth = _truth([_row(1, 1, (0, 0, 290, 190)), _row(1, 1, (291, 191, 2, 2))])
    stats = judge(truth, [_row(1, 1, (0, 0, 290, 190), score=0.9)], "segm").precision.stats
    assert stats["APlarge"] == pytest.approx(1.0)
    assert stats["APsmall"] == 0.0
    assert np.isnan(stats["APmedium"])


@st.composite
def _scenes(draw: st.DrawFn) -> tuple[Row, list[Row]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images, categories = draw(st.integers(1, 4)), draw(st.integers(1, 3))

    def box() -> tuple[int, int, int, int]:
        width, height = rng.integers(1, 120, 2)
        return int(rng.integers(0, SIZE[1] - width)), int(rng.integers(0, SIZE[0] - height)), int(width), int(height)

    def near(row: Row) -> tuple[int, int, int, int]:
        x, y, width, height = np.asarray(row["bbox"], int) + rng.integers(-4, 5, 4)
        x, y = np.clip([x, y], 0, [SIZE[1] - 2, SIZE[0] - 2])
        return int(x), int(y), int(np.clip(width, 1, SIZE[1] - x)), int(np.clip(height, 1, SIZE[0] - y))

    def anywhere() -> tuple[int, int]:
        return int(rng.integers(1, images + 1)), int(rng.integers(1, categories + 1))

    objects = [_row(*anywhere(), box(), iscrowd=int(rng.random() < 0.15)) for _ in range(draw(st.integers(0, 12)))]
    scores = rng.choice([0.1, 0.3, 0.5, 0.7, 0.9], 40)
    results = []
    for row, score in zip([r for r in objects for _ in range(2)], scores, strict=False):
        category = row["category_id"] if rng.random() < 0.8 else int(rng.integers(1, categories + 1))
        results.append(_row(row["image_id"], category, near(row), score=float(score)))
    results += [_row(*anywhere(), box(), score=float(rng.random())) for _ in range(draw(st.integers(0, 6)))]
    return _truth(objects, images, categories), results


@settings(max_examples=60, deadline=None)
@given(scene=_scenes())
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_judge_and_matches_equal_pycocotools_on_random_results(scene: tuple[Row, list[Row]], kind: Kind) -> None:
    truth, results = scene
    judgement = judge(truth, results, kind)
    if results:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            objects = COCO()
            objects.dataset = truth
            objects.createIndex()
            plain = COCOeval(objects, objects.loadRes([dict(row) for row in results]), kind)
            plain.evaluate()
            plain.accumulate()
            plain.summarize()
        expected = np.where(plain.stats < 0, np.nan, plain.stats)
        np.testing.assert_allclose([judgement.precision.stats[key] for key in STATS], expected, atol=1e-9)
    ours = average_precisions(match_detections(judgement.ious, truth, results))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        np.testing.assert_allclose(np.nanmean(ours, axis=1), judgement.precision.maps, atol=1e-12)


def _matches(truth: Row, results: list[Row]) -> Any:
    return match_detections(judge(truth, results, "segm").ious, truth, results)


def test_weights_count_a_picture_as_often_as_they_say() -> None:
    rows = [_row(1, 1, OBJECT), _row(2, 1, OBJECT), _row(3, 1, OBJECT)]
    results = [_row(1, 1, OBJECT, score=0.9), _row(2, 1, FAR, score=0.8), _row(3, 1, OBJECT, score=0.7)]
    matches = _matches(_truth(rows, 3, 1), results)
    twice = [*rows, _row(4, 1, OBJECT)]
    doubled = _matches(_truth(twice, 4, 1), [*results, _row(4, 1, FAR, score=0.8)])
    weighted = average_precisions(matches, np.array([1.0, 2.0, 1.0]))
    np.testing.assert_allclose(weighted, average_precisions(doubled))


def test_retention_of_the_same_results_is_1_without_spread() -> None:
    truth = _truth([_row(i, 1, OBJECT) for i in range(1, 9)], 8, 1)
    matches = _matches(truth, [_row(i, 1, OBJECT if i % 2 else FAR, score=0.5 + i / 20) for i in range(1, 9)])
    assert bootstrap_retention(matches, matches, samples=50) == (1.0, 1.0, 1.0)


def test_retention_interval_holds_the_value_when_detections_are_lost() -> None:
    truth = _truth([_row(i, 1, OBJECT) for i in range(1, 41)], 40, 1)
    reference = _matches(truth, [_row(i, 1, OBJECT, score=0.9) for i in range(1, 41)])
    found = _matches(truth, [_row(i, 1, OBJECT, score=0.9) for i in range(1, 31)])
    value, low, high = bootstrap_retention(reference, found, samples=400)
    # 30 of 40 objects: precision 1 up to recall 0.75, which is 76 of 101 points.
    assert value == pytest.approx(76 / 101)
    assert 0.55 < low < value < high < 0.95


def test_curves_count_detections_above_each_threshold() -> None:
    truth = _truth([_row(1, 1, OBJECT), _row(2, 1, OBJECT)], 2, 1)
    curves = curves_of(_matches(truth, [_row(1, 1, OBJECT, score=0.9), _row(2, 1, FAR, score=0.4)]))
    at = {round(float(t), 3): i for i, t in enumerate(curves.thresholds)}
    assert (curves.precision[at[0.2]], curves.recall[at[0.2]]) == (0.5, 0.5)
    assert (curves.precision[at[0.6]], curves.recall[at[0.6]]) == (1.0, 0.5)
    assert (curves.precision[at[0.95]], curves.recall[at[0.95]], curves.f1[at[0.95]]) == (1.0, 0.0, 0.0)
    assert curves.f1[curves.best] == pytest.approx(2 / 3)


def test_confusion_counts_swapped_missed_and_invented() -> None:
    truth = _truth([_row(1, 1, OBJECT), _row(1, 2, FAR), _row(2, 1, OBJECT)], 2)
    results = [
        _row(1, 1, OBJECT, score=0.9),
        _row(1, 1, FAR, score=0.8),
        _row(2, 2, FAR, score=0.7),
        _row(2, 1, OBJECT, score=0.2),
    ]
    confusion = confusion_of(truth, results)
    assert confusion.table.tolist() == [[1, 0, 1], [1, 0, 0], [0, 1, 0]]
    first, second = confusion.pictures
    assert (first.right, first.wrong, first.missed) == (1, 1, 1)
    assert (second.right, second.wrong, second.missed, second.quality) == (0, 1, 1, 0.0)
    assert first.mask_ious == [1.0]
