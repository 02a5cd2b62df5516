"""Static findings about an OpenVINO folder."""

from __future__ import annotations

from collections import Counter
from typing import Any

from edgeseg.files import bytes_of
from edgeseg.target import Artifact, Findings

from .runner import load_model

WEIGHT_TYPES = {"fp32": "f32", "fp16": "f16", "int8": "i8"}
CONVOLUTIONS = ("Convolution", "ConvolutionBackpropData")


def inspect(artifact: Artifact) -> Findings:
    """Operator counts, and whether every convolution's weights have the precision asked; accuracy control leaves some
    in float."""
    operations = load_model(artifact.path).get_ordered_ops()
    kinds = Counter(operation.get_type_name() for operation in operations)
    kernels = [
        (operation.get_friendly_name(), _stored_type(operation))
        for operation in operations
        if operation.get_type_name() in CONVOLUTIONS
    ]
    wanted = WEIGHT_TYPES[artifact.metadata.precision]
    others = [f"{name}: weights are {found}, expected {wanted}" for name, found in kernels if found != wanted]
    problems = [] if artifact.metadata.options.get("accuracy_control") else others.copy()
    if artifact.metadata.precision == "int8" and not kinds["FakeQuantize"]:
        problems.append("no activation is quantised")
    facts: dict[str, str | int | float] = {
        "nodes": len(operations),
        "operators": ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()),
        "convolutions": len(kernels),
        "of_other_types": len(others),
        "fake_quantize": kinds["FakeQuantize"],
        "megabytes": round(bytes_of(artifact.path) / 1e6, 2),
    }
    return Findings(facts, tuple(problems))


def _stored_type(convolution: Any) -> str:
    """The type that a convolution's weights have in the file, below the steps that widen them."""
    node = convolution.input_value(1).get_node()
    while node.get_type_name() != "Constant" and node.get_input_size():
        node = node.input_value(0).get_node()
    return str(node.get_element_type().get_type_name())
