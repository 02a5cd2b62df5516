"""The inside of a `.tflite` file: its operations, and any tensor between them as one more output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgeseg.probe import Kind, Operation, Probe
from edgeseg.target import Artifact, Options
from edgeseg.tensors import Array

from .container import read_content
from .flatbuffer import Network
from .flatbuffer import Operation as StoredOperation
from .options import TfliteRunOptions
from .runner import TfliteRunner

KINDS: Mapping[str, Kind] = {
    "CONV_2D": "convolution",
    "DEPTHWISE_CONV_2D": "convolution",
    "TRANSPOSE_CONV": "convolution",
    "LOGISTIC": "sigmoid",
    "MUL": "multiply",
    "QUANTIZE": "pass",
    "DEQUANTIZE": "pass",
    "CAST": "pass",
}
"""A file keeps no module paths, but the order in which the network was traced."""

INPUT_PLACE: Mapping[str, int] = {"TRANSPOSE_CONV": 2}
"""Where an operation takes its input, behind its output's shape and its weights."""

PADS = ("PAD", "PADV2")
"""A padding apart belongs to the convolution behind it: what the network's layer reads is not padded."""


class TfliteProbe(Probe):
    """The file with other outputs, loaded anew for each run: what its delegate computes stays the delegate's.

    The interpreters can also keep all tensors, but then run everything with their own kernels, whatever delegate was
    asked for.
    """

    def __init__(self, artifact: Artifact, options: Options) -> None:
        self._artifact, self._options = artifact, TfliteRunOptions.of(options)
        operations = operations_of(read_content(artifact.path).network)
        with TfliteRunner(artifact, self._options) as runner:
            super().__init__(operations, runner.execution)

    def run(self, images: Array, tensors: Sequence[str]) -> dict[str, Array]:
        """One interpreter and one run."""
        numbers = [int(name) for name in tensors]
        with TfliteRunner(self._artifact, self._options, shown=numbers) as runner:
            found = runner.shown(images)
        return {name: np.array(found[int(name)], np.float32) for name in tensors}


def operations_of(network: Network) -> list[Operation]:
    """Operations by the numbers of their tensors: names may repeat."""
    padded = {step.outputs[0]: step.inputs[0] for step in network.operations if step.name in PADS}
    return [
        Operation(
            KINDS.get(step.name, "other"),
            tuple(str(padded.get(number, number)) for number in _inputs(step)),
            tuple(map(str, step.outputs)),
        )
        for step in network.operations
    ]


def _inputs(step: StoredOperation) -> tuple[int, ...]:
    """The picture or map first; without what is left out, which is -1."""
    first = INPUT_PLACE.get(step.name, 0)
    return tuple(number for number in (*step.inputs[first:], *step.inputs[:first]) if number >= 0)
