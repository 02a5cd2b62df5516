"""Read a bundle that may come from anywhere: every name is checked before it is used, every hash before it counts.

The tar is read block by block and knows regular files only. Links, devices, folders, sparse files and extended headers
are never written by us, so each is refused by its kind. Nothing is opened but by whoever calls `unpack`, after it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from edgeseg.bundle.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    MAX_MEMBERS,
    MAX_TOTAL_BYTES,
    BundleManifest,
    Member,
    name_problem,
    read_manifest,
)
from edgeseg.errors import ArtifactError, UsageError
from edgeseg.files import make_folder

BLOCK = tarfile.BLOCKSIZE
_CHUNK = 1 << 20
_MAGIC = slice(257, 262)
"""Where a tar header says ``ustar`` (POSIX 1003.1, pax, ustar interchange format)."""

_KINDS: Mapping[bytes, str] = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.DIRTYPE: "a folder",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.XHDTYPE: "an extended header",
    tarfile.XGLTYPE: "an extended header",
    tarfile.SOLARIS_XHDTYPE: "an extended header",
    tarfile.GNUTYPE_LONGNAME: "an extended header",
    tarfile.GNUTYPE_LONGLINK: "an extended header",
}
_HINT = "it is damaged or was changed: copy it again, or make it again; do not use it"


def is_bundle(path: Path) -> bool:
    """Whether `path` is a bundle, told from its first bytes: a tar whose first member is `bundle.json`."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(BLOCK)
    return head[_MAGIC] == b"ustar" and head.startswith(f"{MANIFEST}\0".encode())


def unpack(bundle: Path, folder: Path) -> BundleManifest:
    """Write a bundle's members into a folder, all of them or none.

    Args:
        bundle: the tar.
        folder: where to; absent or empty.

    Returns:
        The manifest; every member that it lists has its hash and is in `folder`.

    Raises:
        ArtifactError: it is no bundle, is damaged, or holds what must not be unpacked.
        UsageError: the folder holds something.
        OutputError: the folder cannot be made.
    """
    if not is_bundle(bundle):
        raise ArtifactError(f"{bundle}: no bundle", hint="`edgeseg bundle ARTIFACT` makes one")
    # Padding and headers take a block each at most; what is longer holds what the manifest cannot list.
    limit = MAX_TOTAL_BYTES + 2 * BLOCK * (MAX_MEMBERS + 2)
    if bundle.stat().st_size > limit:
        raise ArtifactError(f"{bundle}: {bundle.stat().st_size} bytes, expected at most {limit}", hint=_HINT)
    make_folder(folder)
    if any(folder.iterdir()):
        raise UsageError(f"{folder}: holds files already", hint="unpack a bundle into an empty folder")
    try:
        with bundle.open("rb") as file:
            return _Reader(file, str(bundle), folder).read()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class _Reader:
    """One pass over the tar."""

    def __init__(self, file: BinaryIO, where: str, folder: Path) -> None:
        self._file, self._where, self._folder = file, where, folder
        self._seen: set[str] = set()

    def read(self) -> BundleManifest:
        first = self._header()
        if first is None or first.name != MANIFEST or not 0 < first.size <= MAX_MANIFEST_BYTES:
            raise self._refused(f"the first member is no {MANIFEST} of at most {MAX_MANIFEST_BYTES} bytes")
        manifest = read_manifest(self._content(first.size), self._where)
        self._seen.add(MANIFEST)
        while (header := self._header()) is not None:
            self._member(header, manifest.members)
        self._rest_is_empty()
        missing = sorted(manifest.members.keys() - self._seen)
        if missing:
            raise self._refused(f"{len(missing)} members of the manifest are missing, {missing[0]!r} first")
        return manifest

    def _header(self) -> tarfile.TarInfo | None:
        """The next member's header, a plain file of a harmless name; None at the end of the archive."""
        block = self._exactly(BLOCK)
        if not any(block):
            return None
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.TarError, UnicodeDecodeError, ValueError) as error:
            raise self._refused(f"a member's header is damaged: {error}") from error
        if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise self._refused(f"{header.name!r} is {_KINDS.get(header.type, 'of an unknown kind')}")
        problem = name_problem(header.name)
        if problem:
            raise self._refused(f"{header.name!r} is {problem}")
        if header.name in self._seen:
            raise self._refused(f"{header.name!r} is there twice")
        return header

    def _member(self, header: tarfile.TarInfo, members: Mapping[str, Member]) -> None:
        name = header.name
        if name not in members:
            raise self._refused(f"{name!r} is not in the manifest")
        if header.size != members[name].bytes:
            raise self._refused(f"{name!r} has {header.size} bytes, the manifest says {members[name].bytes}")
        self._seen.add(name)
        path = make_folder((self._folder / name).parent) / Path(name).name
        digest = hashlib.sha256()
        # Exclusively: what is there already is never written to.
        with path.open("xb") as written:
            left = header.size
            while left:
                chunk = self._exactly(min(left, _CHUNK))
                digest.update(chunk)
                written.write(chunk)
                left -= len(chunk)
        self._exactly(-header.size % BLOCK)
        if digest.hexdigest() != members[name].sha256:
            raise self._refused(f"{name!r} has another sha256 than the manifest says")

    def _content(self, size: int) -> bytes:
        content = self._exactly(size)
        self._exactly(-size % BLOCK)
        return content

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise self._refused("it ends before its end mark")
        return data

    def _rest_is_empty(self) -> None:
        while chunk := self._file.read(_CHUNK):
            if any(chunk):
                raise self._refused(f"something follows its end, before byte {os.fstat(self._file.fileno()).st_size}")

    def _refused(self, problem: str) -> ArtifactError:
        return ArtifactError(f"{self._where}: refused: {problem}", hint=_HINT)
