"""Gates: which side of a limit is the right one, and which limits hold where none was asked."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from edgeseg import registry
from edgeseg.devices import catalogue
from edgeseg.gates import AP_RETENTION_DEFAULTS, PARITY_DEFAULTS, GateResult, Gates, gates_for, judge

NAMES = list(Gates.model_fields)


@pytest.mark.parametrize("name", NAMES)
def test_every_gates_name_says_its_direction(name: str) -> None:
    assert name.endswith(("_min", "_max"))


@pytest.mark.parametrize(
    ("name", "value", "met"),
    [
        ("mask_iou_min", 0.9, True), ("mask_iou_min", 0.91, True), ("mask_iou_min", 0.89, False),
        ("mask_iou_min", math.nan, False), ("mask_iou_min", math.inf, True), ("mask_iou_min", -math.inf, False),
        ("box_error_px_max", 0.9, True), ("box_error_px_max", 0.89, True), ("box_error_px_max", 0.91, False),
        ("box_error_px_max", math.nan, False), ("box_error_px_max", math.inf, False),
    ],
    ids=str,
)  # fmt: skip
def test_a_gate_is_met_at_its_limit_and_on_the_right_side_of_it(name: str, value: float, met: bool) -> None:
    gate = GateResult(name, 0.9, value)

    assert gate.met is met
    assert (gate.margin >= 0) is met


def test_a_limit_of_zero_error_is_met_by_no_error_only() -> None:
    assert GateResult("score_error_max", 0.0, 0.0).met
    assert not GateResult("score_error_max", 0.0, 1e-12).met


def test_judge_takes_what_is_asked_and_measured_in_the_order_of_the_fields() -> None:
    gates = Gates(mask_iou_min=0.5, score_error_max=0.1, latency_p50_ms_max=10)

    results = judge(gates, {"mask_iou_min": 0.6, "score_error_max": 0.2, "box_error_px_max": 9.0})

    assert [(gate.name, gate.limit, gate.value, gate.met) for gate in results] == [
        ("score_error_max", 0.1, 0.2, False),
        ("mask_iou_min", 0.5, 0.6, True),
    ]


# The tolerances of facts.md, section 6


def test_fp32_must_be_the_same_in_every_respect() -> None:
    assert gates_for("fp32", Gates()) == Gates(
        score_error_max=1e-4,
        box_error_px_max=0.02,
        matched_fraction_min=1.0,
        mask_iou_min=0.99,
        mask_iou_median_min=0.999,
        ap_retention_min=0.999,
    )


@pytest.mark.parametrize(
    ("precision", "median", "retention"), [("fp16", 0.995, 0.995), ("int8", 0.93, 0.97)], ids=["fp16", "int8"]
)
def test_lower_precisions_have_the_published_tolerances(precision: str, median: float, retention: float) -> None:
    gates = gates_for(precision, Gates())

    assert gates.mask_iou_median_min == median
    assert gates.ap_retention_min == retention
    assert gates.score_error_max is None, "int8 scores differ by more than any useful limit"


def test_every_precision_that_a_format_offers_has_defaults() -> None:
    offered = {precision for row in catalogue().format_rows.values() for precision in row.precisions}
    offered |= {
        p for entry in registry.entries().values() if entry.target for p in entry.target.capabilities.precisions
    }

    assert offered
    assert offered <= PARITY_DEFAULTS.keys()
    assert offered <= AP_RETENTION_DEFAULTS.keys()


def test_defaults_do_not_get_stricter_with_less_precision() -> None:
    medians = [PARITY_DEFAULTS[name].mask_iou_median_min for name in ("fp32", "fp16", "bf16", "w8a16", "int8")]

    assert medians == sorted(medians, key=lambda value: -(value or 0))


def test_what_is_asked_goes_over_the_defaults_and_the_others_stay() -> None:
    gates = gates_for("fp32", Gates(mask_iou_min=0.5, latency_p50_ms_max=12, ap_retention_min=0.0))

    assert gates.mask_iou_min == 0.5
    assert gates.latency_p50_ms_max == 12
    assert gates.ap_retention_min == 0
    assert gates.mask_iou_median_min == 0.999


def test_an_unknown_precision_has_the_asked_gates_only() -> None:
    assert gates_for("int4", Gates(mask_iou_min=0.5)) == Gates(mask_iou_min=0.5)


@pytest.mark.parametrize(
    "asked",
    [{"mask_iou_min": 1.1}, {"mask_iou_min": -0.1}, {"mask_iou_min": math.nan}, {"mask_iou_min": "0.9"},
     {"latency_p50_ms_max": 0}, {"box_error_px_max": -1}, {"mask_iou": 0.9}, {"mask_iou_min": True}],
    ids=str,
)  # fmt: skip
def test_limits_that_make_no_sense_are_refused(asked: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Gates(**asked)  # type: ignore[arg-type]
