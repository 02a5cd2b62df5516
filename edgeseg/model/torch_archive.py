"""The zip file that `torch.save` writes since torch 1.6: one pickle, and one uncompressed file per storage."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.errors import WeightsError
from edgeseg.model.pickle_globals import STORAGE_DTYPES, StorageRef, StoredTensor
from edgeseg.model.restricted_pickle import read_pickle

MAX_PICKLE_BYTES = 64 * 2**20
"""Largest pickle that is read; the official nano segmentation checkpoint has 94,147 bytes."""

MAX_EXPANSION = 4
"""Tensors may take this many times the file's size: several may share a storage, a hostile file repeats one."""

_MAX_ELEMENTS = 2**31
_MAX_DIMENSIONS = 8
_SAVE_AGAIN = "load it with the torch that wrote it and torch.save() it again with torch 1.6 or newer"

_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    IndexError,
    OverflowError,
    struct.error,
)
"""What `zipfile` raises for a damaged archive (RuntimeError: encrypted; its subclass: unknown compression)."""

_OTHER_KINDS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "a checkpoint of torch before 1.6, one bare pickle", _SAVE_AGAIN),
    (257, b"ustar", "a tar file, as torch before 0.1.10 wrote", _SAVE_AGAIN),
    (0, b"\x80", "a bare pickle, not a checkpoint", _SAVE_AGAIN),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "run: git lfs pull"),
    (0, b"<", "an HTML or XML page", "the download gave a page instead of the file; get it again"),
    (8, b"{", "no zip archive; it looks like safetensors", "name it .safetensors, or give it as it is to edgeseg"),
)
"""Offset, first bytes, what such a file is, and the remedy."""


class TorchArchive:
    """An open, checked archive. Make one with `open_archive`."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive = archive
        self._path = path
        self._size = path.stat().st_size
        self._members = _checked_members(archive, path, self._size)
        self._storages: dict[str, bytes] = {}
        self._budget = MAX_EXPANSION * self._size

    def root(self) -> Any:
        """The pickled value, with `StoredTensor` for each tensor."""
        info = self._members["data.pkl"]
        if info.file_size > MAX_PICKLE_BYTES:
            raise WeightsError(f"{self._path}: its pickle has {info.file_size} bytes, at most {MAX_PICKLE_BYTES}")
        order = self._read("byteorder") if "byteorder" in self._members else b"little"
        if order != b"little":
            raise WeightsError(f"{self._path}: written in byte order {order[:16]!r}, expected b'little'")
        return read_pickle(self._read("data.pkl"), str(self._path))

    def tensor(self, stored: StoredTensor, name: str) -> NDArray[Any]:
        """A contiguous copy of one tensor, in the element type it is stored in.

        Args:
            stored: the view, as the pickle describes it.
            name: the tensor's name, for error messages.

        Raises:
            WeightsError: the view leaves its storage, or the storage is absent or of another length.
        """
        dtype = self._dtype(stored.storage, name)
        problem = _view_problem(stored)
        if problem:
            raise WeightsError(f"{self._path}: tensor {name!r}: {problem}", hint="the file is damaged; get it again")
        self._budget -= math.prod(stored.shape) * dtype.itemsize
        if self._budget < 0:
            raise WeightsError(
                f"{self._path}: its tensors take more than {MAX_EXPANSION} times the file's {self._size} bytes"
            )
        raw = self._storage(stored.storage, dtype, name)
        if math.prod(stored.shape) == 0:
            return np.zeros(stored.shape, dtype)
        flat = np.frombuffer(raw, dtype)[stored.offset :]
        strides = [stride * dtype.itemsize for stride in stored.strides]
        return np.lib.stride_tricks.as_strided(flat, stored.shape, strides, writeable=False).copy(order="C")

    def _dtype(self, storage: StorageRef, name: str) -> np.dtype[Any]:
        if storage.kind not in STORAGE_DTYPES:
            raise WeightsError(
                f"{self._path}: tensor {name!r} is stored as {storage.kind}; readable: " + ", ".join(STORAGE_DTYPES),
                hint="convert the model with torch, model.float(), and save it again",
            )
        return np.dtype(STORAGE_DTYPES[storage.kind])

    def _storage(self, storage: StorageRef, dtype: np.dtype[Any], name: str) -> bytes:
        member = f"data/{storage.key}"
        info = self._members.get(member)
        expected = storage.count * dtype.itemsize
        if info is None or info.file_size != expected:
            found = "absent" if info is None else f"of {info.file_size} bytes"
            raise WeightsError(
                f"{self._path}: tensor {name!r}: its storage {storage.key[:40]!r} is {found}, "
                f"expected {expected} bytes",
                hint="the file is damaged; get it again",
            )
        if member not in self._storages:
            self._storages[member] = self._read(member)
        return self._storages[member]

    def _read(self, member: str) -> bytes:
        try:
            return self._archive.read(self._members[member])
        except _ZIP_ERRORS as error:
            raise _damaged(self._path, f"{member}: {error}") from error


def looks_like_checkpoint(path: Path) -> bool:
    """Whether a file is what `torch.save` writes, told from the names in its zip directory; TorchScript is not."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = {name.partition("/")[2] for name in archive.namelist()}
    except _ZIP_ERRORS:
        return False
    return "data.pkl" in parts and "constants.pkl" not in parts


@contextmanager
def open_archive(path: Path) -> Iterator[TorchArchive]:
    """Open a checkpoint's zip file and check its table of contents before anything is read.

    Raises:
        WeightsError: it is something else, or damaged, compressed, or larger inside than outside.
    """
    _check_kind(path)
    try:
        archive = zipfile.ZipFile(path)
    except _ZIP_ERRORS as error:
        raise _damaged(path, str(error)) from error
    with archive:
        yield TorchArchive(archive, path)


def _check_kind(path: Path) -> None:
    if not path.is_file():
        raise WeightsError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}, expected a checkpoint")
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error}") from error
    if start.startswith(b"PK\x03\x04"):
        return
    for offset, magic, kind, remedy in _OTHER_KINDS:
        if start.startswith(magic, offset):
            raise WeightsError(f"{path}: {kind}", hint=remedy)
    raise WeightsError(
        f"{path}: {'no zip archive' if start else 'the file is empty'}, expected a checkpoint of torch 1.6 or newer",
        hint="get the file again",
    )


def _checked_members(archive: zipfile.ZipFile, path: Path, size: int) -> dict[str, zipfile.ZipInfo]:
    """Members by their name under the archive's single top folder."""
    members: dict[str, zipfile.ZipInfo] = {}
    tops = set()
    if any(info.filename.endswith("/constants.pkl") for info in archive.infolist()):
        raise WeightsError(
            f"{path}: a TorchScript archive, not a checkpoint", hint="give the checkpoint that it was exported from"
        )
    for info in archive.infolist():
        top, _, name = info.filename.partition("/")
        shown = repr(info.filename[:80])
        if not name or top in ("", "..") or ".." in name.split("/") or "\\" in info.filename or name in members:
            raise _damaged(path, f"the name of its member {shown}")
        # torch stores without compression, so nothing can be larger inside than it is outside.
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
            raise _damaged(path, f"its member {shown} is compressed or encrypted, which torch never does")
        tops.add(top)
        members[name] = info
    if sum(info.file_size for info in members.values()) > size:
        raise _damaged(path, f"its members claim more than the {size} bytes of the file")
    if "data.pkl" not in members or len(tops) != 1:
        raise WeightsError(f"{path}: a zip archive, but not of torch.save(): it has no <folder>/data.pkl")
    return members


def _view_problem(stored: StoredTensor) -> str:
    shape, strides, count = stored.shape, stored.strides, stored.storage.count
    if len(shape) != len(strides) or len(shape) > _MAX_DIMENSIONS:
        return f"{len(shape)} sizes and {len(strides)} strides, expected equally many, at most {_MAX_DIMENSIONS}"
    if min((stored.offset, *shape, *strides)) < 0:
        return "a negative offset, size or stride"
    if math.prod(shape) > count or math.prod(max(size, 1) for size in shape) > _MAX_ELEMENTS:
        return "it has more elements than its storage"
    last = stored.offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    return "it reaches past the end of its storage" if math.prod(shape) and last >= count else ""


def _damaged(path: Path, problem: str) -> WeightsError:
    return WeightsError(f"{path}: damaged or hostile archive: {problem}", hint="get the file again")
