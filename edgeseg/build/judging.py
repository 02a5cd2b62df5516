"""The stage that judges: what the others measured against the card's gates. It runs nothing, so gates change freely."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgeseg.build.stage import StageRequest, StageResult
from edgeseg.gates import INSPECTED, GateResult, Gates, judge
from edgeseg.report.schema import gate_json

KINDS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "parity_failed",
        ("score_error_max", "box_error_px_max", "matched_fraction_min", "mask_iou_min", "mask_iou_median_min"),
        "look at the worst instances in the report",
    ),
    (
        "metric_failed",
        ("ap_retention_min",),
        "another precision, or more calibration pictures",
    ),
    (
        "metric_failed",
        ("mask_ap_min", "mask_ap50_min"),
        "train longer, or on more pictures",
    ),
    (
        "budget_failed",
        ("latency_p50_ms_max", "latency_p95_ms_max", "artifact_mb_max", "peak_rss_mb_max"),
        "a smaller scale, image size or precision; or another limit",
    ),
    (
        "budget_failed",
        ("mapped_share_min", "subgraphs_max"),
        "the findings of `inspect` name the operations that stay on the processor; a smaller image size maps more",
    ),
)
"""Outcome where one of these gates is missed, the first row first, and what to do. Together they are all gates."""


UNMEASURED = (
    "AP needs data.val with 32 annotated pictures or more, time and memory a benchmark, what is mapped its compiler; "
    "or take the gate out of the card"
)

MEASURES: Mapping[str, tuple[str, ...]] = {
    "score_error_max": ("verify", "points", "score_error_max"),
    "box_error_px_max": ("verify", "points", "box_error_px_max"),
    "matched_fraction_min": ("verify", "masks", "matched_fraction"),
    "mask_iou_min": ("verify", "masks", "mask_iou_min"),
    "mask_iou_median_min": ("verify", "masks", "mask_iou_median"),
    "ap_retention_min": ("validate", "ap_retention"),
    "mask_ap_min": ("validate", "mask_ap"),
    "mask_ap50_min": ("validate", "mask_ap50"),
    "latency_p50_ms_max": ("benchmark", "latency_ms", "p50"),
    "latency_p95_ms_max": ("benchmark", "latency_ms", "p95"),
    "artifact_mb_max": ("artifact", "artifact_mb"),
    "peak_rss_mb_max": ("benchmark", "peak_rss_mb"),
    **{gate: ("inspect", fact) for gate, fact in INSPECTED.items()},
}
"""Gate to the stage and the fact that it judges; ``artifact`` is the stage that finished it."""


def measured_by(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Gate to what was measured for it; what was not measured is not there, what came out as no number is NaN."""
    facts = {**stages, "artifact": stages.get("compile") or stages.get("export") or {}}
    found = {}
    for name, (*path, last) in MEASURES.items():
        place: Any = facts
        for key in path:
            place = place.get(key) or {}
        if last in place:
            # JSON has no NaN: such a value was written as null. A NaN meets no gate.
            found[name] = math.nan if place[last] is None else float(place[last])
    return found


def judge_target(request: StageRequest) -> StageResult:
    """Judge. Parameters: gates, measured, problems, diagnosis, required (gates that must not stay unjudged)."""
    want = request.parameters
    results = judge(Gates(**want["gates"]), want["measured"])
    facts = {"gates": [gate_json(result) for result in results]}
    if want["problems"]:
        return StageResult(
            "parity_failed", "; ".join(want["problems"]), "; ".join(want["diagnosis"]) or "export it again", facts=facts
        )
    for outcome, names, hint in KINDS:
        missed = [result for result in results if result.name in names and not result.met]
        if missed:
            cause = "; ".join(want["diagnosis"]) if outcome == "parity_failed" else ""
            return StageResult(outcome, "; ".join(map(_sentence, missed)), cause or hint, facts=facts)
    for outcome, names, _ in KINDS:
        unmeasured = [name for name in names if name in want["required"] and name not in want["measured"]]
        if unmeasured:
            message = f"{', '.join(unmeasured)}: asked by the card, and nothing here measures it"
            return StageResult(outcome, message, UNMEASURED, facts=facts)
    return StageResult(facts=facts)


def _sentence(gate: GateResult) -> str:
    return f"{gate.name} is {gate.value:.6g}, limit {gate.limit:g}"
