"""The JSON and CSV of a validation whose every number is known."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from edgeseg.metrics.average_precision import STATS
from edgeseg.report.val_json import val_csv, val_json
from edgeseg.validate import Metrics, Retention
from tests.report.validation import FOUND, NAMES, metrics_of, write_set

AP_OF_CATS = 0.5 * (51 + 50 * 2 / 3) / 101 + 0.5 * 51 / 101
"""Of two cats the first is found exactly, then comes the dog, then the other with IoU 0.725: five of ten thresholds."""


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Metrics:
    return metrics_of(write_set(tmp_path_factory.mktemp("set")), FOUND)


@pytest.fixture(scope="module")
def content(metrics: Metrics) -> dict[str, Any]:
    # What JSON does not have, NaN above all, would not come back.
    found: dict[str, Any] = json.loads(json.dumps(val_json(metrics), allow_nan=False))
    return found


def test_json_has_all_numbers_of_the_judge(metrics: Metrics, content: dict[str, Any]) -> None:
    assert set(content["seg"]) == set(content["box"]) == {*STATS, "judge"}
    assert content["seg"]["AP"] == pytest.approx(AP_OF_CATS / 2)
    assert content["seg"]["judge"] == metrics.seg.judge


def test_json_has_classes_in_the_order_of_the_set_and_null_for_one_without_objects(content: dict[str, Any]) -> None:
    assert [row["name"] for row in content["classes"]] == list(NAMES)
    assert [row["objects"] for row in content["classes"]] == [2, 1, 0]
    assert content["classes"][0]["mask_ap"] == pytest.approx(AP_OF_CATS)
    assert content["classes"][1]["mask_ap"] == 0
    assert content["classes"][2]["mask_ap"] is None


def test_json_counts_pictures_objects_without_crowds_and_all_detections(content: dict[str, Any]) -> None:
    assert (content["pictures"], content["objects"], content["crowds"], content["detections"]) == (2, 3, 1, 5)


def test_json_has_the_confusion_by_class_with_background_last(content: dict[str, Any]) -> None:
    assert content["confusion"] == [[2, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]


def test_json_has_the_mask_ious_of_right_detections(content: dict[str, Any]) -> None:
    histogram = content["mask_iou_histogram"]
    counts = dict(zip([round(edge, 2) for edge in histogram["edges"]], histogram["counts"], strict=False))
    assert {edge: count for edge, count in counts.items() if count} == {0.7: 1, 0.95: 1}


def test_json_has_the_score_of_the_best_f1(content: dict[str, Any]) -> None:
    # Cats: 2 of 3 above 0.7 give F1 0.8, which the dogs' 0 halves.
    assert content["curves"]["best_f1"] == pytest.approx(0.4)
    assert content["curves"]["best_score"] <= 0.7
    assert len(content["curves"]["score"]) == len(content["curves"]["recall"])


def test_json_has_milliseconds_by_picture_and_seconds_in_all(content: dict[str, Any]) -> None:
    assert content["milliseconds_a_picture"] == {"network": 10.0, "masks": 2.5}
    assert content["seconds"] == 1.5


def test_json_has_retention_where_it_was_asked(metrics: Metrics, content: dict[str, Any]) -> None:
    assert content["retention"] == []
    (row,) = val_json(metrics, (Retention("mask", 0.99, 0.98, float("nan"), 2, "n.pt", "ab12"),))["retention"]
    numbers = {"kind": "mask", "value": 0.99, "low": 0.98, "high": None, "pictures": 2}
    assert row == {**numbers, "reference": "n.pt", "reference_sha256": "ab12"}


def test_csv_has_a_row_for_each_class_and_one_for_all(metrics: Metrics) -> None:
    rows = list(csv.DictReader(io.StringIO(val_csv(metrics))))
    assert [row["class"] for row in rows] == [*NAMES, "all"]
    assert float(rows[0]["mask_ap"]) == pytest.approx(AP_OF_CATS)
    assert rows[2]["mask_ap"] == ""
    assert float(rows[3]["mask_ap"]) == pytest.approx(AP_OF_CATS / 2)


def test_csv_keeps_a_name_with_comma_and_quotes(tmp_path: Path) -> None:
    names = ('a "cat", large', "dog", "line\nbreak")
    rows = list(csv.DictReader(io.StringIO(val_csv(metrics_of(write_set(tmp_path, names), FOUND)))))
    assert [row["class"] for row in rows[:3]] == list(names)
