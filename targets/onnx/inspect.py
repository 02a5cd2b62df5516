"""Static findings about an ONNX file."""

from __future__ import annotations

from collections import Counter

import onnx

from edgeseg.target import Artifact, Findings

WEIGHT_TYPES = {"fp32": "FLOAT", "fp16": "FLOAT16"}
CONVOLUTIONS = ("Conv", "ConvTranspose")


def inspect(artifact: Artifact) -> Findings:
    """Node counts, opset, and whether every convolution's weights have the precision asked."""
    model = onnx.load(artifact.path)
    graph = model.graph
    types = {tensor.name: onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in graph.initializer}
    nodes = Counter(node.op_type for node in graph.node)
    wanted = WEIGHT_TYPES.get(artifact.metadata.precision)
    weights = [
        (node.name, types[node.input[1]])
        for node in graph.node
        if node.op_type in CONVOLUTIONS and node.input[1] in types
    ]
    problems = [f"{name}: weights are {found}, expected {wanted}" for name, found in weights if found != wanted]
    declared = [spec.name for spec in artifact.metadata.outputs]
    found_outputs = [output.name for output in graph.output]
    if declared != found_outputs:
        problems.append(f"outputs {found_outputs}, expected {declared}")
    facts: dict[str, str | int | float] = {
        "opset": model.opset_import[0].version,
        "nodes": len(graph.node),
        "operators": ", ".join(f"{op} {count}" for op, count in nodes.most_common()),
        "convolutions": len(weights),
        "megabytes": round(artifact.path.stat().st_size / 1e6, 2),
    }
    return Findings(facts, tuple(problems))
