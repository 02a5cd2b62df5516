"""AP by hand with every judge, and bit by bit what pycocotools says of random results."""

from __future__ import annotations

import contextlib
import io
import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgeseg.errors import EnvironmentMissingError
from edgeseg.metrics.average_precision import JUDGES, STATS, AveragePrecision, Kind, Package, judge
from edgeseg.metrics.confusion import confusion_of
from edgeseg.metrics.curves import curves_of
from edgeseg.metrics.matching import MAX_DETECTIONS, match_detections
from tests.metrics.scenes import FAR, OBJECT, Row, row, scenes, truth_of

needs_faster = pytest.mark.skipif(
    find_spec("faster_coco_eval") is None, reason="needs faster-coco-eval, of the extra 'dev'"
)
EVERY_JUDGE = [
    pytest.param(name, id=name, marks=[needs_faster] if name == "faster-coco-eval" else []) for name in JUDGES
]
TOLERANCES: dict[Package, float] = {"pycocotools": 0.0, "faster-coco-eval": 1e-9}
"""Of the twelve numbers: those of pycocotools stay what they are bit by bit."""


@pytest.fixture(params=EVERY_JUDGE)
def package(request: pytest.FixtureRequest) -> Package:
    """Each judge; the hand-computed cases hold for all."""
    name: Package = request.param
    return name


def _ap(truth: Row, results: list[Row], package: Package, kind: Kind = "segm") -> float:
    return judge(truth, results, kind, package).precision.map


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_perfect_detection_has_ap_1(kind: Kind, package: Package) -> None:
    found = judge(truth_of([row(1, 1, OBJECT)]), [row(1, 1, OBJECT, score=0.9)], kind, package).precision
    assert (found.map, found.map50, found.map75) == pytest.approx((1.0, 1.0, 1.0))
    assert found.maps[0] == pytest.approx(1.0)
    assert np.isnan(found.maps[1])


def test_no_detections_give_0(package: Package) -> None:
    assert _ap(truth_of([row(1, 1, OBJECT)]), [], package) == 0.0


def test_empty_set_has_no_ap(package: Package) -> None:
    assert np.isnan(_ap(truth_of([]), [row(1, 1, OBJECT, score=0.9)], package))


def test_set_without_classes_has_no_ap(package: Package) -> None:
    assert np.isnan(_ap(truth_of([], categories=0), [], package))


def test_wrong_class_gives_0(package: Package) -> None:
    assert _ap(truth_of([row(1, 1, OBJECT)]), [row(1, 2, OBJECT, score=0.9)], package) == 0.0


def test_detection_on_a_crowd_counts_neither_way(package: Package) -> None:
    truth = truth_of([row(1, 1, OBJECT), row(1, 1, FAR, iscrowd=1)])
    results = [row(1, 1, FAR, score=0.95), row(1, 1, OBJECT, score=0.9)]
    assert _ap(truth, results, package) == pytest.approx(1.0)


def test_better_scored_false_detection_halves_the_precision(package: Package) -> None:
    results = [row(1, 1, FAR, score=0.9), row(1, 1, OBJECT, score=0.8)]
    assert _ap(truth_of([row(1, 1, OBJECT)]), results, package) == pytest.approx(0.5)


def test_second_detection_of_one_object_is_false(package: Package) -> None:
    truth = truth_of([row(1, 1, OBJECT), row(1, 1, FAR)])
    results = [row(1, 1, OBJECT, score=s) for s in (0.9, 0.8)] + [row(1, 1, FAR, score=0.7)]
    # Recall 0..0.5 at precision 1 (51 of 101 points), the rest at 2/3.
    assert _ap(truth, results, package) == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_equal_scores_keep_the_order_of_the_results(package: Package) -> None:
    truth = truth_of([row(1, 1, OBJECT)])
    right, wrong = row(1, 1, OBJECT, score=0.5), row(1, 1, FAR, score=0.5)
    assert _ap(truth, [right, wrong], package) == pytest.approx(1.0)
    assert _ap(truth, [wrong, right], package) == pytest.approx(0.5)


def test_overlap_of_three_quarters_counts_up_to_its_threshold(package: Package) -> None:
    # 60 x 45 of 60 x 60: IoU 0.75, right at 0.50, 0.55 ... 0.75: six of ten thresholds.
    results = [row(1, 1, (20, 20, 60, 45), score=0.9)]
    assert _ap(truth_of([row(1, 1, OBJECT)]), results, package) == pytest.approx(0.6)


def test_huge_and_tiny_objects_are_told_apart_by_area(package: Package) -> None:
    truth = truth_of([row(1, 1, (0, 0, 290, 190)), row(1, 1, (291, 191, 2, 2))])
    stats = judge(truth, [row(1, 1, (0, 0, 290, 190), score=0.9)], "segm", package).precision.stats
    assert stats["APlarge"] == pytest.approx(1.0)
    assert stats["APsmall"] == 0.0
    assert np.isnan(stats["APmedium"])


def test_numbers_of_classes_are_in_the_order_of_the_categories(package: Package) -> None:
    truth = truth_of([row(1, 9, OBJECT), row(1, 4, FAR)])
    truth["categories"] = [{"id": 9, "name": "first"}, {"id": 4, "name": "second"}]
    found = judge(truth, [row(1, 9, OBJECT, score=0.9)], "segm", package).precision
    assert found.maps.tolist() == pytest.approx([1.0, 0.0])
    assert found.ap50s.tolist() == pytest.approx([1.0, 0.0])


def test_the_hundredth_detection_of_a_class_is_the_last_that_counts(package: Package) -> None:
    truth = truth_of([row(1, 1, OBJECT)])
    before = [row(1, 1, FAR, score=0.9) for _ in range(MAX_DETECTIONS - 1)]
    right, wrong = row(1, 1, OBJECT, score=0.5), row(1, 1, FAR, score=0.6)
    assert _ap(truth, [*before, right], package) == pytest.approx(1 / MAX_DETECTIONS)
    assert _ap(truth, [*before, wrong, right], package) == 0.0
    assert _matches(truth, [*before, wrong, right]).correct.shape == (10, MAX_DETECTIONS)


def test_report_names_who_judged(package: Package) -> None:
    assert judge(truth_of([row(1, 1, OBJECT)]), [], "bbox", package).precision.judge.split()[0] == package


def test_judge_leaves_truth_and_results_as_they_are(package: Package) -> None:
    truth, results = truth_of([row(1, 1, OBJECT)]), [row(1, 1, OBJECT, score=0.9)]
    judge(truth, results, "segm", package)
    assert (truth, results) == (truth_of([row(1, 1, OBJECT)]), [row(1, 1, OBJECT, score=0.9)])


@pytest.mark.skipif(find_spec("faster_coco_eval") is not None, reason="faster-coco-eval is installed")
def test_absent_judge_is_refused_with_the_install_line() -> None:
    with pytest.raises(EnvironmentMissingError, match="faster-coco-eval") as refused:
        judge(truth_of([]), [], "bbox", "faster-coco-eval")
    assert refused.value.hint == "pip install 'edgeseg[dev]'"


def _plain(truth: Row, results: list[Row], kind: Kind) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The twelve numbers and (10, 101, classes) precisions of pycocotools as its own example uses it."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        objects = COCO()
        objects.dataset = truth
        objects.createIndex()
        plain = COCOeval(objects, objects.loadRes([dict(one) for one in results]), kind)
        plain.evaluate()
        plain.accumulate()
        plain.summarize()
    return np.where(plain.stats < 0, np.nan, plain.stats), plain.eval["precision"][:, :, :, 0, -1]


def _numbers(precision: AveragePrecision) -> list[float]:
    return [precision.stats[key] for key in STATS]


@settings(max_examples=40, deadline=None)
@given(scene=scenes())
@pytest.mark.parametrize("name", EVERY_JUDGE)
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_judges_equal_plain_pycocotools_on_random_results(
    scene: tuple[Row, list[Row]], kind: Kind, name: Package
) -> None:
    truth, results = scene
    found = judge(truth, results, kind, name).precision
    if results:
        stats, precision = _plain(truth, results, kind)
        np.testing.assert_allclose(_numbers(found), stats, rtol=0, atol=TOLERANCES[name])
        for ours, theirs in ((found.maps, precision), (found.ap50s, precision[:1])):
            means = theirs.mean(axis=(0, 1))
            np.testing.assert_allclose(ours, np.where(means < 0, np.nan, means), rtol=0, atol=1e-9)
    else:
        assert np.nan_to_num(_numbers(found)).tolist() == [0.0] * len(STATS)


@needs_faster
@settings(max_examples=40, deadline=None)
@given(scene=scenes())
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_judges_find_the_same_overlaps(scene: tuple[Row, list[Row]], kind: Kind) -> None:
    ours, theirs = (judge(*scene, kind, name).ious for name in ("pycocotools", "faster-coco-eval"))
    assert ours.keys() == theirs.keys()
    for key, iou in ours.items():
        np.testing.assert_allclose(theirs[key], iou, rtol=0, atol=1e-9)


def _matches(truth: Row, results: list[Row]) -> Any:
    return match_detections(judge(truth, results, "segm").ious, truth, results)


def test_curves_count_detections_above_each_threshold() -> None:
    truth = truth_of([row(1, 1, OBJECT), row(2, 1, OBJECT)], 2, 1)
    curves = curves_of(_matches(truth, [row(1, 1, OBJECT, score=0.9), row(2, 1, FAR, score=0.4)]))
    at = {round(float(t), 3): i for i, t in enumerate(curves.thresholds)}
    assert (curves.precision[at[0.2]], curves.recall[at[0.2]]) == (0.5, 0.5)
    assert (curves.precision[at[0.6]], curves.recall[at[0.6]]) == (1.0, 0.5)
    assert (curves.precision[at[0.95]], curves.recall[at[0.95]], curves.f1[at[0.95]]) == (1.0, 0.0, 0.0)
    assert curves.f1[curves.best] == pytest.approx(2 / 3)


def test_confusion_counts_swapped_missed_and_invented() -> None:
    truth = truth_of([row(1, 1, OBJECT), row(1, 2, FAR), row(2, 1, OBJECT)], 2)
    results = [
        row(1, 1, OBJECT, score=0.9),
        row(1, 1, FAR, score=0.8),
        row(2, 2, FAR, score=0.7),
        row(2, 1, OBJECT, score=0.2),
    ]
    confusion = confusion_of(truth, results)
    assert confusion.table.tolist() == [[1, 0, 1], [1, 0, 0], [0, 1, 0]]
    first, second = confusion.pictures
    assert (first.right, first.wrong, first.missed) == (1, 1, 1)
    assert (second.right, second.wrong, second.missed, second.quality) == (0, 1, 1, 0.0)
    assert first.mask_ious == [1.0]
