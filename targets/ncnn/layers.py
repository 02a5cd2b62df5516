"""The inside of an ncnn network: its layers, any of whose tensors an extractor gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgeseg.probe import Kind, Operation, Probe
from edgeseg.target import Artifact, Options
from edgeseg.tensors import Array

from .network import CONVOLUTIONS, read_layers
from .options import NcnnRunOptions
from .runner import NcnnRunner

KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(CONVOLUTIONS, "convolution"),
    "Swish": "swish",
    "Sigmoid": "sigmoid",
}
"""pnnx keeps no module paths, but the order in which the network was traced."""


class NcnnProbe(Probe):
    """The runner's own network: nothing is loaded anew."""

    def __init__(self, artifact: Artifact, options: Options) -> None:
        self._runner = NcnnRunner(artifact, NcnnRunOptions.of(options))
        operations = [
            Operation(KINDS.get(layer.kind, "other"), layer.bottoms, layer.tops) for layer in read_layers(artifact.path)
        ]
        super().__init__(operations, self._runner.execution)
        self._places = {name: place for place, one in enumerate(operations) for name in one.gives}

    def run(self, images: Array, tensors: Sequence[str]) -> dict[str, Array]:
        """One extractor for each picture."""
        # In the order in which they come to be: ncnn lets go of a tensor when the layer behind it has run.
        order = sorted(tensors, key=self._places.__getitem__)
        runs = [self._runner.extracted(picture, order) for picture in images]
        return {name: np.stack([run[index] for run in runs]).astype(np.float32) for index, name in enumerate(order)}

    def close(self) -> None:
        """Free the network."""
        self._runner.close()
