"""A `.tflite` file as the Edge TPU's rules look at it: operations with their options, tensors, constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgeseg.errors import ArtifactError
from edgeseg.tensors import Array

from ..tflite import flatbuffer

AGAIN = "export it again, or copy the file again"

NAMES: Mapping[int, str] = {
    **dict(enumerate(("ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE"))),
    6: "DEQUANTIZE",
    **{9: "FULLY_CONNECTED", 11: "L2_NORMALIZATION", 14: "LOGISTIC", 16: "LSTM", 17: "MAX_POOL_2D", 18: "MUL"},
    **{19: "RELU", 20: "RELU_N1_TO_1", 21: "RELU6", 22: "RESHAPE", 23: "RESIZE_BILINEAR", 25: "SOFTMAX"},
    **{26: "SPACE_TO_DEPTH", 28: "TANH", 32: "CUSTOM", 34: "PAD", 36: "GATHER", 39: "TRANSPOSE", 40: "MEAN", 41: "SUB"},
    **{42: "DIV", 43: "SQUEEZE", 44: "UNIDIRECTIONAL_SEQUENCE_LSTM", 45: "STRIDED_SLICE", 47: "EXP", 49: "SPLIT"},
    **{52: "BIDIRECTIONAL_SEQUENCE_LSTM", 53: "CAST", 54: "PRELU", 55: "MAXIMUM", 56: "ARG_MAX", 57: "MINIMUM"},
    **{59: "NEG", 60: "PADV2", 65: "SLICE", 67: "TRANSPOSE_CONV", 70: "EXPAND_DIMS", 74: "SUM", 75: "SQRT"},
    **{76: "RSQRT", 82: "REDUCE_MAX", 83: "PACK", 88: "UNPACK", 89: "REDUCE_MIN", 97: "RESIZE_NEAREST_NEIGHBOR"},
    **{98: "LEAKY_RELU", 99: "SQUARED_DIFFERENCE", 101: "ABS", 102: "SPLIT_V", 111: "ELU", 114: "QUANTIZE"},
    **{117: "HARD_SWISH", 126: "BATCH_MATMUL", 130: "BROADCAST_TO", 150: "GELU"},
}
"""Number of a builtin operator in TensorFlow Lite's schema to its name; others are named by their number."""

FIELDS: Mapping[str, Mapping[str, int]] = {
    "activation": {
        **{"ADD": 0, "MUL": 0, "SUB": 0, "DIV": 0, "L2_NORMALIZATION": 0, "FULLY_CONNECTED": 0, "CONCATENATION": 1},
        **{"CONV_2D": 3, "TRANSPOSE_CONV": 3, "DEPTHWISE_CONV_2D": 4, "AVERAGE_POOL_2D": 5, "MAX_POOL_2D": 5},
    },
    "dilation_x": {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 5},
    "dilation_y": {"CONV_2D": 5, "DEPTHWISE_CONV_2D": 6},
    "weights_format": {"FULLY_CONNECTED": 1},
    "axis": {"CONCATENATION": 0, "PACK": 1},
    "ellipsis_mask": {"STRIDED_SLICE": 2},
    "new_axis_mask": {"STRIDED_SLICE": 3},
    "half_pixel_centers": {"RESIZE_NEAREST_NEIGHBOR": 1, "RESIZE_BILINEAR": 3},
    "align_corners": {"RESIZE_NEAREST_NEIGHBOR": 0, "RESIZE_BILINEAR": 2},
}
"""Option, operator, and the option's number in the operator's table of the schema."""

KINDS: Mapping[str, tuple[str, int]] = {
    **dict.fromkeys(("dilation_x", "dilation_y"), ("i", 1)),
    **dict.fromkeys(("axis", "ellipsis_mask", "new_axis_mask"), ("i", 0)),
    **dict.fromkeys(("activation", "weights_format", "half_pixel_centers", "align_corners"), ("b", 0)),
}
"""Option to its type, as a letter of `struct`, and its default."""

ITEM_BYTES: Mapping[str, int] = {
    **{"INT8": 1, "UINT8": 1, "BOOL": 1, "INT16": 2, "UINT16": 2, "FLOAT16": 2, "BFLOAT16": 2},
    **{"INT32": 4, "UINT32": 4, "FLOAT32": 4, "INT64": 8, "UINT64": 8, "FLOAT64": 8},
}


@dataclass(frozen=True)
class Tensor:
    """One tensor.

    Attributes:
        number: in the file.
        name: as the converter wrote it.
        shape: sizes; -1 for an open one.
        type: such as ``INT8``.
        scales: one, or one a channel; empty where it is not quantised.
        zero_points: as many; what a real 0 is stored as.
        data: the constant's bytes; None where it is computed.
        outside: whether those bytes lie behind the flatbuffer.
    """

    number: int
    name: str
    shape: tuple[int, ...]
    type: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    data: Array | None = field(default=None, repr=False)
    outside: bool = False

    @property
    def is_constant(self) -> bool:
        """Whether its values are in the file."""
        return self.data is not None

    @property
    def bytes(self) -> int:
        """Size in memory; an open size counts as one."""
        return int(np.prod([max(side, 1) for side in self.shape], dtype=np.int64)) * ITEM_BYTES.get(self.type, 8)

    def integers(self) -> list[int]:
        """The values of a constant INT32 or INT64 tensor; empty for any other."""
        kinds = {"INT32": "<i4", "INT64": "<i8"}
        if self.data is None or self.type not in kinds or self.data.nbytes % np.dtype(kinds[self.type]).itemsize:
            return []
        return [int(value) for value in np.frombuffer(self.data.tobytes(), kinds[self.type])]

    def __str__(self) -> str:
        return (
            f"{self.name or f'tensor {self.number}'} {'x'.join(map(str, self.shape)) or 'scalar'} {self.type.lower()}"
        )


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        number: in the order in which they run.
        kind: the operator's name; a custom one's own.
        version: of the operator.
        inputs: tensors; None where an optional one is absent.
        outputs: tensors.
        options: those of `FIELDS` that this operator has.
    """

    number: int
    kind: str
    version: int
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Mapping[str, int] = field(default_factory=dict)

    def given(self, place: int) -> Tensor | None:
        """An input by its place; None where there is none."""
        return self.inputs[place] if place < len(self.inputs) else None


@dataclass(frozen=True)
class Graph:
    """The first subgraph of a file.

    Attributes:
        nodes: in the order in which they run.
        inputs: tensors that come from outside.
        outputs: tensors that go out.
        subgraphs: how many the file has.
        metadata: name to bytes.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    subgraphs: int = 1
    metadata: Mapping[str, bytes] = field(default_factory=dict)


def read_graph(path: Path) -> Graph:
    """The operations of a file.

    Raises:
        ArtifactError: it is no readable `.tflite` file.
    """
    try:
        return graph_of(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: no readable .tflite file: {error}", hint=AGAIN) from error


def graph_of(data: bytes) -> Graph:
    """The operations in a file's bytes.

    Raises:
        ValueError: a table points out of the file, or an operation out of its tensors.
    """
    network = flatbuffer.read_network(data)
    external = set(network.external)
    tensors = [
        Tensor(
            number,
            tensor.name,
            tensor.shape,
            tensor.type,
            tensor.quantisation.scales,
            tensor.quantisation.zero_points,
            network.constants.get(tensor.buffer),
            tensor.buffer in external,
        )
        for number, tensor in enumerate(network.tensors)
    ]
    try:
        return Graph(
            tuple(_nodes(data, tensors)),
            tuple(tensors[number] for number in network.inputs.values()),
            tuple(tensors[number] for number in network.outputs.values()),
            network.subgraphs,
            network.metadata,
        )
    except IndexError as error:
        raise ValueError(f"an operation names a tensor or an operator that is not there: {error}") from error


def _nodes(data: bytes, tensors: list[Tensor]) -> list[Node]:
    model = flatbuffer.Table.root(data)
    codes = [_code(table) for table in model.tables(1)]
    found = []
    for number, table in enumerate(model.tables(2)[0].tables(3)):
        kind, version = codes[table.number(0, "I")]
        inputs = tuple(None if index < 0 else tensors[index] for index in table.array(1, "<i4").tolist())
        outputs = tuple(tensors[index] for index in table.array(2, "<i4").tolist())
        found.append(Node(number, kind, version, inputs, outputs, _options(kind, table.table(4))))
    return found


def _code(table: flatbuffer.Table) -> tuple[str, int]:
    # The first field is a byte and was too narrow; files keep the larger of both.
    number = max(table.number(0, "b"), table.number(3, "i"))
    name = NAMES.get(number, f"BUILTIN_{number}")
    return (table.text(1) or name if name == "CUSTOM" else name), table.number(2, "i", 1)


def _options(kind: str, table: flatbuffer.Table | None) -> dict[str, int]:
    found = {}
    for name, places in FIELDS.items():
        if kind in places:
            letter, default = KINDS[name]
            found[name] = default if table is None else table.number(places[kind], letter, default)
    return found
