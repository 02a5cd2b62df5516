"""AP of resampled pictures against the judge, and the retention made of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeseg.metrics import bootstrap
from edgeseg.metrics.average_precision import Kind, judge
from edgeseg.metrics.bootstrap import average_precisions, bootstrap_retention
from edgeseg.metrics.matching import Matches, match_detections
from tests.metrics.scenes import FAR, OBJECT, Row, row, scenes, truth_of


def _matches(truth: Row, results: list[Row], kind: Kind = "segm") -> Matches:
    return match_detections(judge(truth, results, kind).ious, truth, results)


def _repeated(rows: list[Row], draw: NDArray[np.float64]) -> list[Row]:
    """The rows of each picture as often as drawn, each time on a picture of its own, row for row."""
    images = iter(range(1, int(draw.sum()) + 1))
    copies = {i: [next(images) for _ in range(int(count))] for i, count in enumerate(draw, start=1)}
    return [{**one, "image_id": image} for one in rows for image in copies[one["image_id"]]]


def _judged(truth: Row, results: list[Row], draw: NDArray[np.float64], kind: Kind) -> NDArray[np.float64]:
    objects = [{key: value for key, value in one.items() if key != "id"} for one in truth["annotations"]]
    drawn = truth_of(_repeated(objects, draw), int(draw.sum()), len(truth["categories"]))
    return judge(drawn, _repeated(results, draw), kind, "pycocotools").precision.maps


@settings(max_examples=25, deadline=None)
@given(scene=scenes(), seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_ap_of_drawn_pictures_is_what_pycocotools_says_of_them(
    scene: tuple[Row, list[Row]], seed: int, kind: Kind
) -> None:
    truth, results = scene
    # Equal scores in different pictures would be judged in another order than their copies.
    results = [{**one, "score": one["score"] + 1e-6 * i} for i, one in enumerate(results)]
    pictures = len(truth["images"])
    draws = np.random.default_rng(seed).multinomial(pictures, np.full(pictures, 1 / pictures), 3).astype(float)
    draws = np.concatenate([np.ones((1, pictures)), draws])
    found = average_precisions(_matches(truth, results, kind), draws)
    expected = [_judged(truth, results, draw, kind) for draw in draws]
    np.testing.assert_allclose(found.mean(axis=2), expected, rtol=0, atol=1e-12)


def _by_definition(matches: Matches, weights: NDArray[np.float64], index: int, threshold: int) -> float:
    """COCO's AP of one class and threshold, point by point: the best precision at each recall or above."""
    of_class = matches.class_index == index
    weight = weights[matches.image_index[of_class]]
    positives = float(matches.objects[index] @ weights)
    if positives == 0:
        return float("nan")
    true = np.cumsum(weight * matches.correct[threshold, of_class])
    seen = np.cumsum(weight * ~matches.ignored[threshold, of_class])
    points = [(t / positives, t / s if s else 0.0) for t, s in zip(true, seen, strict=True)]
    best = [max((p for r, p in points if r >= recall), default=0.0) for recall in bootstrap.RECALLS]
    return float(np.mean(best))


@pytest.mark.parametrize("chunk", [pytest.param(1, id="sample by sample"), pytest.param(10**6, id="all at once")])
def test_ap_of_many_weightings_is_that_of_the_definition(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(bootstrap, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    classes, pictures, count = 4, 9, 200
    class_index = np.sort(rng.integers(0, classes - 1, count))  # the last class has objects, and no detections
    correct = rng.random((10, count)) < 0.3
    objects = rng.integers(0, 3, (classes, pictures)) + np.array([[9], [9], [0], [1]])
    ignored = ~correct & (rng.random((10, count)) < 0.1)
    matches = Matches(class_index, rng.integers(0, pictures, count), rng.random(count), correct, ignored, objects)
    weights = rng.multinomial(pictures, np.full(pictures, 1 / pictures), size=6).astype(float)
    expected = [[[_by_definition(matches, w, c, t) for t in range(10)] for c in range(classes)] for w in weights]
    np.testing.assert_allclose(average_precisions(matches, weights), expected, rtol=0, atol=1e-12)


def test_weights_count_a_picture_as_often_as_they_say() -> None:
    rows = [row(1, 1, OBJECT), row(2, 1, OBJECT), row(3, 1, OBJECT)]
    results = [row(1, 1, OBJECT, score=0.9), row(2, 1, FAR, score=0.8), row(3, 1, OBJECT, score=0.7)]
    matches = _matches(truth_of(rows, 3, 1), results)
    twice = [*rows, row(4, 1, OBJECT)]
    doubled = _matches(truth_of(twice, 4, 1), [*results, row(4, 1, FAR, score=0.8)])
    weighted = average_precisions(matches, np.array([[1.0, 2.0, 1.0]]))
    np.testing.assert_allclose(weighted, average_precisions(doubled))


def test_retention_of_the_same_results_is_1_without_spread() -> None:
    truth = truth_of([row(i, 1, OBJECT) for i in range(1, 9)], 8, 1)
    matches = _matches(truth, [row(i, 1, OBJECT if i % 2 else FAR, score=0.5 + i / 20) for i in range(1, 9)])
    assert bootstrap_retention(matches, matches, samples=50) == (1.0, 1.0, 1.0)


def test_retention_interval_holds_the_value_when_detections_are_lost() -> None:
    truth = truth_of([row(i, 1, OBJECT) for i in range(1, 41)], 40, 1)
    reference = _matches(truth, [row(i, 1, OBJECT, score=0.9) for i in range(1, 41)])
    found = _matches(truth, [row(i, 1, OBJECT, score=0.9) for i in range(1, 31)])
    value, low, high = bootstrap_retention(reference, found, samples=400)
    # 30 of 40 objects: precision 1 up to recall 0.75, which is 76 of 101 points.
    assert value == pytest.approx(76 / 101)
    assert 0.55 < low < value < high < 0.95


def test_retention_is_the_ratio_of_the_judged_ap_on_each_draw() -> None:
    rng = np.random.default_rng(3)
    rows = [row(i, int(rng.integers(1, 3)), OBJECT) for i in range(1, 11)]
    truth = truth_of(rows, 10, 2)

    def results(lost: float) -> list[Row]:
        found = [{**one, "score": float(rng.random())} for one in rows if rng.random() > lost]
        return found + [row(i, 1, FAR, score=float(rng.random())) for i in range(1, 11)]

    reference, other = results(0.1), results(0.4)
    draws = np.random.default_rng(7).multinomial(10, np.full(10, 0.1), size=20).astype(float)
    judged = [[np.nanmean(_judged(truth, one, draw, "segm")) for one in (other, reference)] for draw in draws]
    expected = np.quantile([ours / theirs for ours, theirs in judged], (0.025, 0.975))
    found = bootstrap_retention(_matches(truth, reference), _matches(truth, other), samples=20, seed=7)
    assert found[1:] == pytest.approx(tuple(expected), abs=1e-12)


def test_retention_against_a_reference_that_finds_nothing_is_not_a_number() -> None:
    truth = truth_of([row(1, 1, OBJECT), row(2, 1, OBJECT)], 2, 1)
    nothing, all_found = _matches(truth, []), _matches(truth, [row(i, 1, OBJECT, score=0.9) for i in (1, 2)])
    assert np.isnan(bootstrap_retention(nothing, all_found, samples=20)).all()
    assert bootstrap_retention(all_found, nothing, samples=20) == (0.0, 0.0, 0.0)
