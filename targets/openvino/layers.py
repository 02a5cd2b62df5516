"""The inside of an OpenVINO network: its operations, and any tensor between them as one more output."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeseg.probe import Kind, Operation, Probe
from edgeseg.target import Artifact, Options
from edgeseg.tensors import INPUT_NAME, Array

from .options import OpenVinoRunOptions
from .runner import compiled_network, load_model

KINDS: Mapping[str, Kind] = {
    "Convolution": "convolution",
    "ConvolutionBackpropData": "convolution",
    "Swish": "swish",
    "Sigmoid": "sigmoid",
    "Multiply": "multiply",
    "FakeQuantize": "pass",
    "Convert": "pass",
}

LAYER = re.compile(r"__module\.network\.(.+?)/")
"""In the name of an operation: the module that it was traced in."""


class OpenVinoProbe(Probe):
    """The network with other outputs, compiled anew for each run."""

    def __init__(self, artifact: Artifact, options: Options) -> None:
        self._path, self._options = artifact.path, OpenVinoRunOptions.of(options)
        model = load_model(self._path)
        super().__init__(
            [_operation(node) for node in model.get_ordered_ops()],
            {"device": self._options.device, "precision": self._options.hint},
        )

    def run(self, images: Array, tensors: Sequence[str]) -> dict[str, Array]:
        """One compilation and one run."""
        model = load_model(self._path)
        nodes = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
        model.add_outputs([_port(nodes, name) for name in tensors])
        # What was an output before is not added once more.
        places = {_name(result.input(0).get_source_output()): i for i, result in enumerate(model.get_results())}
        request = compiled_network(model, self._options, self._path).create_infer_request()
        request.infer({INPUT_NAME: images})
        return {name: np.array(request.get_output_tensor(places[name]).data, np.float32) for name in tensors}


def _operation(node: Any) -> Operation:
    kind = KINDS.get(node.get_type_name(), "other")
    if node.get_type_name() == "Add" and any(_is_constant(port) for port in node.inputs()):
        kind = "pass"
    layer = LAYER.match(node.get_friendly_name()) if kind == "convolution" else None
    return Operation(
        kind,
        tuple(_name(port.get_source_output()) for port in node.inputs()),
        tuple(_name(port) for port in node.outputs()),
        layer[1] if layer else "",
    )


def _is_constant(port: Any) -> bool:
    """Whether an input is a number of the file, widened where it is stored narrow."""
    node = port.get_source_output().get_node()
    while node.get_type_name() == "Convert":
        node = node.input(0).get_source_output().get_node()
    return bool(node.get_type_name() == "Constant")


def _name(port: Any) -> str:
    """An operation's name, and which of its results."""
    return f"{port.get_node().get_friendly_name()}:{port.get_index()}"


def _port(nodes: Mapping[str, Any], name: str) -> Any:
    operation, _, index = name.rpartition(":")
    return nodes[operation].output(int(index))
