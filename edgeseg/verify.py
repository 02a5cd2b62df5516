"""Prove an artifact against the PyTorch reference on the same bytes: names, shapes, values, matched masks.

The reference runs here, or was recorded (edgeseg/recording). All checks run, then the report says what failed and,
where it can be told, why (edgeseg/diagnose.py).
"""

from __future__ import annotations

import heapq
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.letterbox import Geometry, letterbox
from edgeseg.diagnose import Evidence, diagnose
from edgeseg.errors import ContractError, UsageError
from edgeseg.gates import GateResult, Gates, gates_for, judge
from edgeseg.instances import Instances
from edgeseg.metadata import Head
from edgeseg.metrics.mask_parity import ParitySummary, PictureParity, match_instances
from edgeseg.metrics.tensor_error import TensorError
from edgeseg.postprocess.decode import decode_all
from edgeseg.postprocess.pipeline import postprocess
from edgeseg.predict import Model
from edgeseg.recording.contract import LiveReference, Reference, ReferenceOutputs, thresholds
from edgeseg.sources import BrokenFrame, Frame
from edgeseg.tensors import NUM_COEFFICIENTS, Array

logger = logging.getLogger(__name__)

POINT_SCORE = 0.001
"""Box errors count at points whose reference score is above this: below, no evaluation reads a box."""

WORST_KEPT = 6
"""How many of the worst instances are kept for drawing."""


@dataclass(frozen=True)
class VerifyOptions:
    """What to compare.

    Attributes:
        gates: limits that the card or the user asks; missing ones take the precision's defaults.
        score: score threshold of the compared instances.
        iou: suppression threshold.
    """

    gates: Gates = field(default_factory=Gates)
    score: float = 0.25
    iou: float = 0.7


@dataclass(frozen=True)
class WorstInstance:
    """One badly matched instance, with all that a drawing of it needs.

    Attributes:
        source: the picture's name.
        mask_iou: 0 where the instance has no counterpart.
        what: class, score, and what happened.
        picture: (H, W, 3) uint8 RGB.
        reference: the reference's instance, as `Instances` of length 0 or 1.
        found: the artifact's.
    """

    source: str
    mask_iou: float
    what: str
    picture: NDArray[np.uint8]
    reference: Instances
    found: Instances


@dataclass
class VerifyReport:
    """Everything that `verify` found.

    Attributes:
        artifact: path of the artifact.
        reference: path of the reference weights.
        problems: broken contracts: names, shapes, classes, preprocessing, constant outputs.
        diagnosis: what would explain the differences, a sentence each.
        tensors: error statistics of each tensor.
        points: largest score and box error over all points.
        masks: totals of matched instances and mask IoU.
        gates: every gate that was judged.
        not_judged: asked gates whose number `verify` does not measure.
        worst: the worst instances.
        facts: precision, sizes, threads and versions.
    """

    artifact: str
    reference: str
    problems: list[str] = field(default_factory=list)
    diagnosis: list[str] = field(default_factory=list)
    tensors: list[dict[str, float | str]] = field(default_factory=list)
    points: dict[str, float] = field(default_factory=dict)
    masks: dict[str, Any] = field(default_factory=dict)
    gates: list[GateResult] = field(default_factory=list)
    not_judged: list[str] = field(default_factory=list)
    worst: list[WorstInstance] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def failures(self) -> list[str]:
        """Broken contracts, then each gate that is not met with its value and limit."""
        missed = [gate for gate in self.gates if not gate.met]
        return [*self.problems, *(f"{gate.name} is {gate.value:.6g}, limit {gate.limit:g}" for gate in missed)]

    @property
    def passed(self) -> bool:
        """No broken contract, at least one gate judged, every judged gate met."""
        return not self.problems and bool(self.gates) and all(gate.met for gate in self.gates)


def verify(
    reference: Model | Reference,
    artifact: Model,
    frames: Iterable[Frame | BrokenFrame],
    options: VerifyOptions | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> VerifyReport:
    """Compare an artifact with its reference.

    Args:
        reference: PyTorch weights, or a recording of them.
        artifact: what was exported from them.
        frames: pictures; both sides get the same letterboxed bytes.
        options: gates and thresholds.
        progress: called with each picture's name.

    Raises:
        UsageError: no readable picture; one that a recording does not have.
        ArtifactError: a recording that is damaged.
    """
    options = options or VerifyOptions()
    reference = LiveReference(reference) if isinstance(reference, Model) else reference
    report = VerifyReport(str(artifact.path), str(reference.path), contract_problems(reference, artifact))
    comparison = Comparison(reference, artifact, options)
    try:
        for frame in frames:
            if isinstance(frame, BrokenFrame):
                logger.warning("%s: left out of the comparison: %s", frame.source, frame.error)
                continue
            progress(frame.source)
            comparison.add(frame)
    except ContractError as error:
        report.problems.append(str(error))
        return report
    if not comparison.masks.pictures:
        raise UsageError("verify got no readable picture", hint="give --pictures a folder, a list or files")
    _conclude(report, comparison, options)
    return report


def contract_problems(reference: Model | Reference, artifact: Model) -> list[str]:
    """What the artifact declares differently from its reference: classes, preprocessing."""
    problems = []
    want, have = reference.metadata, artifact.metadata
    if have.num_classes != want.num_classes:
        problems.append(f"{have.num_classes} classes, the reference has {want.num_classes}")
    elif have.names != want.names:
        wrong = [i for i, (a, b) in enumerate(zip(have.names, want.names, strict=True)) if a != b]
        first = wrong[0]
        problems.append(
            f"class names differ at {len(wrong)} ids: id {first} is {have.names[first]!r}, "
            f"the reference says {want.names[first]!r}"
        )
    for name in type(want.preprocessing).__dataclass_fields__:
        expected, found = getattr(want.preprocessing, name), getattr(have.preprocessing, name)
        if expected != found:
            problems.append(f"preprocessing: {name} is {found!r}, the reference's is {expected!r}")
    return problems


class Comparison:
    """Accumulates the comparison picture by picture; memory does not grow with their number.

    Args:
        reference: what to compare with.
        artifact: what was exported.
        options: gates and thresholds.
        head: layout of the artifact's outputs; None takes the artifact's own.
    """

    def __init__(self, reference: Reference, artifact: Model, options: VerifyOptions, head: Head | None = None) -> None:
        self.reference, self.artifact, self.options = reference, artifact, options
        self.head: Head = head or artifact.metadata.head
        self.size = artifact.metadata.image_size
        self.tensors: dict[str, TensorError] = {}
        self.masks = ParitySummary()
        self.score_error = self.box_error = 0.0
        self.evidence: Evidence | None = None
        self.worst: list[WorstInstance] = []
        self.not_finite: Counter[str] = Counter()
        self.varying: set[str] = set()
        self._first: dict[str, Array] = {}
        self._thresholds = thresholds(options.score, options.iou)

    def add(self, frame: Frame) -> None:
        """Run both sides on one picture and compare."""
        boxed, place = letterbox(frame.picture, self.size, self.reference.metadata.preprocessing.pad_value)
        self.compare(frame, boxed, place, self.reference.outputs(boxed), self.artifact.outputs([boxed]))

    def compare(
        self,
        frame: Frame,
        boxed: NDArray[np.uint8],
        place: Geometry,
        want: ReferenceOutputs,
        have: dict[str, Array],
    ) -> None:
        """Compare what both sides gave for one picture.

        Args:
            frame: the picture.
            boxed: its letterbox.
            place: the letterbox's geometry.
            want: the reference's outputs.
            have: the artifact's, in the layout `head`.

        Raises:
            ContractError: the names or shapes are not the reference's, or a value that counts is not finite.
        """
        dense_want = decode_all(want.raw)
        expected = want.raw if self.head == "raw" else dense_want
        _check_shapes(expected, have)
        dense_have = decode_all(have) if self.head == "raw" else have
        self._add_tensors(want, expected, have)
        self._add_points(dense_want["output0"][0], dense_have["output0"][0])
        if self.evidence is None:
            self.evidence = Evidence(boxed, place, want.raw, dense_have, self.reference.runner)
        ours = self.reference.instances(boxed, want, place, self._thresholds)
        self._add_instances(frame, place, ours, have)

    @property
    def points(self) -> dict[str, float]:
        """Largest score and box error over all points."""
        return {"score_error_max": self.score_error, "box_error_px_max": self.box_error}

    def measured(self) -> dict[str, float]:
        """The numbers that gates judge."""
        masks = self.masks
        ious = np.asarray(masks.mask_ious or [np.nan])
        return {
            **self.points,
            "matched_fraction_min": masks.matched_fraction,
            "mask_iou_min": float(ious.min()),
            "mask_iou_median_min": float(np.median(ious)),
        }

    def _add_tensors(self, want: ReferenceOutputs, expected: Mapping[str, Array], have: Mapping[str, Array]) -> None:
        for name, array in expected.items():
            found = have[name][:1]
            error = self.tensors.setdefault(name, TensorError(name))
            error.add(want.compared(name, array), want.compared(name, found))
            # What the statistics of a recording do not see must still be numbers.
            self.not_finite[name] += int(np.count_nonzero(~np.isfinite(want.left_out(name, found))))
            # On whole tensors, since the known points of a recording differ from picture to picture.
            if not np.array_equal(self._first.setdefault(name, found.copy()), found):
                self.varying.add(name)

    def _add_points(self, want: Array, have: Array) -> None:
        scores_want, scores_have = want[4:-NUM_COEFFICIENTS], have[4:-NUM_COEFFICIENTS]
        # fmax would drop a NaN; np.maximum keeps it, and no gate holds for a NaN.
        self.score_error = float(np.maximum(self.score_error, np.abs(scores_have - scores_want).max()))
        counted = scores_want.max(axis=0) > POINT_SCORE
        corners = np.abs(_corners(have[:4, counted]) - _corners(want[:4, counted]))
        self.box_error = float(np.maximum(self.box_error, corners.max(initial=0.0)))

    def _add_instances(self, frame: Frame, place: Geometry, ours: Instances, have: dict[str, Array]) -> None:
        names = self.reference.metadata.names
        theirs = postprocess(have, 0, self.head, place, names, self._thresholds)
        parity = match_instances(ours, theirs, self.options.score)
        self.masks.add(parity)
        candidates = self.worst + _worst_of(frame, ours, theirs, parity)
        self.worst = heapq.nsmallest(WORST_KEPT, candidates, key=lambda worst: worst.mask_iou)


def _conclude(report: VerifyReport, comparison: Comparison, options: VerifyOptions) -> None:
    metadata = comparison.artifact.metadata
    gates = gates_for(metadata.precision, options.gates)
    report.tensors = [tensor.summary() for tensor in comparison.tensors.values()]
    report.points = comparison.points
    report.masks = comparison.masks.summary()
    report.problems += _constant_problems(comparison) + _not_finite_problems(comparison)
    report.gates = judge(gates, comparison.measured())
    judged = {gate.name for gate in report.gates}
    report.not_judged = [name for name in gates.model_dump(exclude_none=True) if name not in judged]
    report.worst = comparison.worst
    report.facts = {
        "format": metadata.format,
        "precision": metadata.precision,
        "head": metadata.head,
        "image_size": list(metadata.image_size),
        "score": options.score,
        "iou": options.iou,
        "weights_sha256": metadata.weights_sha256,
        "artifact_runs_as": dict(comparison.artifact.runner.execution),
        "statistics_over": comparison.reference.known,
        "reference_runs_as": dict(comparison.reference.execution),
        "tool_versions": metadata.tool_versions,
    }
    if comparison.evidence is not None and not report.passed:
        report.diagnosis = diagnose(comparison.evidence, comparison.tensors, metadata.precision)


def _constant_problems(comparison: Comparison) -> list[str]:
    return [
        f"{tensor.name}: the same values for every picture; the reference's change with the input"
        for tensor in comparison.tensors.values()
        if tensor.reference_varies and tensor.name not in comparison.varying
    ]


def _not_finite_problems(comparison: Comparison) -> list[str]:
    return [
        f"{name}: {count} values are not finite at points that the statistics leave out"
        for name, count in comparison.not_finite.items()
        if count
    ]


def _check_shapes(expected: Mapping[str, Array], have: Mapping[str, Array]) -> None:
    """Names, then shapes: an artifact may declare what it does not give.

    Raises:
        ContractError: naming each difference.
    """
    problems = [f"{name}: missing" for name in expected if name not in have]
    problems += [
        f"{name}: shape {have[name].shape[1:]}, the reference's is {array.shape[1:]}"
        for name, array in expected.items()
        if name in have and have[name].shape[1:] != array.shape[1:]
    ]
    if problems:
        raise ContractError("the outputs are not the reference's: " + "; ".join(problems))


def _corners(cxcywh: Array) -> Array:
    return np.concatenate([cxcywh[:2] - cxcywh[2:] / 2, cxcywh[:2] + cxcywh[2:] / 2])


def _worst_of(frame: Frame, ours: Instances, theirs: Instances, parity: PictureParity) -> list[WorstInstance]:
    """Missing and extra instances count as mask IoU 0."""

    def instance(overlap: float, reference: Instances, found: Instances, fate: str) -> WorstInstance:
        one = reference if len(reference) else found
        what = f"{one.names[int(one.class_ids[0])]} {float(one.scores[0]):.3f}: {fate}"
        return WorstInstance(frame.source, overlap, what, frame.picture, reference, found)

    nothing = slice(0, 0)
    found = [
        instance(m.mask_iou, ours[m.reference], theirs[m.found], f"mask IoU {m.mask_iou:.4f}")
        for m in parity.matches
        if not math.isclose(m.mask_iou, 1.0)
    ]
    found += [instance(0.0, ours[i], theirs[nothing], "missing in the artifact") for i in parity.missing]
    found += [instance(0.0, ours[nothing], theirs[j], "only in the artifact") for j in parity.extra]
    return found
