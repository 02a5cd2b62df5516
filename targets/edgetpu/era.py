"""A quantised file as the converters of the compiler's time wrote it: operator versions, and how maps are enlarged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgeseg.errors import StageError

VERSIONS: Mapping[str, int] = {
    **{"CONV_2D": 3, "TRANSPOSE_CONV": 3, "QUANTIZE": 1},
    **dict.fromkeys(("ADD", "CONCATENATION", "LOGISTIC", "MAX_POOL_2D", "MUL", "PAD", "SLICE", "SPLIT"), 2),
    "RESIZE_NEAREST_NEIGHBOR": 2,
}
"""Operator to its version on int8 tensors, as TFLiteConverter writes them from TensorFlow 2.5 to 2.21. The AI Edge
Quantizer leaves those of the float network, where version 1 of most operators means that there is no int8 in it."""


def of_its_time(model: Any) -> None:
    """Set the versions, and take half pixels out of the enlarging by two, which does not need them.

    Args:
        model: the tree of a full-integer file (`targets/tflite/rewrite.py`).

    Raises:
        StageError: an operator that such a network did not have before, or maps enlarged by another factor.
    """
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    for code in model.operatorCodes:
        name = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "")
        if name not in VERSIONS:
            raise StageError(
                "export_failed",
                f"the converter wrote the operator {name or code.builtinCode}, expected one of {', '.join(VERSIONS)}",
                hint="install the pinned converter: edgeseg targets install tflite",
            )
        code.version = VERSIONS[name]
    graph = model.subgraphs[0]
    for operation in graph.operators:
        if operation.builtinOptionsType == schema.BuiltinOptions.ResizeNearestNeighborOptions:
            _plain(operation, graph.tensors)


def _plain(operation: Any, tensors: Any) -> None:
    """Points by floor(i / 2), which is what floor((i + 0.5) / 2) gives for whole i."""
    source, found = (tensors[number].shape for number in (operation.inputs[0], operation.outputs[0]))
    if [int(side) for side in found[1:3]] != [2 * int(side) for side in source[1:3]]:
        raise StageError(
            "export_failed",
            f"a map of {list(source)} is enlarged to {list(found)}, expected twice the height and width",
            hint="install the pinned converter: edgeseg targets install tflite",
        )
    operation.builtinOptions.halfPixelCenters = False
    operation.builtinOptions.alignCorners = False
