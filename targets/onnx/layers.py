"""The inside of an ONNX file: its nodes, and any tensor between them as one more output of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeseg.errors import needs_extra
from edgeseg.probe import Kind, Operation, Probe
from edgeseg.target import Artifact, Options
from edgeseg.tensors import INPUT_NAME, Array

from .options import OnnxRunOptions
from .runner import new_session

KINDS: Mapping[str, Kind] = {
    "Conv": "convolution",
    "ConvTranspose": "convolution",
    "Sigmoid": "sigmoid",
    "Mul": "multiply",
    "QuantizeLinear": "pass",
    "DequantizeLinear": "pass",
    "Cast": "pass",
}


class OnnxProbe(Probe):
    """The file with other outputs, loaded anew for each run: the runtime fuses what no output divides."""

    def __init__(self, artifact: Artifact, options: Options) -> None:
        try:
            import onnx
        except ImportError as error:
            raise needs_extra("onnx", "build", f"reading the layers of {artifact.path.name}") from error
        self._path, self._options = artifact.path, OnnxRunOptions.of(options)
        self._model: Any = onnx.load(artifact.path)
        super().__init__(
            [_operation(node) for node in self._model.graph.node],
            {"provider": self._options.device, "threads": str(self._options.threads or "runtime's choice")},
        )

    def run(self, images: Array, tensors: Sequence[str]) -> dict[str, Array]:
        """One session and one run; types and shapes of the new outputs are inferred by the runtime."""
        import onnx

        changed = onnx.ModelProto()
        changed.CopyFrom(self._model)
        own = {output.name for output in changed.graph.output}
        changed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in own)
        session = new_session(changed.SerializeToString(), self._path, self._options, optimize=True)
        found = session.run(list(tensors), {INPUT_NAME: images})
        return {name: np.asarray(array, np.float32) for name, array in zip(tensors, found, strict=True)}


def _operation(node: Any) -> Operation:
    kind = KINDS.get(node.op_type, "other")
    return Operation(kind, tuple(node.input), tuple(node.output), _layer(node.name) if kind == "convolution" else "")


def _layer(name: str) -> str:
    """Module path from a node's name: /network/head/box.0/box.0.2/Conv says each list before its member."""
    parts: list[str] = []
    for part in name.strip("/").split("/")[1:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(part)
    return ".".join(parts)
