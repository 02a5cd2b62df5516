"""The inside of a TorchScript module: its graph without calls, and any value of it as a result."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch

from edgeseg.model.layers import operations_of
from edgeseg.probe import Probe
from edgeseg.target import Artifact, Options
from edgeseg.tensors import Array

from .options import TorchScriptRunOptions
from .runner import TorchScriptRunner


class TorchScriptProbe(Probe):
    """The graph with other results, made a function of its own for each run."""

    def __init__(self, artifact: Artifact, options: Options) -> None:
        chosen = TorchScriptRunOptions.of(options)
        self._runner = TorchScriptRunner(artifact, chosen)
        self._device = chosen.device
        self._graph: Any = _without_calls(self._runner.module)
        super().__init__(operations_of(self._graph), self._runner.execution)

    def run(self, images: Array, tensors: Sequence[str]) -> dict[str, Array]:
        """One run of the changed graph."""
        graph = self._graph.copy()
        values = {value.debugName(): value for node in graph.nodes() for value in node.outputs()}
        for index in reversed(range(len(list(graph.outputs())))):
            graph.eraseOutput(index)
        # A function gives one value.
        together = graph.create("prim::TupleConstruct", [values[name] for name in tensors], 1)
        together.output().setType(torch._C.TupleType([torch._C.TensorType.get()] * len(tensors)))
        graph.appendNode(together)
        graph.registerOutput(together.output())
        function = torch._C._create_function_from_graph("layers", graph)
        with torch.inference_mode():
            results = function(torch.from_numpy(images).to(self._device))
        return {name: array.float().cpu().numpy().copy() for name, array in zip(tensors, results, strict=True)}

    def close(self) -> None:
        """Let the module go."""
        self._runner.close()
        self._graph = None


def _without_calls(module: Any) -> Any:
    """A graph from tensors to tensors: weights are constants in it, and nothing reads the module."""
    with warnings.catch_warnings():
        # As in the runner: torch deprecates TorchScript as a whole.
        warnings.simplefilter("ignore", DeprecationWarning)
        # A frozen module has no `training` any more, which freezing asks for; it is frozen already.
        frozen = torch.jit.freeze(module) if hasattr(module, "training") else module
    graph = frozen.graph.copy()
    torch._C._jit_pass_inline(graph)
    (itself, *_) = graph.inputs()
    if not itself.uses():
        graph.eraseInput(0)
    return graph
