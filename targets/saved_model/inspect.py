"""Static findings about a frozen TensorFlow graph."""

from __future__ import annotations

from collections import Counter
from typing import Any

from edgeseg.errors import ArtifactError
from edgeseg.files import bytes_of
from edgeseg.target import Artifact, Findings

from .runner import MODEL_FILE, SIGNATURE, check_hash, first_line
from .sdk import import_tensorflow

CONVOLUTIONS = ("Conv2D", "Conv2DBackpropInput")
CONSTANT = "Const"


def inspect(artifact: Artifact) -> Findings:
    """Operator counts, types of the convolutions' weights, and whether the signature names the contract's tensors."""
    import_tensorflow("inspecting a SavedModel")
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    check_hash(artifact.path)
    try:
        message = saved_model_pb2.SavedModel.FromString((artifact.path / MODEL_FILE).read_bytes())
    except (OSError, DecodeError) as error:
        raise ArtifactError(
            f"{artifact.path}: {MODEL_FILE} is not readable: {first_line(error)}", hint="export it again"
        ) from error
    meta = message.meta_graphs[0]
    found = findings(meta.graph_def, artifact)
    if not artifact.metadata.weights_sha256:
        # A foreign exporter names its tensors as it likes.
        return found
    signature = meta.signature_def[SIGNATURE]
    problems = []
    for side, names, specs in (
        ("takes", signature.inputs, artifact.metadata.inputs),
        ("gives", signature.outputs, artifact.metadata.outputs),
    ):
        if set(names) != (wanted := {spec.name for spec in specs}):
            problems.append(f"the signature {side} {sorted(names)}, expected {sorted(wanted)}")
    return Findings(found.facts, (*found.problems, *problems))


def findings(graph: Any, artifact: Artifact) -> Findings:
    """What holds of the graph itself, wherever it is kept."""
    from tensorflow.core.framework import types_pb2

    # A foreign exporter's graph may be a call of a function in its library.
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    kinds = Counter(node.op for node in nodes)
    types = {
        node.name: types_pb2.DataType.Name(node.attr["T"].type).removeprefix("DT_").lower()
        for node in nodes
        if node.op in CONVOLUTIONS
    }
    problems = [f"{name}: computes in {found}, expected float" for name, found in types.items() if found != "float"]
    facts: dict[str, str | int | float] = {
        "nodes": len(nodes) - kinds[CONSTANT],
        "operators": ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()),
        "convolutions": len(types),
        "constants": kinds[CONSTANT],
        "megabytes": round(bytes_of(artifact.path) / 1e6, 2),
    }
    return Findings(facts, tuple(problems))
