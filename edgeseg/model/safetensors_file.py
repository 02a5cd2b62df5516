"""edgeseg's own weights file: safetensors with text metadata, the same bytes for the same content."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.errors import WeightsError, needs_extra
from edgeseg.files import write_atomically

MAX_HEADER_BYTES = 100_000_000
"""The format's own limit on its JSON header (safetensors README, "Format": a DOS protection)."""

_LENGTH_BYTES = 8
_ALIGNMENT = 8


def is_safetensors(path: Path) -> bool:
    """Whether a file starts like safetensors: the length of a header that fits the file, then its brace."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(_LENGTH_BYTES + 1)
    length = int.from_bytes(start[:_LENGTH_BYTES], "little")
    fits = length <= min(path.stat().st_size - _LENGTH_BYTES, MAX_HEADER_BYTES)
    return len(start) > _LENGTH_BYTES and start.endswith(b"{") and length > 0 and fits


def write_weights(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata, whole or not at all. The same content gives the same bytes.

    Args:
        path: the file, replaced where it exists.
        tensors: name to array, in any memory layout.
        metadata: text to text.

    Raises:
        WeightsError: an array's dtype has no place in the format.
        EnvironmentMissingError: the package safetensors is absent.
    """
    package = _package()
    contiguous = {name: np.array(value, order="C") for name, value in sorted(tensors.items())}
    try:
        data = package.numpy.save(contiguous, dict(metadata))
    except (package.SafetensorError, KeyError, TypeError) as error:
        raise WeightsError(f"{path}: cannot be written as safetensors: {error}") from error
    write_atomically(path, _with_sorted_header(data))


def read_weights(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The tensors and the metadata of a safetensors file.

    Raises:
        WeightsError: the file is absent, no safetensors, damaged, or holds a dtype that numpy lacks.
        EnvironmentMissingError: the package safetensors is absent.
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        # Another package in the process may have taught numpy a type of its own, such as bfloat16.
        foreign = [name for name, array in tensors.items() if array.dtype.kind not in "fiub"]
        if foreign:
            raise TypeError(f"{foreign[0]} is of type {tensors[foreign[0]].dtype}, which numpy alone lacks")
        return tensors, file.metadata() or {}


def read_weights_metadata(path: Path) -> dict[str, str]:
    """The metadata alone; reads the header, not the tensors. Raises as `read_weights` does."""
    with _opened(path) as file:
        return file.metadata() or {}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    package = _package()
    if not is_safetensors(path):
        found = "no safetensors file" if path.is_file() else "no such file"
        raise WeightsError(f"{path}: {found}", hint="give the .safetensors file that edgeseg wrote")
    try:
        with package.safe_open(path, framework="np") as file:
            yield file
    except (package.SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: damaged safetensors file: {error}", hint="get or write the file again") from error


def _package() -> ModuleType:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise needs_extra("safetensors", "train", "reading or writing a .safetensors file") from error
    return safetensors


def _with_sorted_header(data: bytes) -> bytes:
    """The file with its header's keys sorted: the package writes metadata in a new random order each time."""
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    header = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text + data[_LENGTH_BYTES + length :]
