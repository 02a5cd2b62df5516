"""int8 with a limit on what it may cost: layers that cost most go back to float until the rest keeps to the limit.

An export has pictures without annotations, so the measure is agreement with the float network: the panoptic quality of
the quantised network's instances where the float network's are the truth. It is read on calibration pictures that set
no range.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edgeseg.data.calibration import LEAST_PICTURES
from edgeseg.data.letterbox import letterbox, to_input
from edgeseg.data.picture import read_picture
from edgeseg.errors import StageError, UsageError
from edgeseg.instances import Instances
from edgeseg.metadata import ArtifactMetadata
from edgeseg.metrics.mask_parity import SCORE_MARGIN, match_instances
from edgeseg.postprocess.pipeline import PostprocessOptions, postprocess

from .runner import PRECISION, import_openvino

EVERY = 4
"""One picture in so many is held out for the measure."""

LEAST_CONTROLLED = 2 * LEAST_PICTURES
"""Calibration pictures that leave enough for the ranges, and eight for the measure."""

SCORE = 0.25
"""Threshold of the instances that must agree: what `predict` shows by default."""

RANKING_PICTURES = 16
"""Held-out pictures, those that differ most, on which NNCF tries every layer alone."""


def split(pictures: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Calibration pictures to those that set ranges and those held out.

    Raises:
        UsageError: there are fewer than `LEAST_CONTROLLED`.
    """
    if len(pictures) < LEAST_CONTROLLED:
        raise UsageError(
            f"accuracy_control needs at least {LEAST_CONTROLLED} calibration pictures: there are {len(pictures)}",
            hint="give more, or leave it out",
        )
    ranges = [path for index, path in enumerate(pictures) if index % EVERY]
    return ranges, list(pictures[::EVERY])


class Agreement:
    """Agreement of a network with the float one on pictures.

    Args:
        model: the float network.
        metadata: of the artifact: layout and names of its outputs, size of its input.
        pictures: to compare on.
    """

    def __init__(self, model: Any, metadata: ArtifactMetadata, pictures: Sequence[Path]) -> None:
        self._metadata = metadata
        self._pictures = pictures
        exact = compiled(model)
        self._wanted = [self._found(exact, index) for index in range(len(pictures))]

    def __call__(self, network: Any, indices: Iterable[int]) -> tuple[float, list[float]]:
        """The mean over pictures, and each picture's: 0..1, 1 where nothing differs."""
        each = [self._quality(network, index) for index in indices]
        return sum(each) / len(each), each

    def over_all(self, model: Any) -> float:
        """Of a network that is not compiled yet, on all pictures."""
        return self(compiled(model), range(len(self._pictures)))[0]

    def _quality(self, network: Any, index: int) -> float:
        return match_instances(self._wanted[index], self._found(network, index), SCORE).quality

    def _found(self, network: Any, index: int) -> Instances:
        about = self._metadata
        boxed, place = letterbox(read_picture(self._pictures[index]), about.image_size)
        values = network([to_input([boxed])]).values()
        outputs = dict(zip((spec.name for spec in about.outputs), values, strict=True))
        options = PostprocessOptions(score=SCORE - SCORE_MARGIN)
        return postprocess(outputs, 0, about.head, place, about.names, options)


def compiled(model: Any) -> Any:
    """For the CPU, in f32 where it is not quantised, as NNCF compiles what it compares."""
    return import_openvino("exporting openvino").compile_model(model, "CPU", {PRECISION: "f32"})


def check_limit(model: Any, agreement: Agreement, max_drop: float) -> None:
    """Measure what came out.

    Raises:
        StageError: the limit is not kept, or nothing is quantised any more.
    """
    hint = "allow a larger max_drop, give more calibration pictures, or take fp16"
    if not any(operation.get_type_name() == "FakeQuantize" for operation in model.get_ops()):
        raise StageError("export_failed", f"no layer can be int8 with max_drop={max_drop}", hint=hint)
    drop = 1 - agreement.over_all(model)
    if drop > max_drop:
        raise StageError("export_failed", f"agreement drops by {drop:.4f}, the limit is {max_drop}", hint=hint)
