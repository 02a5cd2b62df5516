"""Gates: numbers that must hold. Defaults by precision are the tolerances that published evidence supports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field


class Gates(BaseModel):
    """Limits that a card may set for a target; None where no limit is asked.

    A name ends in ``_min`` where the measured value must be at least the limit, in ``_max`` where at most.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    score_error_max: float | None = Field(
        None, ge=0, le=1, description="largest class probability difference over all points, same input bytes"
    )
    box_error_px_max: float | None = Field(
        None, ge=0, description="largest box side difference over points above the score threshold, input pixels"
    )
    matched_fraction_min: float | None = Field(
        None, ge=0, le=1, description="matched instances over matched, missing and extra ones, score margin left out"
    )
    mask_iou_min: float | None = Field(None, ge=0, le=1, description="smallest mask IoU of matched instances")
    mask_iou_median_min: float | None = Field(None, ge=0, le=1, description="median mask IoU of matched instances")
    ap_retention_min: float | None = Field(
        None, ge=0, le=1.5, description="mask AP of the artifact divided by mask AP of the reference"
    )
    mask_ap_min: float | None = Field(None, ge=0, le=1, description="mask AP (IoU 0.50 to 0.95) on data.val")
    mask_ap50_min: float | None = Field(None, ge=0, le=1, description="mask AP at IoU 0.50 on data.val")
    latency_p50_ms_max: float | None = Field(None, gt=0, description="median time of one run, milliseconds")
    latency_p95_ms_max: float | None = Field(None, gt=0, description="95th percentile of one run, milliseconds")
    artifact_mb_max: float | None = Field(None, gt=0, description="size of the artifact, 10^6 bytes")
    peak_rss_mb_max: float | None = Field(None, gt=0, description="peak resident memory of a run, 10^6 bytes")
    mapped_share_min: float | None = Field(
        None, ge=0, le=1, description="operations that run on the accelerator over all, by its compiler's log"
    )
    subgraphs_max: float | None = Field(
        None, ge=1, description="parts of the network that run on the accelerator, by its compiler's log"
    )


INSPECTED: Mapping[str, str] = {"mapped_share_min": "mapped_share", "subgraphs_max": "subgraphs"}
"""Gates on what a target's `inspect` finds: gate to the name of the fact. A target without that fact leaves it
unjudged."""

PARITY_DEFAULTS: Mapping[str, Gates] = {
    "fp32": Gates(
        score_error_max=1e-4,
        box_error_px_max=0.02,
        matched_fraction_min=1.0,
        mask_iou_min=0.99,
        mask_iou_median_min=0.999,
    ),
    "fp16": Gates(matched_fraction_min=0.97, mask_iou_median_min=0.995),
    "bf16": Gates(matched_fraction_min=0.9, mask_iou_median_min=0.97),
    "int8": Gates(matched_fraction_min=0.8, mask_iou_median_min=0.93),
    "w8a16": Gates(matched_fraction_min=0.9, mask_iou_median_min=0.95),
}
"""Parity gates on the same input bytes (facts.md, section 6; matched shares and bf16, w8a16 are ours)."""

AP_RETENTION_DEFAULTS: Mapping[str, float] = {"fp32": 0.999, "fp16": 0.995, "bf16": 0.99, "int8": 0.97, "w8a16": 0.98}
"""Mask AP retention by precision (facts.md, section 6). Gated where a validation set is there."""


def gates_for(precision: str, asked: Gates) -> Gates:
    """The card's gates over the defaults of a precision."""
    defaults = PARITY_DEFAULTS.get(precision, Gates())
    merged = {**defaults.model_dump(), "ap_retention_min": AP_RETENTION_DEFAULTS.get(precision)}
    return Gates(**{**merged, **asked.model_dump(exclude_none=True)})


@dataclass(frozen=True)
class GateResult:
    """One gate, judged.

    Attributes:
        name: field of `Gates`.
        limit: the number that must hold.
        value: what was measured.
    """

    name: str
    limit: float
    value: float

    @property
    def met(self) -> bool:
        """Whether the value is on the right side of the limit; a NaN never is."""
        return self.value >= self.limit if self.name.endswith("_min") else self.value <= self.limit

    @property
    def margin(self) -> float:
        """Distance to the limit, positive where the gate is met."""
        return self.value - self.limit if self.name.endswith("_min") else self.limit - self.value


def judge(gates: Gates, measured: Mapping[str, float]) -> list[GateResult]:
    """Judge every asked gate whose number was measured; the caller reports those that were not."""
    asked = gates.model_dump(exclude_none=True)
    return [GateResult(name, limit, measured[name]) for name, limit in asked.items() if name in measured]
