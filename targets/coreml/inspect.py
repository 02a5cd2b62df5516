"""Static findings about a Core ML package."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from edgeseg.files import bytes_of
from edgeseg.target import Artifact, Findings

from .package import MOST_PLAIN, load_program
from .sdk import dtype_of

CONVOLUTIONS = ("conv", "conv_transpose")
QUANTISED = ("constexpr_affine_dequantize", "constexpr_blockwise_shift_scale")
PALETTE = "constexpr_lut_to_dense"


def inspect(artifact: Artifact) -> Findings:
    """Operation counts, and whether every convolution's weights are stored as asked."""
    program = load_program(artifact.path)
    main = program.functions["main"]
    operations = [operation for operation in main.operations if operation.op_type != "const"]
    counts = Counter(operation.op_type for operation in operations)
    kernels = [operation.inputs["weight"] for operation in operations if operation.op_type in CONVOLUTIONS]
    problems = [
        f"{kernel.name}: weights are {found}, expected {wanted}"
        for kernel in kernels
        if (found := _storage(kernel)) != (wanted := _wanted(artifact, kernel))
    ]
    declared = {spec.name for spec in artifact.metadata.outputs}
    outputs = {var.name for var in main.outputs}
    if outputs != declared:
        problems.append(f"outputs {sorted(outputs)}, expected {sorted(declared)}")
    facts: dict[str, str | int | float] = {
        "opset": main.opset_version.name,
        "operations": len(operations),
        "operators": ", ".join(f"{kind} {count}" for kind, count in counts.most_common()),
        "weights": ", ".join(f"{kind} {count}" for kind, count in Counter(map(_storage, kernels)).most_common()),
        "megabytes": round(bytes_of(artifact.path) / 1e6, 2),
    }
    return Findings(facts, tuple(problems))


def _storage(kernel: Any) -> str:
    """How a kernel is stored: ``fp16``, ``fp32``, ``int8`` or ``palette of N bits``."""
    operation = kernel.op
    values = operation.inputs
    if operation.op_type == PALETTE:
        # A palette has one entry for each index; iOS 18 puts an axis for vectors behind it.
        entries = values["lut"].shape[-2] if "shape" not in values else values["lut"].shape[-1]
        return f"palette of {int(entries).bit_length() - 1} bits"
    if operation.op_type in QUANTISED:
        data = values["quantized_data"] if "quantized_data" in values else values["data"]
        return dtype_of(data)
    return dtype_of(kernel)


def _wanted(artifact: Artifact, kernel: Any) -> str:
    metadata = artifact.metadata
    bits = metadata.options.get("palette_bits")
    whole = "fp32" if metadata.precision == "fp32" else "fp16"
    if int(np.prod(kernel.shape)) <= MOST_PLAIN:
        return whole
    return f"palette of {bits} bits" if bits is not None else {"int8": "int8"}.get(metadata.precision, whole)
