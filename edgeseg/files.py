"""Files written whole or not at all, and their content hashes. What cannot be written is said by the file's name."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from edgeseg.errors import OutputError

_REMEDIES: Mapping[int | None, str] = {
    errno.ENOSPC: "free some space there, or write elsewhere",
    errno.EDQUOT: "your quota there is used up: free some of it, or write elsewhere",
    errno.EACCES: "choose a place that you may write to",
    errno.EROFS: "choose a place that you may write to",
}

_PREFIX_LENGTH = 40
"""Letters of a file's name in its temporary name: the whole must fit 255 bytes wherever the file's own name does."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends well, and vanishes when it does not.

    A kill at any moment leaves the old file or the new one, never half of one. The suffix is kept, since
    some writers choose their format by it.

    Raises:
        OutputError: `path` cannot be written, here or by the block: the disk is full, for instance.
    """
    temporary = _temporary_beside(path)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        # The block may fail at another file or a connection: that error is not about `path`.
        if isinstance(error, ConnectionError) or error.filename not in (None, str(temporary)):
            raise
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def replacing_folder(path: Path, marker: str) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its place when the block ends well, and vanishes when it does not.

    A kill at any moment leaves the old folder, the new one or, between two renames, none: never half of one.

    Args:
        path: of the folder.
        marker: name of a file in such folders. One that lies there already is replaced if it is empty or has that
            file: another one is somebody else's.

    Raises:
        OutputError: `path` cannot be written, here or by the block, or is something else.
    """
    make_folder(path.parent)
    _refuse_another(path, marker)
    try:
        temporary = _folder_beside(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _take_place(temporary, path)
    except OSError as error:
        if error.filename is not None and temporary not in (Path(error.filename), *Path(error.filename).parents):
            raise
        raise _cannot_write(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_folder(path: Path) -> Path:
    """Make a folder where it is missing, with those above it; returns `path`.

    Raises:
        OutputError: it cannot be made, or something else has its name.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{path}: is no folder, expected one or a name that is free") from error
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


def bytes_of(path: Path) -> int:
    """Size of a file, or of all files below a folder, in bytes."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_of_folder(folder: Path, leave_out: Collection[Path] = ()) -> str:
    """Hex sha256 of the names and bytes of all files below a folder; neither of times nor of empty folders.

    It is that of the lines that `sha256sum -z` prints for these files, sorted by their names.

    Args:
        folder: with the files.
        leave_out: files below it that do not count.
    """
    found = (path for path in folder.rglob("*") if path.is_file() and path not in leave_out)
    names = {os.fsencode(path.relative_to(folder).as_posix()): path for path in found}
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(b"%s  %s\0" % (sha256_of(names[name]).encode(), name))
    return digest.hexdigest()


def _temporary_beside(path: Path) -> Path:
    make_folder(path.parent)
    try:
        if path.exists() and not path.is_file():
            # A device or a pipe would be replaced by a file, and not written to.
            raise OutputError(f"{path}: is no regular file, expected the name of a file to write")
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:_PREFIX_LENGTH]}-", suffix=path.suffix)
    except OSError as error:
        raise _cannot_write(path, error) from error
    os.close(handle)
    return Path(name)


def _folder_beside(path: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:_PREFIX_LENGTH]}-"))


def _refuse_another(path: Path, marker: str) -> None:
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path}: is no folder, expected one or a name that is free")
    if path.is_dir() and any(path.iterdir()) and not (path / marker).is_file():
        raise OutputError(
            f"{path}: a folder without {marker}, expected one with it or a name that is free",
            hint="move it away, or choose another name",
        )


def _take_place(fresh: Path, path: Path) -> None:
    """Rename; what lies there is moved aside first, since no rename replaces a folder that is not empty."""
    if not path.exists():
        fresh.rename(path)
        return
    aside = _folder_beside(path)
    try:
        path.rename(aside / "old")
        try:
            fresh.rename(path)
        except OSError:
            (aside / "old").rename(path)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: cannot be written: {error.strerror or error}", hint=_REMEDIES.get(error.errno, ""))


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
