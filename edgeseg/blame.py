"""Which step loses the masks: the artifact's whole pipeline, with one step at a time given by the reference.

A step is blamed where its replacement alone meets every gate: the preparation of the picture, the decoding of boxes and
scores, the masks, and by what is left the network itself, or in a quantised artifact the quantisation.

A fault that is built into the file cannot be taken out of it. It is met from the other side: the reference is given the
same fault (edgeseg/faults.py), and what is left must meet the gates. Where the runtime shows the tensors between the
layers, what lies in the file behind the network is replaced by edgeseg's own from those tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.bisect import QUANTISED, BisectReport
from edgeseg.data.letterbox import Geometry, letterbox, to_input
from edgeseg.errors import ContractError, UsageError
from edgeseg.faults import EXPLAINED, INPUT_FAULTS, InputFault, explained_outputs
from edgeseg.gates import gates_for, judge
from edgeseg.layers import Layer
from edgeseg.postprocess.decode import decode_all
from edgeseg.predict import Model
from edgeseg.probe import Probe
from edgeseg.recording.contract import LiveReference, ReferenceOutputs
from edgeseg.sources import BrokenFrame, Frame
from edgeseg.tensors import INPUT_NAME, LEVELS, NUM_COEFFICIENTS, Array
from edgeseg.verify import Comparison, VerifyOptions

STEPS = ("preprocess", "decode", "masks", "network", "quantisation")

AS_IT_IS = "nothing replaced"

KEPT = 8
"""Pictures whose outputs are kept for the next trial: at 640 pixels about 20 MB each."""


@dataclass
class Trial:
    """The pipeline with one step replaced.

    Attributes:
        step: which; empty for the pipeline as it is.
        replaced: by what, in words.
        missed: gates that are not met, with value and limit; empty where the masks are there.
        masks: totals of matched instances and mask IoU.
    """

    step: str
    replaced: str
    missed: list[str] = field(default_factory=list)
    masks: dict[str, Any] = field(default_factory=dict)

    @property
    def restores(self) -> bool:
        """Whether every gate is met."""
        return not self.missed


@dataclass
class BlameReport:
    """Which step loses the masks.

    Attributes:
        step: one of `STEPS`; empty where nothing is lost.
        because: sentences that say how it is known, and what the step does wrong where that was found.
        trials: what was tried.
    """

    step: str = ""
    because: list[str] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        trials = [{**vars(one), "restores": one.restores} for one in self.trials]
        return {"step": self.step, "because": self.because, "trials": trials}


def blame(
    reference: Model,
    artifact: Model,
    frames: Iterable[Frame | BrokenFrame],
    options: VerifyOptions | None = None,
    inside: Inside | None = None,
    bisected: Callable[[], BisectReport] | None = None,
) -> BlameReport:
    """Name the step that loses the masks.

    Args:
        reference: PyTorch weights.
        artifact: what was exported from them.
        frames: pictures.
        options: gates and thresholds.
        inside: to read the artifact's inner tensors; None where its runtime shows none.
        bisected: names the network's first layer that differs; None where that is not asked, or cannot be.

    Raises:
        UsageError: no readable picture.
    """
    pictures = [frame for frame in frames if isinstance(frame, Frame)]
    if not pictures:
        raise UsageError("blame got no readable picture", hint="give --pictures a folder, a list or files")
    pipeline = _Pipeline(reference, artifact, options or VerifyOptions(), inside)
    report = BlameReport(trials=[pipeline.tried(pictures, Trial("", AS_IT_IS), lambda one: (one.want, one.have))])
    if report.trials[0].restores:
        report.because = ["every gate is met with nothing replaced"]
        return report
    for step in (_preprocess, _decode, _masks):
        report.because = step(pipeline, pictures, report)
        if report.because:
            report.step = step.__name__[1:]
            return report
    return _network(pipeline, report, bisected)


@dataclass(frozen=True)
class Inside:
    """An artifact's inner tensors by the network's layers."""

    probe: Probe
    layers: Mapping[str, Layer]

    def raw(self, images: Array) -> dict[str, Array]:
        """What the network's last layers give inside the file, as the ten raw tensors."""
        paths = {f"{level}_{kind}": f"head.{kind}.{i}.2" for i, (level, _) in enumerate(LEVELS) for kind in KINDS}
        paths["proto"] = "head.proto.cv3.act"
        found = self.probe.run(images, [self.layers[path].tensor for path in paths.values()])
        return {name: found[self.layers[path].tensor][:1] for name, path in paths.items()}


KINDS = ("box", "cls", "coef")


@dataclass(frozen=True)
class _Outputs:
    """Both sides of one picture: the reference's ten tensors, the artifact's in the decoded layout."""

    boxed: NDArray[np.uint8]
    place: Geometry
    want: ReferenceOutputs
    have: dict[str, Array]

    @property
    def right(self) -> dict[str, Array]:
        return decode_all(self.want.raw)


Change = Callable[[_Outputs], tuple[ReferenceOutputs, dict[str, Array]]]


class _Pipeline:
    """Runs both sides, and judges them with something replaced."""

    def __init__(self, reference: Model, artifact: Model, options: VerifyOptions, inside: Inside | None) -> None:
        self.reference, self.artifact, self.options, self.inside = reference, artifact, options, inside
        self.want = LiveReference(reference)
        self.own = artifact.metadata.preprocessing
        self.right = reference.metadata.preprocessing
        self._kept: dict[int, _Outputs] = {}

    def boxed(self, frame: Frame, pad_value: int) -> tuple[NDArray[np.uint8], Geometry]:
        """The letterbox."""
        return letterbox(frame.picture, self.artifact.metadata.image_size, pad_value)

    def outputs(self, frame: Frame) -> _Outputs:
        """Of the reference by its own preparation, of the artifact by the one that it declares."""
        if frame.index not in self._kept:
            boxed, place = self.boxed(frame, self.right.pad_value)
            own, _ = self.boxed(frame, self.own.pad_value)
            found = self._decoded(self.artifact.outputs([own]))
            if len(self._kept) == KEPT:
                self._kept.clear()
            self._kept[frame.index] = _Outputs(boxed, place, self.want.outputs(boxed), found)
        return self._kept[frame.index]

    def tried(self, frames: list[Frame], trial: Trial, change: Change) -> Trial:
        """Judge all pictures with something replaced."""
        comparison = Comparison(self.want, self.artifact, self.options, "decoded")
        try:
            for frame in frames:
                one = self.outputs(frame)
                want, have = change(one)
                comparison.compare(frame, one.boxed, one.place, want, have)
        except ContractError as error:
            trial.missed = [error.message]
            return trial
        gates = gates_for(self.artifact.metadata.precision, self.options.gates)
        judged = judge(gates, comparison.measured())
        trial.missed = [f"{gate.name} is {gate.value:.6g}, limit {gate.limit:g}" for gate in judged if not gate.met]
        trial.masks = comparison.masks.summary()
        return trial

    def fed(self, images: Array) -> dict[str, Array]:
        """The artifact's outputs for an input that something else prepared."""
        return self._decoded(self.artifact.runner.run({INPUT_NAME: self.full(images)}))

    def full(self, images: Array) -> Array:
        """One picture as often as the artifact runs at once."""
        metadata = self.artifact.metadata
        return images if "batch" in metadata.dynamic else np.repeat(images, metadata.batch, axis=0)

    def _decoded(self, outputs: dict[str, Array]) -> dict[str, Array]:
        found = decode_all(outputs) if self.artifact.metadata.head == "raw" else outputs
        return {name: array[:1] for name, array in found.items()}


def _preprocess(pipeline: _Pipeline, frames: list[Frame], report: BlameReport) -> list[str]:
    """The reference's bytes where the artifact declares others; else the reference fed as the artifact seems to be."""
    if pipeline.own != pipeline.right:
        trial = Trial("preprocess", "the picture, prepared as the reference declares")
        report.trials.append(pipeline.tried(frames, trial, lambda one: (one.want, pipeline.fed(to_input([one.boxed])))))
        if trial.restores:
            return [
                f"it declares {name} {getattr(pipeline.own, name)!r}, the reference's is {wanted!r}"
                for name, wanted in vars(pipeline.right).items()
                if getattr(pipeline.own, name) != wanted
            ]
    first = pipeline.outputs(frames[0])
    before = _distance(first.right, first.have)
    for fault in INPUT_FAULTS:
        if not _distance(decode_all(_refed(pipeline, first, fault).raw), first.have) < EXPLAINED * before:
            continue
        what = "the artifact's input, changed back" if fault.cure else "the reference's input, changed too"
        trial = Trial("preprocess", f"{what}: {fault.sentence}")
        report.trials.append(pipeline.tried(frames, trial, lambda one: _cured(pipeline, one, fault)))  # noqa: B023
        if trial.restores:
            return [fault.sentence]
    return []


def _cured(pipeline: _Pipeline, one: _Outputs, fault: InputFault) -> tuple[ReferenceOutputs, dict[str, Array]]:
    """Both sides without the fault, or both with it where it cannot be taken back."""
    if fault.cure is None:
        return _refed(pipeline, one, fault), one.have
    images = fault.cure(pipeline.artifact.input_of([one.boxed])[:1], one.place)
    return one.want, pipeline.fed(np.ascontiguousarray(images, np.float32))


def _distance(a: Mapping[str, Array], b: Mapping[str, Array]) -> float:
    same = a["output0"].shape == b["output0"].shape
    return float(np.abs(a["output0"] - b["output0"]).mean()) if same else float("inf")


def _refed(pipeline: _Pipeline, one: _Outputs, fault: InputFault) -> ReferenceOutputs:
    images = fault.change(to_input([one.boxed]), one.place)
    return ReferenceOutputs(pipeline.reference.runner.run({INPUT_NAME: np.ascontiguousarray(images, np.float32)}))


def _decode(pipeline: _Pipeline, frames: list[Frame], report: BlameReport) -> list[str]:
    """Boxes and scores: from the file's own last layers where they can be read, else the reference's."""
    return _behind(
        pipeline, frames, report, "decode", "boxes and scores", slice(0, -NUM_COEFFICIENTS), prototypes=False
    )


def _masks(pipeline: _Pipeline, frames: list[Frame], report: BlameReport) -> list[str]:
    """Coefficients and prototypes, in the same way."""
    part = slice(-NUM_COEFFICIENTS, None)
    return _behind(pipeline, frames, report, "masks", "coefficients and prototypes", part, prototypes=True)


def _behind(  # noqa: PLR0913 - one step behind the network, in its six parts
    pipeline: _Pipeline,
    frames: list[Frame],
    report: BlameReport,
    step: str,
    what: str,
    rows: slice,
    *,
    prototypes: bool,
) -> list[str]:
    def replaced(one: _Outputs, by: Mapping[str, Array]) -> tuple[ReferenceOutputs, dict[str, Array]]:
        changed = {name: array.copy() for name, array in one.have.items()}
        changed["output0"][:, rows] = by["output0"][:, rows]
        if prototypes:
            changed["output1"] = by["output1"]
        return one.want, changed

    trial = Trial(step, f"{what} of the reference")
    report.trials.append(pipeline.tried(frames, trial, lambda one: replaced(one, one.right)))
    if not trial.restores:
        return []
    first = pipeline.outputs(frames[0])
    sentences = [sentence for found, sentence in explained_outputs(first.right, first.have) if found == step]
    if pipeline.inside is None:
        return sentences
    inside = pipeline.inside
    own = Trial(step, f"{what} that edgeseg makes of the file's own last layers")

    def made(one: _Outputs) -> dict[str, Array]:
        return decode_all(inside.raw(pipeline.full(pipeline.artifact.input_of([one.boxed])[:1])))

    report.trials.append(pipeline.tried(frames, own, lambda one: replaced(one, made(one))))
    if own.restores:
        sentences = sentences or [f"the network's last layers in the file agree, what it makes {what} of does not"]
    return sentences


def _network(pipeline: _Pipeline, report: BlameReport, bisected: Callable[[], BisectReport] | None) -> BlameReport:
    """What is left, the rest being the same on both sides; a layer that sticks out is no quantisation."""
    metadata = pipeline.artifact.metadata
    layer = bisected() if bisected is not None else None
    report.step = "quantisation" if metadata.precision in QUANTISED and not (layer and layer.layer) else "network"
    report.because = ["no replacement of another step restores the masks"]
    if layer is not None:
        report.because.append(layer.verdict)
    elif report.step == "quantisation":
        report.because.append("a damaged layer was not looked for: this runtime shows no intermediate tensors")
    if pipeline.inside is None and metadata.head == "decoded":
        report.because.append("decoding lies inside the file and was not told apart: its layers were not read")
    return report
