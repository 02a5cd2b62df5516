"""Gates against measured numbers: which stage's number, which outcome, what a missing or a NaN one means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeseg.build.judging import KINDS, MEASURES, judge_target, measured_by
from edgeseg.build.stage import StageRequest, StageResult
from edgeseg.gates import Gates

STAGES: dict[str, dict[str, Any]] = {
    "export": {"artifact_mb": 13.7},
    "verify": {
        "points": {"score_error_max": 1e-5, "box_error_px_max": 0.01},
        "masks": {"matched_fraction": 1.0, "mask_iou_min": 0.995, "mask_iou_median": 0.9999},
    },
    "validate": {"ap_retention": 1.001, "mask_ap": 0.375, "mask_ap50": 0.6},
    "benchmark": {"latency_ms": {"p50": 40.0, "p95": 55.0}, "peak_rss_mb": 300.0},
    "inspect": {"operators": "Conv 3", "mapped_share": 0.75, "subgraphs": 1},
}


def _judged(gates: dict[str, float], stages: dict[str, dict[str, Any]] = STAGES, **more: Any) -> StageResult:
    parameters = {
        "gates": gates,
        "measured": measured_by(stages),
        "problems": [],
        "diagnosis": [],
        "required": [],
        **more,
    }
    return judge_target(StageRequest("gates", "t", Path("unused"), {}, parameters))


def test_every_gate_has_a_measure_and_an_outcome() -> None:
    names = set(Gates.model_fields)
    assert set(MEASURES) == names
    listed = [name for _, row, _ in KINDS for name in row]
    assert sorted(listed) == sorted(names)


def test_all_stages_together_measure_every_gate() -> None:
    assert measured_by(STAGES) == {
        "score_error_max": 1e-5,
        "box_error_px_max": 0.01,
        "matched_fraction_min": 1.0,
        "mask_iou_min": 0.995,
        "mask_iou_median_min": 0.9999,
        "ap_retention_min": 1.001,
        "mask_ap_min": 0.375,
        "mask_ap50_min": 0.6,
        "latency_p50_ms_max": 40.0,
        "latency_p95_ms_max": 55.0,
        "artifact_mb_max": 13.7,
        "peak_rss_mb_max": 300.0,
        "mapped_share_min": 0.75,
        "subgraphs_max": 1.0,
    }


@pytest.mark.parametrize(
    ("gates", "outcome", "words"),
    [
        ({"mask_iou_min": 0.999}, "parity_failed", "mask_iou_min is 0.995, limit 0.999"),
        ({"ap_retention_min": 1.01}, "metric_failed", "ap_retention_min is 1.001, limit 1.01"),
        ({"mask_ap50_min": 0.7}, "metric_failed", "mask_ap50_min is 0.6, limit 0.7"),
        ({"latency_p95_ms_max": 50}, "budget_failed", "latency_p95_ms_max is 55, limit 50"),
        ({"mapped_share_min": 0.9}, "budget_failed", "mapped_share_min is 0.75, limit 0.9"),
        ({"artifact_mb_max": 10, "mask_iou_min": 0.999}, "parity_failed", "mask_iou_min is 0.995, limit 0.999"),
        ({"artifact_mb_max": 20, "latency_p50_ms_max": 41, "peak_rss_mb_max": 301}, "passed", ""),
        ({"mapped_share_min": 0.75, "subgraphs_max": 1}, "passed", ""),
    ],
)
def test_missed_gate_gives_its_outcome(gates: dict[str, float], outcome: str, words: str) -> None:
    result = _judged(gates)
    assert (result.outcome, result.message) == (outcome, words)
    assert bool(result.hint) == (outcome != "passed")


def test_margin_is_positive_where_the_gate_is_met() -> None:
    rows = _judged({"latency_p50_ms_max": 41, "mask_iou_min": 0.999}).facts["gates"]
    assert {row["name"]: round(row["margin"], 6) for row in rows} == {"latency_p50_ms_max": 1, "mask_iou_min": -0.004}


def test_gate_of_a_stage_that_did_not_run_is_not_judged() -> None:
    stages = {name: facts for name, facts in STAGES.items() if name != "benchmark"}
    result = _judged({"latency_p50_ms_max": 1, "mask_iou_min": 0.9}, stages)
    assert result.passed
    assert [row["name"] for row in result.facts["gates"]] == ["mask_iou_min"]


def test_number_that_is_none_meets_no_gate() -> None:
    # No instance matched: JSON has null for the NaN.
    stages = {**STAGES, "verify": {**STAGES["verify"], "masks": {"mask_iou_min": None}}}
    assert _judged({"mask_iou_min": 0.0}, stages).outcome == "parity_failed"


def test_compiled_artifact_is_the_one_that_is_weighed() -> None:
    assert measured_by({**STAGES, "compile": {"artifact_mb": 4.0}})["artifact_mb_max"] == 4.0


def test_broken_contract_fails_whatever_the_gates_say() -> None:
    result = _judged({}, problems=["class names differ"], diagnosis=["2 classes are permuted"])
    assert (result.outcome, result.message) == ("parity_failed", "class names differ")
    assert result.hint == "2 classes are permuted"


def test_gate_of_the_card_that_nothing_measures_fails() -> None:
    stages = {name: facts for name, facts in STAGES.items() if name != "validate"}
    gates = {"mask_ap_min": 0.3, "ap_retention_min": 0.99, "mask_iou_min": 0.9}
    # The default retention may stay unjudged; what the card itself sets may not.
    result = _judged(gates, stages, required=["mask_ap_min", "mask_iou_min"])
    assert result.outcome == "metric_failed"
    assert result.message == "mask_ap_min: asked by the card, and nothing here measures it"
