"""Coral's table of supported operations as data: operator to its limits, with the pages that say so.

The table and the requirements are those of "TensorFlow models on the Edge TPU", for compiler 16 and runtime 14. Axis
reprints the first half of the table for its cameras with an Edge TPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from . import rules
from .nodes import Node
from .rules import Check

SOURCES: Mapping[str, str] = {
    "table": "https://coral.ai/docs/edgetpu/models-intro/#supported-operations",
    "reprint": "https://developer.axis.com/computer-vision/on-device/system-on-chip/artpec-7/supported-ops/",
    "requirements": "https://coral.ai/docs/edgetpu/models-intro/#model-requirements",
    "compiler": "https://coral.ai/docs/edgetpu/compiler/",
    "reader": "TensorFlow 2.5.3, of the compiler's time: `Input tensor N lacks data`",
    "conv_2d 6": "https://github.com/google-coral/edgetpu/issues/631",
    "transpose_conv 4": "https://github.com/google-coral/edgetpu/issues/845",
    "resize": "https://github.com/google-coral/edgetpu/issues/187",
    "subgraphs": "https://github.com/google-coral/edgetpu/issues/461",
    "n at 192": "https://github.com/jveitchmichaelis/edgetpu-yolo/issues/17",
    "n at 224": "https://github.com/ultralytics/ultralytics/issues/4754",
    "n at 640": "https://github.com/ultralytics/ultralytics/issues/4089",
    "s at 640": "https://github.com/ultralytics/ultralytics/issues/4719",
    "activations": "https://github.com/google-coral/edgetpu/issues/512",
}
"""What each statement here rests on. Reports of users are one machine's word, not the maker's."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        version: the newest that TensorFlow 2.5.3 reads, whose time compiler 16 is of. Compiler 16 refuses a whole file
            for a newer one, as was reported for CONV_2D 6 and TRANSPOSE_CONV 4: the same limits.
        limits: what the table asks beyond the requirements of every operation.
        caution: why it may stay on the processor all the same, depending on sizes; empty where nothing says so.
    """

    version: int
    limits: tuple[Check, ...] = ()
    caution: str = ""


BY_SIZE = "the table: depending on sizes, it may not be mapped"
WEIGHTS = rules.constant_inputs(1, 2)

TABLE: Mapping[str, Row] = {
    "ADD": Row(3),
    "AVERAGE_POOL_2D": Row(3, (rules.no_activation,)),
    "CONCATENATION": Row(3, (rules.no_activation, rules.zero_padding_only)),
    "CONV_2D": Row(5, (WEIGHTS, rules.same_dilation, rules.one_group)),
    "DEPTHWISE_CONV_2D": Row(6, (WEIGHTS, rules.same_dilation)),
    "EXPAND_DIMS": Row(1),
    "FULLY_CONNECTED": Row(9, (WEIGHTS, rules.default_weights, rules.one_dimensional_output)),
    "L2_NORMALIZATION": Row(2),
    "LOGISTIC": Row(3),
    "LSTM": Row(4),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Row(3),
    "MAXIMUM": Row(4),
    "MAX_POOL_2D": Row(3, (rules.no_activation,)),
    "MEAN": Row(3, (rules.constant_inputs(1), rules.no_batch_axis(1), rules.z_in_fours)),
    "MINIMUM": Row(4),
    "MUL": Row(4),
    "PACK": Row(3, (rules.no_batch_packing,)),
    "PAD": Row(3, (rules.constant_inputs(1), rules.no_batch_padding)),
    "PRELU": Row(1, (rules.constant_inputs(1), rules.alpha_by_channel)),
    "QUANTIZE": Row(2),
    "REDUCE_MAX": Row(3, (rules.constant_inputs(1), rules.no_batch_axis(1))),
    "REDUCE_MIN": Row(3, (rules.constant_inputs(1), rules.no_batch_axis(1))),
    "RELU": Row(3),
    "RELU6": Row(3),
    "RELU_N1_TO_1": Row(1),
    "RESHAPE": Row(1, (rules.constant_inputs(1),), BY_SIZE),
    "RESIZE_BILINEAR": Row(4, (rules.constant_inputs(1), rules.three_dimensional, rules.plain_grid), BY_SIZE),
    "RESIZE_NEAREST_NEIGHBOR": Row(4, (rules.constant_inputs(1), rules.three_dimensional, rules.plain_grid), BY_SIZE),
    "RSQRT": Row(2),
    "SLICE": Row(5, (rules.constant_inputs(1, 2),)),
    "SOFTMAX": Row(3, (rules.short_vector,)),
    "SPACE_TO_DEPTH": Row(2),
    "SPLIT": Row(4, (rules.constant_inputs(0), rules.no_batch_axis(0))),
    "SQUARED_DIFFERENCE": Row(2),
    "SQUEEZE": Row(2, (rules.leading_ones,)),
    "STRIDED_SLICE": Row(5, (rules.constant_inputs(1, 2, 3), rules.plain_slice)),
    "SUB": Row(5),
    "SUM": Row(2, (rules.constant_inputs(1), rules.no_batch_axis(1))),
    "TANH": Row(3),
    "TRANSPOSE": Row(5, (rules.constant_inputs(1),), BY_SIZE),
    "TRANSPOSE_CONV": Row(3, (rules.constant_inputs(0, 1),)),
}

REQUIREMENTS: tuple[Check, ...] = (rules.eight_bits, rules.fixed_sizes, rules.three_dimensions)
"""Of every operation."""

REPORTED: Mapping[Check, str] = {rules.one_group: "conv_2d 6", rules.plain_grid: "resize"}
"""Checks that no page of Coral states: users met them. Key of `SOURCES` for each."""


@dataclass(frozen=True)
class Objection:
    """Why an operation stays on the processor.

    Attributes:
        reason: what is wrong with it.
        source: key of `SOURCES`.
        fatal: whether the compiler refuses the whole file for it.
    """

    reason: str
    source: str
    fatal: bool = False


def objections(node: Node) -> Iterator[Objection]:
    """Why the Edge TPU does not take this operation, the gravest first; none where nothing here speaks against it."""
    row = TABLE.get(node.kind)
    if row is None:
        yield Objection(f"{node.kind} is not in Coral's table", "table")
        return
    if node.version > row.version:
        reason = f"version {node.version} of {node.kind}, the compiler reads up to {row.version}"
        yield Objection(reason, "transpose_conv 4" if node.kind == "TRANSPOSE_CONV" else "conv_2d 6", fatal=True)
    outside = [tensor for tensor in node.inputs if tensor is not None and tensor.outside]
    if outside:
        reason = f"the constant {outside[0]} lies behind the flatbuffer, where readers of that time do not look"
        yield Objection(reason, "reader", fatal=True)
    for source, checks in (("requirements", REQUIREMENTS), ("table", row.limits)):
        for check in checks:
            if reason := check(node):
                yield Objection(reason, REPORTED.get(check, source))
