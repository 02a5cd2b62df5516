"""Builds checkpoints by hand, so that tests can say what no trainer would write."""

from __future__ import annotations

import gc
import struct
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgeseg.errors import WeightsError
from edgeseg.model.checkpoint import read_checkpoint


@dataclass(frozen=True)
class Name:
    """A global: ``Name("posix", "system")``."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """A global (or what should be one) called with arguments, and then given a state."""

    kind: Any
    arguments: tuple[Any, ...] = ()
    state: Any = None


@dataclass(frozen=True)
class Raw:
    """Operations put in as they are; they must leave one value on the stack."""

    code: bytes


@dataclass(frozen=True)
class Stored:
    """A persistent identifier."""

    identifier: tuple[Any, ...]


SECONDS = 5.0
"""Longest time for one file; a reading that a hostile file can stretch takes hours or never ends."""

ORDERED = Name("collections", "OrderedDict")
REBUILD = Name("torch._utils", "_rebuild_tensor_v2")


def storage(key: str = "0", count: Any = 6, kind: str = "FloatStorage") -> Stored:
    return Stored(("storage", Name("torch", kind), key, "cpu", count))


def tensor(
    shape: Any = (2, 3),
    strides: Any = (3, 1),
    offset: Any = 0,
    key: str = "0",
    count: Any = 6,
    kind: str = "FloatStorage",
) -> Call:
    return Call(REBUILD, (storage(key, count, kind), offset, shape, strides, False, Call(ORDERED)))


def module(
    kind: Name, modules: Mapping[str, Any] | None = None, parameters: Mapping[str, Any] | None = None, **attributes: Any
) -> Call:
    tables = {"_parameters": dict(parameters or {}), "_buffers": {}, "_modules": dict(modules or {})}
    return Call(kind, (), {**tables, **attributes})


def assemble(value: Any) -> bytes:
    """The protocol 2 pickle of a value."""
    return b"\x80\x02" + code_of(value) + b"."


def code_of(value: Any) -> bytes:
    """The operations that put a value on the stack."""
    match value:
        case Raw():
            return value.code
        case Name():
            return f"c{value.module}\n{value.name}\n".encode()
        case Call():
            state = b"" if value.state is None else code_of(value.state) + b"b"
            return code_of(value.kind) + code_of(value.arguments) + b"R" + state
        case Stored():
            return code_of(value.identifier) + b"Q"
        case tuple():
            return b"(" + b"".join(map(code_of, value)) + b"t"
        case list():
            return b"](" + b"".join(map(code_of, value)) + b"e"
        case dict():
            return b"}(" + b"".join(code_of(key) + code_of(item) for key, item in value.items()) + b"u"
    return _code_of_scalar(value)


def _code_of_scalar(value: bool | int | float | str | None) -> bytes:
    match value:
        case None | True | False:
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int():
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(data)]) + data
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def write_archive(path: Path, pickle: bytes, storages: Mapping[str, bytes] | None = None) -> Path:
    """A zip as torch writes it; the default storage ``0`` holds the floats 0 to 5."""
    storages = {"0": struct.pack("<6f", *range(6))} if storages is None else storages
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", "3\n")
    return path


def refused(path: Path, *words: str) -> None:
    """Reading ends soon, in an error that names the file and says `words`."""
    # Collecting looks at all objects of the process again and again: only those of this reading are to count.
    gc.freeze()
    try:
        started = time.process_time()
        with pytest.raises(WeightsError) as caught:
            read_checkpoint(path)
        seconds = time.process_time() - started
    finally:
        gc.unfreeze()
    assert seconds < SECONDS
    assert str(path) in caught.value.message
    for word in words:
        assert word in caught.value.message
    assert len(str(caught.value)) < 2000
