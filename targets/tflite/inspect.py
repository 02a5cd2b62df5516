"""Static findings about a `.tflite` file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from edgeseg.files import bytes_of
from edgeseg.target import Artifact, Findings

from .container import metadata_of, read_content
from .flatbuffer import Network

CONVOLUTIONS = ("CONV_2D", "TRANSPOSE_CONV")

WEIGHT_TYPES: Mapping[str, str] = {"fp32": "FLOAT32", "fp16": "FLOAT16", "int8": "INT8", "w8a16": "INT8"}
"""Precision to the type that kernels are stored in."""

ALLOWED_TYPES: Mapping[str, frozenset[str]] = {
    "int8": frozenset({"INT8", "INT32"}),
    "w8a16": frozenset({"INT8", "INT16", "INT32", "INT64"}),
}
"""Full integer: precision to the types that a tensor may have; biases are the wide ones."""


def inspect(artifact: Artifact) -> Findings:
    """Operator counts, tensor types, and whether every kernel and tensor has the precision asked."""
    content = read_content(artifact.path)
    network, metadata = content.network, artifact.metadata
    problems = _kernel_problems(network, metadata.precision)
    allowed = ALLOWED_TYPES.get(metadata.precision, frozenset())
    edges = metadata.options.get("edges")
    if allowed and edges == "uint8":
        allowed |= {"UINT8"}
    if allowed:
        problems += [
            f"tensor {tensor.name} is {tensor.type}, expected one of {', '.join(sorted(allowed))}"
            for tensor in network.tensors
            if tensor.type not in allowed
        ]
    problems += _name_problems(network, [spec.name for spec in metadata.inputs], [s.name for s in metadata.outputs])
    if network.external:
        problems.append(
            f"{len(network.external)} constants lie behind the flatbuffer, where readers of 2023 do not look"
        )
    if metadata_of(content) != metadata:
        problems.append("the metadata in the file is another than the one it was written with")
    return Findings(
        {
            "operators": _listed(Counter(f"{step.name} v{step.version}" for step in network.operations)),
            "operations": len(network.operations),
            "tensors": _listed(Counter(tensor.type for tensor in network.tensors)),
            "input": _edge(network, network.inputs),
            "outputs": _edge(network, network.outputs),
            "megabytes": round(bytes_of(artifact.path) / 1e6, 2),
        },
        tuple(problems),
    )


def _kernel_problems(network: Network, precision: str) -> list[str]:
    """Convolutions whose kernel is not stored as asked; float16 ones are widened by an operator before."""
    widened = {step.outputs[0]: step.inputs[0] for step in network.operations if step.name == "DEQUANTIZE"}
    wanted = WEIGHT_TYPES.get(precision)
    problems = []
    for step in network.operations:
        if step.name in CONVOLUTIONS:
            kernel = network.tensors[widened.get(step.inputs[1], step.inputs[1])]
            if kernel.type != wanted:
                problems.append(f"{step.name}: the kernel {kernel.name} is {kernel.type}, expected {wanted}")
    return problems


def _name_problems(network: Network, inputs: list[str], outputs: list[str]) -> list[str]:
    problems = []
    for what, found, wanted in (("inputs", network.inputs, inputs), ("outputs", network.outputs, outputs)):
        if list(found) != wanted:
            problems.append(f"{what} {list(found)}, expected {wanted}")
    return problems


def _edge(network: Network, ends: Mapping[str, int]) -> str:
    """Name, type and scale of each."""
    texts = []
    for name, number in ends.items():
        tensor = network.tensors[number]
        scale = f" scale {tensor.quantisation.scales[0]:.4g}" if tensor.quantisation.scales else ""
        texts.append(f"{name} {tensor.type}{scale}")
    return ", ".join(texts)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())
