"""Whether a weights file holds every blob that a program points to.

coremltools writes it through a C++ stream that does not tell when the disk is full. The layout is that of MILBlob
(coremltools/mlmodel/src/MILBlob/Blob/StorageFormat.hpp): at each offset 64 bytes that say where the data is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

SENTINEL = 0xDEADBEEF
HEADER = struct.Struct("<IIQQ")
"""Sentinel, type, size in bytes, offset of the data in the file."""


def check_blobs(spec: Any, weights: bytes) -> None:
    """Raise ValueError where `weights` lacks a part of what the protobuf `Model` points to."""
    for offset in _offsets(spec):
        if offset + HEADER.size > len(weights):
            raise ValueError(f"the weights file ends at byte {len(weights)}, before a blob at {offset}")
        sentinel, _, size, start = HEADER.unpack_from(weights, offset)
        if sentinel != SENTINEL or start + size > len(weights):
            raise ValueError(f"the weights file has {len(weights)} bytes and no whole blob at {offset}")


def _offsets(spec: Any) -> Iterator[int]:
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            for operation in block.operations:
                bound = [binding.value for value in operation.inputs.values() for binding in value.arguments]
                for value in (*operation.attributes.values(), *bound):
                    if value.WhichOneof("value") == "blobFileValue":
                        yield value.blobFileValue.offset
