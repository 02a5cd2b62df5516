"""What `verify` needs of a reference, and the live one: PyTorch, or whatever `edgeseg.load` opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.letterbox import Geometry
from edgeseg.instances import Instances
from edgeseg.metadata import ArtifactMetadata
from edgeseg.metrics.mask_parity import SCORE_MARGIN
from edgeseg.postprocess.pipeline import PROTOTYPES, PostprocessOptions, postprocess
from edgeseg.predict import Model
from edgeseg.target import Runner
from edgeseg.tensors import LEVELS, Array

_WITHOUT_POINTS = frozenset(PROTOTYPES.values())


@dataclass(frozen=True)
class ReferenceOutputs:
    """What the reference gives for one letterboxed picture.

    Attributes:
        raw: the ten raw tensors, (1, ...) float32. Of a recording, class logits of points that are not known are
            rounded, their boxes and coefficients are 0 and mean nothing, and prototypes are rounded everywhere.
        known: (points,) bool, P3 first, of the points whose values are the reference's own; None where all are.
    """

    raw: Mapping[str, Array]
    known: NDArray[np.bool_] | None = None

    def compared(self, name: str, array: Array) -> Array:
        """The part of a tensor that counts, of this side or of an artifact's.

        Args:
            name: one of the ten raw tensors, ``output0`` or ``output1``.
            array: (1, channels, ...), the whole tensor.

        Returns:
            The array itself, or (1, channels, known points of that tensor).
        """
        if self.known is None or name in _WITHOUT_POINTS:
            return array
        return array.reshape(*array.shape[:2], -1)[:, :, self.known[self._points_of(name)]]

    def left_out(self, name: str, array: Array) -> Array:
        """The part of a tensor that `compared` leaves out; of nothing where all counts."""
        if self.known is None or name in _WITHOUT_POINTS:
            return array[:0]
        return array.reshape(*array.shape[:2], -1)[:, :, ~self.known[self._points_of(name)]]

    def _points_of(self, name: str) -> slice:
        start = 0
        for level, _ in LEVELS:
            count = self.raw[f"{level}_cls"][0, 0].size
            if name.startswith(f"{level}_"):
                return slice(start, start + count)
            start += count
        return slice(None)


class Reference(Protocol):
    """What an artifact is compared with."""

    @property
    def path(self) -> Path:
        """The weights; of a recording only their name."""

    @property
    def metadata(self) -> ArtifactMetadata:
        """Classes and preprocessing."""

    @property
    def execution(self) -> Mapping[str, str]:
        """How it ran, for the report."""

    @property
    def known(self) -> str:
        """Which of its values the tensors' statistics count, in words."""

    @property
    def runner(self) -> Runner | None:
        """To run it fed another way; None where it is recorded."""

    def outputs(self, letterboxed: NDArray[np.uint8]) -> ReferenceOutputs:
        """What it gives for a letterboxed picture, (H, W, 3) uint8 RGB."""

    def instances(
        self, letterboxed: NDArray[np.uint8], outputs: ReferenceOutputs, place: Geometry, options: PostprocessOptions
    ) -> Instances:
        """What it finds there, in picture pixels; `outputs` are those of the same picture."""


class LiveReference:
    """An open model as the reference.

    Args:
        model: of the raw layout; it stays the caller's to close.
    """

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def path(self) -> Path:
        """The weights."""
        return self._model.path

    @property
    def metadata(self) -> ArtifactMetadata:
        """Classes and preprocessing."""
        return self._model.metadata

    @property
    def execution(self) -> Mapping[str, str]:
        """How it runs."""
        return self._model.runner.execution

    @property
    def known(self) -> str:
        """All."""
        return "all values"

    @property
    def runner(self) -> Runner | None:
        """The model's."""
        return self._model.runner

    def outputs(self, letterboxed: NDArray[np.uint8]) -> ReferenceOutputs:
        """Run the network."""
        return ReferenceOutputs({name: array[:1] for name, array in self._model.outputs([letterboxed]).items()})

    def instances(
        self, letterboxed: NDArray[np.uint8], outputs: ReferenceOutputs, place: Geometry, options: PostprocessOptions
    ) -> Instances:
        """Post-process the outputs."""
        return postprocess(outputs.raw, 0, "raw", place, self.metadata.names, options)


def thresholds(score: float, iou: float) -> PostprocessOptions:
    """How both sides of a comparison are post-processed: a borderline instance must have its counterpart.

    Args:
        score: the threshold that users see; the comparison goes `SCORE_MARGIN` below.
        iou: suppression threshold.
    """
    return PostprocessOptions(score=max(score - SCORE_MARGIN, 0), iou=iou)
