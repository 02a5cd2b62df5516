"""Static findings about an ONNX file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import onnx

from edgeseg.target import Artifact, Findings

from .groups import CONVOLUTIONS, groups_of, is_decoding

WEIGHT_TYPES = {"fp32": "FLOAT", "fp16": "FLOAT16", "int8": "INT8"}
NO_ARITHMETIC = ("QuantizeLinear", "DequantizeLinear", "Constant")


@dataclass(frozen=True)
class _Weights:
    """Of one convolution.

    Attributes:
        node: the convolution.
        type: as stored in the file.
        scales: how many there are; 0 where they are not quantised.
    """

    node: Any
    type: str
    scales: int


def inspect(artifact: Artifact) -> Findings:
    """Node counts, opset, and whether every convolution's weights have the precision asked."""
    model = onnx.load(artifact.path)
    graph = model.graph
    nodes = Counter(node.op_type for node in graph.node)
    weights = _weights(graph)
    is_int8 = artifact.metadata.precision == "int8"
    excluded = set(artifact.metadata.options.get("exclude") or ()) if is_int8 else set()
    problems = _wrong_types(weights, artifact.metadata.precision, excluded)
    if is_int8 and artifact.metadata.options.get("per_channel"):
        problems += [
            f"{w.node.name}: one scale for all its weights, expected one a channel" for w in weights if w.scales == 1
        ]
    declared = [spec.name for spec in artifact.metadata.outputs]
    found_outputs = [output.name for output in graph.output]
    if declared != found_outputs:
        problems.append(f"outputs {found_outputs}, expected {declared}")
    facts: dict[str, str | int | float] = {
        "opset": model.opset_import[0].version,
        "nodes": len(graph.node),
        "operators": _listed(nodes),
        "convolutions": len(weights),
        "megabytes": round(artifact.path.stat().st_size / 1e6, 2),
    }
    scheme = str(artifact.metadata.options.get("scheme", "asymmetric"))
    return Findings({**facts, **(_split(graph, excluded, scheme) if is_int8 else {})}, tuple(problems))


def _weights(graph: Any) -> list[_Weights]:
    """Of every convolution: its weights lie in the file, or behind the node that widens them.

    In a symmetric graph they lie there as floats, with a pair of nodes that narrows and widens them: what counts is
    the type between the two, which is that of the zero point.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    narrowed = {node.output[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    widened = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    found = []
    for node in graph.node:
        if node.op_type not in CONVOLUTIONS:
            continue
        source = widened.get(node.input[1])
        narrow = narrowed.get(source.input[0]) if source else None
        stored = tensors.get(narrow.input[2] if narrow else source.input[0] if source else node.input[1])
        if stored is None:
            continue
        scale = tensors.get(source.input[1]) if source else None
        count = 0 if scale is None else scale.dims[0] if scale.dims else 1
        found.append(_Weights(node, onnx.TensorProto.DataType.Name(stored.data_type), count))
    return found


def _wrong_types(weights: list[_Weights], precision: str, excluded: set[str]) -> list[str]:
    problems = []
    for found in weights:
        wanted = "FLOAT" if groups_of(found.node) & excluded else WEIGHT_TYPES.get(precision)
        if found.type != wanted:
            problems.append(f"{found.node.name}: weights are {found.type}, expected {wanted}")
    return problems


def _split(graph: Any, excluded: set[str], scheme: str) -> dict[str, str]:
    """Which operators compute in int8, and which in float and why."""
    symmetric = scheme == "symmetric"
    widened = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    computed = {name for node in graph.node if node.op_type not in NO_ARITHMETIC for name in node.output}
    narrowed = {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    quantised: Counter[str] = Counter()
    floats: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type in NO_ARITHMETIC:
            continue
        # The runtime computes in int8 what lies between the two, and widens for anything else. A symmetric graph's
        # convolutions give floats, to the activation that is fused with them.
        ends = symmetric or node.output[0] in narrowed
        if node.input[0] in widened and not computed & set(node.input) and ends:
            quantised[node.op_type] += 1
        else:
            why = "scheme: symmetric" if symmetric and node.op_type not in CONVOLUTIONS else "no int8 form"
            floats[f"{node.op_type} ({_reason(node, excluded) or why})"] += 1
    return {"int8": _listed(quantised), "float": _listed(floats) or "none"}


def _reason(node: Any, excluded: set[str]) -> str:
    """Why a node stays float, where that was asked for."""
    if is_decoding(node):
        return "decoding"
    groups = groups_of(node) & excluded
    return f"exclude: {', '.join(sorted(groups))}" if groups else ""


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())
