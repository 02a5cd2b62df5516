"""The key-value metadata of an ONNX file, read without ONNX's own packages and without the graph.

A file of this format may be meant for another runtime than ONNX Runtime, which its metadata says; and a device that
has that runtime alone must read it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edgeseg.metadata import METADATA_KEY

METADATA_PROPS = 14
"""Field number of `metadata_props` in ModelProto (onnx.proto)."""

KEY, VALUE = 1, 2
"""Field numbers in StringStringEntryProto."""

VARINT, BYTES, FIXED = 0, 2, {1: 8, 5: 4}
"""Wire types of protobuf (https://protobuf.dev/programming-guides/encoding), and bytes of those of a fixed length."""

MOST_BYTES = 16 << 20
"""Of one key and value: class names of the largest set take 1 MB."""


def keys_of(path: Path) -> dict[str, str]:
    """Key to value.

    Raises:
        ValueError: the file is no whole protobuf message.
        OSError: it cannot be read.
    """
    found = {}
    with path.open("rb") as file:
        for number, value in _fields(file, path.stat().st_size, wanted=METADATA_PROPS):
            if number == METADATA_PROPS:
                key, text = _entry(value)
                found[key] = text
    return found


def format_of(path: Path) -> str:
    """The format that our metadata in an ONNX file names; empty where there is none, or none that can be read."""
    try:
        name = json.loads(keys_of(path)[METADATA_KEY])["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return name if isinstance(name, str) else ""


def _entry(data: bytes) -> tuple[str, str]:
    parts = dict(_fields(io.BytesIO(data), len(data)))
    return parts.get(KEY, b"").decode(), parts.get(VALUE, b"").decode()


def _fields(file: BinaryIO, size: int, wanted: int = 0) -> Iterator[tuple[int, bytes]]:
    """Number and content of each field of a message; without content where another number is wanted."""
    while file.tell() < size:
        tag = _varint(file)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            _varint(file)
            continue
        if kind not in (BYTES, *FIXED):
            raise ValueError(f"wire type {kind} at byte {file.tell()}")
        length = _varint(file) if kind == BYTES else FIXED[kind]
        if file.tell() + length > size:
            raise ValueError(f"a field of {length} bytes ends behind the file")
        if wanted and number != wanted:
            file.seek(length, 1)
        elif length > MOST_BYTES:
            raise ValueError(f"an entry of {length} bytes, expected at most {MOST_BYTES}")
        else:
            yield number, file.read(length)


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("it ends within a number")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a number of more than 64 bits")
