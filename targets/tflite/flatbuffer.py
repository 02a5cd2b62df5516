"""A `.tflite` file's tables, read from its bytes with no package: a device that runs one need not have flatbuffers.

A flatbuffer is tables that point to tables; a table's fields are found by their number in the schema, which never
changes: tensorflow/compiler/mlir/lite/schema/schema.fbs, where every constant below comes from.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeseg.tensors import Array

IDENTIFIER = b"TFL3"
"""Bytes 4 to 8 of every file."""

TYPES: Mapping[int, str] = {
    **dict(enumerate(("FLOAT32", "FLOAT16", "INT32", "UINT8", "INT64", "STRING", "BOOL", "INT16", "COMPLEX64"))),
    **dict(enumerate(("INT8", "FLOAT64", "COMPLEX128", "UINT64", "RESOURCE", "VARIANT", "UINT32", "UINT16"), start=9)),
    **dict(enumerate(("INT4", "BFLOAT16", "INT2", "UINT4"), start=17)),
}
"""Of tensors."""

OPERATORS: Mapping[int, str] = {
    **dict(enumerate(("ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D"))),
    **{6: "DEQUANTIZE", 9: "FULLY_CONNECTED", 14: "LOGISTIC", 17: "MAX_POOL_2D", 18: "MUL", 19: "RELU"},
    **{22: "RESHAPE", 23: "RESIZE_BILINEAR", 25: "SOFTMAX", 28: "TANH", 32: "CUSTOM", 34: "PAD", 36: "GATHER"},
    **{39: "TRANSPOSE", 40: "MEAN", 41: "SUB", 42: "DIV", 43: "SQUEEZE", 45: "STRIDED_SLICE", 47: "EXP"},
    **{49: "SPLIT", 53: "CAST", 55: "MAXIMUM", 57: "MINIMUM", 60: "PADV2", 65: "SLICE", 67: "TRANSPOSE_CONV"},
    **{70: "EXPAND_DIMS", 74: "SUM", 83: "PACK", 88: "UNPACK", 97: "RESIZE_NEAREST_NEIGHBOR", 98: "LEAKY_RELU"},
    **{102: "SPLIT_V", 114: "QUANTIZE", 117: "HARD_SWISH", 126: "BATCH_MATMUL", 130: "BROADCAST_TO"},
    **{150: "GELU", 206: "STABLEHLO_COMPOSITE"},
}
"""Builtin operators that networks of this kind are made of; another one is named by its number."""


@dataclass(frozen=True)
class Quantisation:
    """``real = scale * (stored - zero_point)``.

    Attributes:
        scales: one, or one a channel; empty where the tensor is not quantised.
        zero_points: as many.
        axis: that `scales` run along.
    """

    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0


@dataclass(frozen=True)
class Tensor:
    """One tensor.

    Attributes:
        name: as the converter wrote it.
        shape: sizes; -1 for an open one.
        type: of `TYPES`.
        quantisation: scales, where there are any.
        buffer: index of its constant data; data of length 0 where it is computed.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    quantisation: Quantisation
    buffer: int


@dataclass(frozen=True)
class Operation:
    """One node: its operator's name and version, and the numbers of the tensors that it reads and writes."""

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """What a file holds.

    Attributes:
        tensors: of the first subgraph.
        operations: in the order in which they run.
        inputs: the contract's name, or the tensor's own where there is no signature, to the tensor's number.
        outputs: the same.
        subgraphs: how many there are.
        constants: buffer number to its bytes, without those that hold none.
        external: numbers of buffers whose bytes lie behind the flatbuffer, where old readers do not look.
        metadata: name to bytes.
    """

    tensors: tuple[Tensor, ...]
    operations: tuple[Operation, ...]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    subgraphs: int
    constants: Mapping[int, Array] = field(repr=False)
    external: tuple[int, ...]
    metadata: Mapping[str, bytes] = field(repr=False)


def is_tflite(head: bytes) -> bool:
    """Whether a file that starts with these 8 bytes says that it is one."""
    return head[4:8] == IDENTIFIER


def read_network(data: bytes) -> Network:
    """The tables of a whole file.

    Raises:
        ValueError: it is no such file, or a table points out of it.
    """
    if not is_tflite(data[:8]):
        raise ValueError(f"bytes 4 to 8 are {data[4:8]!r}, expected {IDENTIFIER!r}")
    try:
        return _network(Table.root(data))
    except (struct.error, IndexError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(f"a table is cut off or points nowhere: {error}") from error


def with_outputs(data: bytes, numbers: Sequence[int]) -> bytes:
    """A file that gives out more of its tensors: a longer list of outputs behind all else, and its place in the table.

    Args:
        data: the file.
        numbers: of the tensors; those that are outputs already stay where they are.
    """
    graph = Table.root(data).tables(2)[0]
    own = _numbers(graph, 2)
    outputs = [*own, *(number for number in dict.fromkeys(numbers) if number not in own)]
    start = len(data) + -len(data) % 4
    changed = bytearray(data).ljust(start, b"\0")
    struct.pack_into("<I", changed, graph.place(2), start - graph.place(2))
    return bytes(changed + struct.pack(f"<I{len(outputs)}i", len(outputs), *outputs))


class Table:
    """A table at a place in the bytes. Fields by their number; an absent one gives the default."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data, self._place = data, place
        self._offsets = place - self._unpack("<i", place)
        self._count = (self._unpack("<H", self._offsets) - 4) // 2

    @classmethod
    def root(cls, data: bytes) -> Table:
        """The table that the file starts with."""
        (place,) = struct.unpack_from("<I", data, 0)
        return cls(data, place)

    def number(self, number: int, kind: str = "i", default: int = 0) -> int:
        """A scalar; `kind` is a format letter of `struct`."""
        place = self.place(number)
        return self._unpack("<" + kind, place) if place else default

    def table(self, number: int) -> Table | None:
        """A table."""
        place = self.place(number)
        return Table(self._data, self._target(place)) if place else None

    def tables(self, number: int) -> list[Table]:
        """A list of tables."""
        start, count = self._list(number)
        return [Table(self._data, self._target(start + 4 * index)) for index in range(count)]

    def array(self, number: int, kind: str) -> Array:
        """A list of scalars of a numpy type; a view of the file's bytes."""
        start, count = self._list(number)
        if start + count * np.dtype(kind).itemsize > len(self._data):
            raise IndexError(f"a list of {count} values at byte {start}")
        return np.frombuffer(self._data, np.dtype(kind), count, start) if count else np.empty(0, kind)

    def text(self, number: int) -> str:
        """A text."""
        return self.array(number, "u1").tobytes().decode()

    def outside(self, offset: int, size: int) -> Array:
        """Bytes at a place that is counted from the file's start."""
        if offset + size > len(self._data):
            raise IndexError(f"{size} bytes at byte {offset}")
        return np.frombuffer(self._data, np.uint8, size, offset)

    def _list(self, number: int) -> tuple[int, int]:
        place = self.place(number)
        if not place:
            return 0, 0
        start = self._target(place)
        count = self._unpack("<I", start)
        if count > len(self._data):
            raise IndexError(f"a list of {count} entries at byte {start}")
        return start + 4, count

    def place(self, number: int) -> int:
        """Where a field lies; 0 where the table has none."""
        offset = self._unpack("<H", self._offsets + 4 + 2 * number) if number < self._count else 0
        return self._place + offset if offset else 0

    def _target(self, place: int) -> int:
        return place + self._unpack("<I", place)

    def _unpack(self, kind: str, place: int) -> int:
        if place < 0:
            raise IndexError(f"byte {place}")
        (value,) = struct.unpack_from(kind, self._data, place)
        return int(value)


def _network(model: Table) -> Network:
    graphs = model.tables(2)
    if not graphs:
        raise ValueError("no subgraph in it")
    codes = [_operator(code) for code in model.tables(1)]
    buffers = model.tables(4)
    tensors = tuple(_tensor(table) for table in graphs[0].tables(0))
    operations = tuple(
        Operation(*codes[table.number(0, "I")], _numbers(table, 1), _numbers(table, 2)) for table in graphs[0].tables(3)
    )
    signature = next((table for table in model.tables(7) if table.number(4, "I") == 0), None)
    inputs, outputs = (_ends(graphs[0], 1 + side, tensors, signature, side) for side in (0, 1))
    data = {index: _content(table) for index, table in enumerate(buffers)}
    return Network(
        tensors,
        operations,
        inputs,
        outputs,
        subgraphs=len(graphs),
        constants={index: found for index, found in data.items() if found.size},
        external=tuple(index for index, table in enumerate(buffers) if table.number(1, "Q") > 1),
        metadata={table.text(0): data[table.number(1, "I")].tobytes() for table in model.tables(6)},
    )


def _operator(code: Table) -> tuple[str, int]:
    # The first field is a byte and was too narrow; files keep the larger of both.
    number = max(code.number(0, "b"), code.number(3, "i"))
    name = OPERATORS.get(number, f"BUILTIN_{number}")
    return (code.text(1) or name if name == "CUSTOM" else name), code.number(2, "i", 1)


def _tensor(table: Table) -> Tensor:
    shape = table.array(7, "<i4") if table.array(7, "<i4").size else table.array(0, "<i4")
    scales = table.table(4)
    quantisation = Quantisation()
    if scales is not None and scales.array(2, "<f4").size:
        quantisation = Quantisation(
            tuple(scales.array(2, "<f4").tolist()), tuple(scales.array(3, "<i8").tolist()), scales.number(6)
        )
    kind = table.number(1, "b")
    return Tensor(
        table.text(3), tuple(shape.tolist()), TYPES.get(kind, f"TYPE_{kind}"), quantisation, table.number(2, "I")
    )


def _numbers(table: Table, number: int) -> tuple[int, ...]:
    return tuple(table.array(number, "<i4").tolist())


def _ends(graph: Table, number: int, tensors: tuple[Tensor, ...], signature: Table | None, side: int) -> dict[str, int]:
    """Name to number of the inputs or outputs, in the subgraph's order."""
    named = {}
    if signature is not None:
        named = {entry.number(1, "I"): entry.text(0) for entry in signature.tables(side)}
    return {named.get(index, tensors[index].name): index for index in _numbers(graph, number)}


def _content(buffer: Table) -> Array:
    offset, size = buffer.number(1, "Q"), buffer.number(2, "Q")
    # Files above 2 GB, and some writers, put the bytes behind the flatbuffer.
    return buffer.outside(offset, size) if offset > 1 else buffer.array(0, "u1")
