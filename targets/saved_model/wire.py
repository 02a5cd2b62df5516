"""The protobuf wire format, as far as telling a TensorFlow file from others and reading its metadata needs it.

Described in the protobuf documentation, "Encoding". Without the SDK, since core asks every target about every file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types; groups (3 and 4) occur in no file that is read here."""

HEAD_BYTES = 4096
"""Enough for the first node's name and operator."""

NAME = re.compile(rb"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
OPERATOR = re.compile(rb"[A-Z_][A-Za-z0-9_>]*")
"""What TensorFlow lets a node (graph.proto) and an operator (op_def.proto) be called."""


class WireError(ValueError):
    """Bytes that are no message."""


def varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """A number and the place behind it."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise WireError(f"no number ends at byte {at}")


def fields(data: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message, in their order: number, and the content of what has a length or the number itself.

    Raises:
        WireError: the bytes are no whole message.
    """
    view, at = memoryview(data), 0
    while at < len(view):
        tag, at = varint(view, at)
        number, kind = tag >> 3, tag & 7
        if number == 0 or kind not in (VARINT, FIXED64, BYTES, FIXED32):
            raise WireError(f"field {number} of type {kind} before byte {at}")
        if kind == VARINT:
            value, at = varint(view, at)
            yield number, value
            continue
        length, at = varint(view, at) if kind == BYTES else ({FIXED64: 8, FIXED32: 4}[kind], at)
        if at + length > len(view):
            raise WireError(f"field {number} of {length} bytes ends behind the last byte")
        yield number, view[at : at + length]
        at += length


def only_bytes(data: bytes | memoryview, *path: int) -> bytes:
    """Content of the first field at a path of field numbers.

    Raises:
        WireError: there is none, or it has no length.
    """
    for number in path:
        found = next((value for key, value in fields(data) if key == number and not isinstance(value, int)), None)
        if found is None:
            raise WireError(f"no field {number}")
        data = found
    return bytes(data)


def starts_as_saved_model(path: Path) -> bool:
    """A SavedModel message: its schema version, 1, then a graph that ends with the file or before."""
    head, size = _head(path)
    if head[:3] != b"\x08\x01\x12":
        return False
    try:
        length, at = varint(head, 3)
    except WireError:
        return False
    return at + length <= size


def starts_as_graph(path: Path) -> bool:
    """A GraphDef message: a node with a name and an operator that TensorFlow allows."""
    head, size = _head(path)
    try:
        if head[:1] != b"\x0a":
            return False
        length, at = varint(head, 1)
        if at + length > size:
            return False
        name, operator, *_ = fields(_cut(head[at : at + length]))
    except (WireError, ValueError):
        return False
    return (
        (name[0], operator[0]) == (1, 2)
        and not isinstance(name[1], int)
        and not isinstance(operator[1], int)
        and NAME.fullmatch(name[1]) is not None
        and OPERATOR.fullmatch(operator[1]) is not None
    )


def _cut(node: bytes) -> bytes:
    """The first two fields of a node: the rest of it may lie behind what was read of the file."""
    at = 0
    for _ in range(2):
        _, at = varint(node, at)
        length, at = varint(node, at)
        at += length
    return node[:at]


def _head(path: Path) -> tuple[bytes, int]:
    """The first bytes of a file and its size; none where it is no readable file."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES), path.stat().st_size
    except OSError:
        return b"", 0
