"""Why an artifact differs: hypotheses tried on one picture, each named in the words of its cure.

A hypothesis about the input is confirmed where the reference, fed the wrong way, gives what the artifact gives. A
recorded reference cannot be fed anything: the diagnosis then says where these hypotheses can be tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.letterbox import Geometry, to_input
from edgeseg.faults import EXPLAINED, INPUT_FAULTS, explained_outputs
from edgeseg.metrics.tensor_error import TensorError
from edgeseg.postprocess.decode import decode_all
from edgeseg.tensors import INPUT_NAME, LEVELS, NUM_COEFFICIENTS, Array

if TYPE_CHECKING:
    from edgeseg.target import Runner

SAME = 1e-3
"""Relative error below which a tensor counts as equal when changed ones are listed."""


ROUNDING = 0.01
"""Relative error below which every tensor's difference is what a lower precision's rounding gives."""


@dataclass(frozen=True)
class Evidence:
    """One picture's worth of both sides.

    Attributes:
        letterboxed: (H, W, 3) uint8 RGB that both sides were given.
        place: its geometry.
        reference_outputs: the reference's ten raw tensors; of a recording, as far as they were recorded.
        decoded: the artifact's outputs in the decoded layout.
        reference: to run it again, fed another way; None where it was recorded.
    """

    letterboxed: NDArray[np.uint8]
    place: Geometry
    reference_outputs: Mapping[str, Array]
    decoded: Mapping[str, Array]
    reference: Runner | None


def diagnose(evidence: Evidence, tensors: Mapping[str, TensorError], precision: str) -> list[str]:
    """Sentences that explain the difference; the last resort names the tensors that changed."""
    found = _zero_tensors(tensors) + _class_order(evidence)
    if evidence.reference is None:
        return [*(found or _rounding(tensors, precision) or _changed_tensors(tensors)), INPUTS_NOT_TRIED]
    found = _inputs(evidence, evidence.reference) + (found or _outputs(evidence))
    return found or _rounding(tensors, precision) or _changed_tensors(tensors)


INPUTS_NOT_TRIED = (
    "the reference is a recording, so a wrong channel order, padding or scale was not looked for: "
    "`edgeseg verify ARTIFACT --against WEIGHTS` does that where the weights are"
)


def _inputs(evidence: Evidence, reference: Runner) -> list[str]:
    found = evidence.decoded["output0"][:1]
    images = to_input([evidence.letterboxed])
    before = _distance(decode_all(evidence.reference_outputs)["output0"][:1], found)
    explanations = []
    for fault in INPUT_FAULTS:
        outputs = reference.run({INPUT_NAME: fault.change(images, evidence.place)})
        if _distance(decode_all(outputs)["output0"], found) < EXPLAINED * before:
            explanations.append(fault.sentence)
    return explanations


def _outputs(evidence: Evidence) -> list[str]:
    return [sentence for _, sentence in explained_outputs(decode_all(evidence.reference_outputs), evidence.decoded)]


def _zero_tensors(tensors: Mapping[str, TensorError]) -> list[str]:
    zero = [name for name, tensor in tensors.items() if tensor.found_is_zero]
    return [f"{', '.join(zero)}: all zero in the artifact"] if zero else []


def _class_order(evidence: Evidence) -> list[str]:
    want = decode_all(evidence.reference_outputs)["output0"][0, 4:-NUM_COEFFICIENTS]
    have = evidence.decoded["output0"][0, 4:-NUM_COEFFICIENTS]
    if want.shape != have.shape:
        return []
    # The points where any class is likely tell classes apart; the thousands of empty ones do not.
    points = np.argsort(want.max(axis=0))[-256:]
    distances = np.abs(_logits(have[:, None, points]) - _logits(want[None, :, points])).mean(axis=2)
    order = distances.argmin(axis=1)
    moved = np.flatnonzero(order != np.arange(len(order)))
    is_permutation = len(set(order.tolist())) == len(order)
    rest = distances[np.arange(len(order)), order].mean()
    if not is_permutation or not moved.size or rest > EXPLAINED * np.diag(distances)[moved].mean():
        return []
    shown = ", ".join(f"{i} holds the reference's {order[i]}" for i in moved[:3])
    return [f"{moved.size} classes are permuted in the artifact: {shown}"]


def _rounding(tensors: Mapping[str, TensorError], precision: str) -> list[str]:
    worst = max(tensor.relative for tensor in tensors.values())
    if precision == "fp32" or not worst < ROUNDING:
        return []
    return [
        f"no tensor is off by more than {100 * worst:.2g} % of its energy, as {precision} rounds: "
        f"this gate is tighter than {precision} is"
    ]


def _changed_tensors(tensors: Mapping[str, TensorError]) -> list[str]:
    changed = {name: tensor.relative for name, tensor in tensors.items() if not tensor.relative < SAME}
    if not changed:
        return []
    worst = max(changed, key=lambda name: changed[name])
    where = "somewhere before the head's branches" if len(changed) == len(tensors) else "in these branches of the head"
    if len(changed) < len(tensors) and {name.partition("_")[0] for name in changed} >= {level for level, _ in LEVELS}:
        where = "in the neck or the backbone"
    return [
        f"{len(changed)} of {len(tensors)} tensors changed ({', '.join(changed)}), {worst} most "
        f"(relative error {changed[worst]:.2g}): a weight or an operator {where}"
    ]


def _distance(a: Array, b: Array) -> float:
    return float(np.abs(a - b).mean()) if a.shape == b.shape else float("inf")


def _logits(probabilities: Array) -> Array:
    clipped = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    return np.log(clipped / (1 - clipped))
