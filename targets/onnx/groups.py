"""Which nodes and tensors of a traced graph are which part of the network, told from their names and edges."""

from __future__ import annotations

import re
from typing import Any

from edgeseg.tensors import INPUT_NAME

CONVOLUTIONS = ("Conv", "ConvTranspose")

DECODING = "/decode/"
"""Scope of the nodes behind the raw tensors, in a file with decoded outputs."""

_LAST_LAYER = re.compile(r"/head/(box|cls|coef)\.\d+/\1\.\d+\.2/Conv$|/head/(proto)/cv3/")


def is_decoding(node: Any) -> bool:
    """Whether a node comes after the raw tensors: boxes in pixels and probabilities would share a scale there."""
    return bool(node.name.startswith(DECODING))


def groups_of(node: Any) -> set[str]:
    """The names in `exclude` that a node is left float by."""
    groups = {"silu"} if node.op_type in ("Sigmoid", "Mul") and not is_decoding(node) else set()
    if node.op_type in CONVOLUTIONS and node.input[0] == INPUT_NAME:
        groups.add("stem")
    last = _LAST_LAYER.search(node.name)
    return groups | {last[1] or last[2]} if last else groups


def raw_tensors(graph: Any) -> set[str]:
    """Names of the ten tensors of logits: outputs of a raw file, inside a decoded one."""
    inside = {
        name for node in graph.node if not is_decoding(node) and node.op_type != "Constant" for name in node.output
    }
    read = {name for node in graph.node if is_decoding(node) for name in node.input}
    return inside & (read | {output.name for output in graph.output})


def silu_inputs(graph: Any) -> set[str]:
    """What goes into a SiLU, x * sigmoid(x)."""
    return {node.input[0] for node in graph.node if node.op_type == "Sigmoid" and not is_decoding(node)}


def class_logits(graph: Any) -> set[str]:
    """The raw tensors of class logits."""
    return {node.output[0] for node in graph.node if "cls" in groups_of(node)}
