"""The network as a frozen TensorFlow graph: every operator of the trace, with the weights as constants.

The graph takes and gives pictures channels last, as TensorFlow does: ``images`` (B, H, W, 3), and each output of
rank 4 as (B, h, w, C); ``output0`` of the decoded layout stays (B, 4 + classes + 32, points).
"""

from __future__ import annotations

from typing import Any

import torch

from edgeseg.errors import StageError
from edgeseg.metadata import ArtifactMetadata
from edgeseg.model.graph import OUTPUT_NAMES, ExportGraph, quiet_tracing, traced
from edgeseg.tensors import INPUT_NAME, Dimension

from .operators import OPERATORS, Activation, tf

UNPACK = "prim::ListUnpack"
CONSTANT = "prim::Constant"


def frozen_graph(graph: ExportGraph, metadata: ArtifactMetadata) -> Any:
    """Convert a network.

    Args:
        graph: in float32 and evaluation mode.
        metadata: says the head, the default size, and which of batch and size stay open.

    Returns:
        A ``tensorflow.GraphDef``: placeholder ``images``, constants, and one Identity per output, named as the
        contract names it. The same network gives the same bytes.

    Raises:
        StageError: the network has an operator that is not in the table.
    """
    trace = traced(graph, metadata.image_size, metadata.batch)
    return graph_of(trace, metadata.inputs[0].shape, OUTPUT_NAMES[metadata.head])


def graph_of(trace: torch.jit.ScriptModule, shape: tuple[Dimension, ...], names: tuple[str, ...]) -> Any:
    """Convert a trace.

    Args:
        trace: of a module that takes one picture tensor.
        shape: of its input, (B, C, H, W); what is no number stays open.
        names: of its outputs.

    Returns:
        As `frozen_graph` does.
    """
    with quiet_tracing():
        frozen = torch.jit.freeze(trace)
    batch, channels, height, width = (size if isinstance(size, int) else None for size in shape)
    with tf.Graph().as_default() as result:
        images = tf.compat.v1.placeholder(tf.float32, (batch, height, width, channels), name=INPUT_NAME)
        outputs = _walked(frozen.graph, Activation(images, channels_last=True))
        for name, output in zip(names, outputs, strict=True):
            tf.identity(output.last().tensor, name=name)
    return result.as_graph_def()


def _walked(graph: Any, images: Activation) -> list[Activation]:
    """Emit every node; returns the outputs."""
    _, given = graph.inputs()
    values: dict[str, Any] = {given.debugName(): images}
    for node in graph.nodes():
        results = _emitted(node, [values[value.debugName()] for value in node.inputs()])
        values.update(zip((value.debugName() for value in node.outputs()), results, strict=True))
    (last,) = graph.outputs()
    found = values[last.debugName()]
    return found if isinstance(found, list) else [found]


def _emitted(node: Any, arguments: list[Any]) -> list[Any]:
    kind = node.kind()
    if kind == CONSTANT:
        return [node.output().toIValue()]
    if kind == UNPACK:
        return list(arguments[0])
    if kind not in OPERATORS:
        raise StageError(
            "export_failed",
            f"no TensorFlow form of {kind} in {node.scopeName() or 'the network'} is known here",
            hint="known: " + ", ".join(sorted(name for name in OPERATORS if name.startswith("aten::"))),
        )
    try:
        with tf.name_scope(_scope(node)):
            return [OPERATORS[kind](*arguments)]
    except StageError as error:
        raise StageError(error.outcome, f"{kind} in {node.scopeName()}: {error.message}") from error


def _scope(node: Any) -> str:
    """Such as ``backbone/stem/conv``: of the module that the node came from; empty outside of any."""
    name: str = node.scopeName().rpartition("/")[2]
    return name.removeprefix("__module.").removeprefix("network.").replace(".", "/")
