"""Hand-made `.tflite` files: a few tensors and operations, written field by field with the flatbuffers package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import flatbuffers
import numpy as np
from numpy.typing import NDArray

TYPES = {"FLOAT32": 0, "INT32": 2, "UINT8": 3, "INT64": 4, "INT16": 7, "INT8": 9}
OPERATORS = {
    **{"ADD": 0, "AVERAGE_POOL_2D": 1, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "FULLY_CONNECTED": 9},
    **{"L2_NORMALIZATION": 11, "LOGISTIC": 14, "LSTM": 16, "MAX_POOL_2D": 17, "MUL": 18, "RELU": 19},
    **{"RELU_N1_TO_1": 20, "RELU6": 21, "RESHAPE": 22, "RESIZE_BILINEAR": 23, "SOFTMAX": 25, "SPACE_TO_DEPTH": 26},
    **{"TANH": 28, "CUSTOM": 32, "PAD": 34, "TRANSPOSE": 39, "MEAN": 40, "SUB": 41, "SQUEEZE": 43},
    **{"UNIDIRECTIONAL_SEQUENCE_LSTM": 44, "STRIDED_SLICE": 45, "SPLIT": 49, "BIDIRECTIONAL_SEQUENCE_LSTM": 52},
    **{"PRELU": 54, "MAXIMUM": 55, "MINIMUM": 57, "SLICE": 65, "TRANSPOSE_CONV": 67, "EXPAND_DIMS": 70, "SUM": 74},
    **{"RSQRT": 76, "REDUCE_MAX": 82, "PACK": 83, "REDUCE_MIN": 89, "RESIZE_NEAREST_NEIGHBOR": 97},
    **{"SQUARED_DIFFERENCE": 99, "QUANTIZE": 114, "HARD_SWISH": 117, "GELU": 150},
}
"""From TensorFlow Lite's schema, tensorflow/compiler/mlir/lite/schema/schema.fbs."""


@dataclass(frozen=True)
class Tensor:
    """A tensor; `data` makes it a constant, an empty `scales` leaves it without quantisation."""

    shape: tuple[int, ...]
    type: str = "INT8"
    data: NDArray[np.generic] | None = None
    scales: tuple[float, ...] = (0.1,)
    zero_point: int = 0
    outside: bool = False


@dataclass(frozen=True)
class Operation:
    """An operation; `options` are the fields of its table, by their number, and 8-bit ones are in `flags`."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    version: int = 1
    options: Mapping[int, int] = field(default_factory=dict)
    flags: Mapping[int, int] = field(default_factory=dict)
    custom: str = ""


def tflite_file(
    tensors: Sequence[Tensor],
    operations: Sequence[Operation],
    inputs: Sequence[int] = (0,),
    outputs: Sequence[int] | None = None,
    metadata: Mapping[str, bytes] | None = None,
) -> bytes:
    """The bytes of a file with one subgraph; without `outputs`, those of the last operation."""
    writer = _Writer()
    builder = writer.builder
    contents = [tensor.data for tensor in tensors] + [np.frombuffer(text, "u1") for text in (metadata or {}).values()]
    outside = [tensor.outside for tensor in tensors] + [False] * len(metadata or {})
    buffers = [writer.table({})]
    for data, far in zip(contents, outside, strict=True):
        if data is None:
            buffers.append(writer.table({}))
        elif far:
            # Offset and size in the file: the bytes themselves are any of this file.
            buffers.append(writer.table({1: ("Uint64", 2), 2: ("Uint64", data.nbytes)}))
        else:
            buffers.append(writer.table({0: ("UOffsetTRelative", builder.CreateByteVector(data.tobytes()))}))
    named = [
        writer.table({0: ("UOffsetTRelative", builder.CreateString(name)), 1: ("Uint32", 1 + len(tensors) + place)})
        for place, name in enumerate(metadata or {})
    ]
    made = [writer.tensor(number, tensor) for number, tensor in enumerate(tensors)]
    nodes = [writer.operation(number, operation) for number, operation in enumerate(operations)]
    last = operations[-1].outputs if outputs is None else outputs
    graph = writer.table(
        {
            0: ("UOffsetTRelative", writer.offsets(made)),
            1: ("UOffsetTRelative", writer.numbers(inputs)),
            2: ("UOffsetTRelative", writer.numbers(last)),
            3: ("UOffsetTRelative", writer.offsets(nodes)),
        }
    )
    codes = [writer.code(operation) for operation in operations]
    model = writer.table(
        {
            0: ("Uint32", 3),
            1: ("UOffsetTRelative", writer.offsets(codes)),
            2: ("UOffsetTRelative", writer.offsets([graph])),
            4: ("UOffsetTRelative", writer.offsets(buffers)),
            6: ("UOffsetTRelative", writer.offsets(named)),
        }
    )
    builder.Finish(model, file_identifier=b"TFL3")
    return bytes(builder.Output())


class _Writer:
    """Tables by the numbers of their fields."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1024)

    def table(self, fields: Mapping[int, tuple[str, int]]) -> int:
        self.builder.StartObject(max(fields, default=-1) + 1)
        for number, (kind, value) in fields.items():
            getattr(self.builder, f"Prepend{kind}Slot")(number, value, 0)
        return int(self.builder.EndObject())

    def offsets(self, tables: Sequence[int]) -> int:
        self.builder.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            self.builder.PrependUOffsetTRelative(table)
        return int(self.builder.EndVector())

    def numbers(self, values: Sequence[int]) -> int:
        return int(self.builder.CreateNumpyVector(np.array(values, np.int32)))

    def tensor(self, number: int, tensor: Tensor) -> int:
        points = np.full(len(tensor.scales), tensor.zero_point, np.int64)
        scales = self.table(
            {
                2: ("UOffsetTRelative", self.builder.CreateNumpyVector(np.array(tensor.scales, np.float32))),
                3: ("UOffsetTRelative", self.builder.CreateNumpyVector(points)),
            }
        )
        signature = {7: ("UOffsetTRelative", self.numbers(tensor.shape))} if min(tensor.shape, default=1) < 0 else {}
        return self.table(
            {
                0: ("UOffsetTRelative", self.numbers([abs(side) for side in tensor.shape])),
                1: ("Int8", TYPES[tensor.type]),
                2: ("Uint32", number + 1),
                3: ("UOffsetTRelative", self.builder.CreateString(f"t{number}")),
                **({4: ("UOffsetTRelative", scales)} if tensor.scales else {}),
                **signature,
            }
        )

    def operation(self, number: int, operation: Operation) -> int:
        options = self.table(
            {
                **{place: ("Int32", value) for place, value in operation.options.items()},
                **{place: ("Int8", value) for place, value in operation.flags.items()},
            }
        )
        return self.table(
            {
                0: ("Uint32", number),
                1: ("UOffsetTRelative", self.numbers(operation.inputs)),
                2: ("UOffsetTRelative", self.numbers(operation.outputs)),
                4: ("UOffsetTRelative", options),
            }
        )

    def code(self, operation: Operation) -> int:
        number = OPERATORS[operation.kind]
        custom = {1: ("UOffsetTRelative", self.builder.CreateString(operation.custom))} if operation.custom else {}
        return self.table(
            {0: ("Int8", min(number, 127)), **custom, 2: ("Int32", operation.version), 3: ("Int32", number)}
        )
