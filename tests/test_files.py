"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeseg.errors import OutputError
from edgeseg.files import make_folder, replacing, replacing_folder, sha256_of, sha256_of_folder, write_atomically


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class WriterError(Exception):
    """What a writer raises."""


@pytest.mark.parametrize("error", [WriterError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, b"old"], ids=["no file before", "a file before"])
def test_a_failed_write_leaves_no_trace_and_keeps_the_old_file(
    error: type[BaseException], old: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "a.onnx"
    if old is not None:
        path.write_bytes(old)

    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise error

    assert listing(tmp_path) == ([] if old is None else ["a.onnx"])
    assert old is None or path.read_bytes() == old


def test_the_old_file_is_whole_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"old")

    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
        assert temporary.parent == path.parent, "another file system could not be renamed from"
        assert temporary.suffix == ".onnx", "some writers choose their format by it"

    assert path.read_bytes() == b"new"
    assert listing(tmp_path) == ["a.onnx"]


def test_a_writer_that_removed_its_file_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"old")

    with pytest.raises(OutputError), replacing(path) as temporary:
        temporary.unlink()

    assert path.read_bytes() == b"old"
    assert listing(tmp_path) == ["a.onnx"]


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002], ids=oct)
def test_a_new_file_has_the_mode_that_the_umask_gives(mask: int, tmp_path: Path) -> None:
    os.umask(mask)
    write_atomically(tmp_path / "a", b"")
    (tmp_path / "plain").touch()

    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert os.umask(mask) == mask, "asking for it must not change it"


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b" / "c.txt", b"text")

    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == b"text"


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught, replacing(tmp_path / "a.json"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.message == f"{tmp_path / 'a.json'}: cannot be written: No space left on device"
    assert "free some space" in caught.value.hint
    assert listing(tmp_path) == []


def test_an_error_about_something_else_is_not_called_a_failed_write(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.json"):
        (tmp_path / "none").read_bytes()
    with pytest.raises(BrokenPipeError), replacing(tmp_path / "a.json"):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


@pytest.mark.parametrize("name", ["folder", "pipe", "file/below"])
def test_what_is_no_regular_file_is_never_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").touch()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(OutputError, match=str(tmp_path / name.partition("/")[0])):
        write_atomically(tmp_path / name, b"")

    assert (tmp_path / "pipe").is_fifo()
    assert listing(tmp_path) == ["file", "folder", "pipe"]
    assert listing(tmp_path / "folder") == ["inside"]


@pytest.mark.parametrize("name", ["n" * 250 + ".onnx", "é" * 125 + ".json"], ids=["letters", "bytes"])
def test_the_longest_file_name_that_a_disk_takes_can_be_written(name: str, tmp_path: Path) -> None:
    write_atomically(tmp_path / name, b"x")

    assert (tmp_path / name).read_bytes() == b"x"


def test_a_folder_is_made_or_refused_by_name(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert make_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    for name in ("file", "file/below"):
        with pytest.raises(OutputError, match="file"):
            make_folder(tmp_path / name)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_sha256_equals_hashlib_around_its_chunks(size: int, tmp_path: Path) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "a").write_bytes(data[:size])

    assert sha256_of(tmp_path / "a") == hashlib.sha256(data[:size]).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artifact of several files."""
    for name in ("b", "a.bin", "é", "line\nbreak", "sub/a.bin", "sub-a", "sub/deep/.hidden"):
        write_atomically(tmp_path / "artifact" / name, name.encode())
    return tmp_path / "artifact"


def test_sha256_of_a_folder_is_that_of_sha256sums_lines(folder: Path) -> None:
    lines = "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum -z"
    printed = subprocess.run(["sh", "-c", lines], cwd=folder, check=True, capture_output=True).stdout

    assert printed.count(b"\0") == 7
    assert sha256_of_folder(folder) == hashlib.sha256(printed).hexdigest()


def test_sha256_of_a_folder_changes_with_any_file_and_name_but_not_with_time(folder: Path) -> None:
    before = sha256_of_folder(folder)
    os.utime(folder / "b", (0, 0))
    assert sha256_of_folder(folder) == before
    (folder / "b").rename(folder / "c")
    renamed = sha256_of_folder(folder)
    (folder / "sub/deep/.hidden").write_bytes(b"")
    assert len({before, renamed, sha256_of_folder(folder)}) == 3


def test_sha256_of_a_folder_leaves_out_what_does_not_count(folder: Path) -> None:
    before = sha256_of_folder(folder)
    (folder / "edgeseg.json").write_text("{}")
    assert sha256_of_folder(folder) != before
    assert sha256_of_folder(folder, [folder / "edgeseg.json"]) == before


@pytest.mark.parametrize("error", [WriterError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [False, True], ids=["no folder before", "a folder before"])
def test_a_failed_folder_leaves_no_trace_and_keeps_the_old_one(
    error: type[BaseException], old: bool, tmp_path: Path
) -> None:
    path = tmp_path / "n.v1"
    if old:
        path.mkdir()
        (path / "model").write_text("old")

    with pytest.raises(error), replacing_folder(path, "model") as temporary:
        (temporary / "model").write_text("half")
        raise error

    assert listing(tmp_path) == (["n.v1"] if old else [])
    assert not old or (path / "model").read_text() == "old"


def test_a_folder_is_replaced_with_all_that_it_held(tmp_path: Path) -> None:
    path = tmp_path / "n.v1"
    path.mkdir()
    (path / "model").write_text("old")
    (path / "left over").touch()

    with replacing_folder(path, "model") as temporary:
        (temporary / "model").write_text("new")
        assert listing(path) == ["left over", "model"]

    assert listing(tmp_path) == ["n.v1"]
    assert listing(path) == ["model"]
    assert (path / "model").read_text() == "new"
    plain = tmp_path / "plain"
    plain.mkdir()
    assert path.stat().st_mode == plain.stat().st_mode


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "n"
    path.mkdir()
    with replacing_folder(path, "model") as temporary:
        (temporary / "model").touch()
    assert listing(path) == ["model"]


@pytest.mark.parametrize("kind", ["file", "somebody's folder"])
def test_what_is_not_ours_is_never_replaced(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "n"
    if kind == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "letter.txt").write_text("mine")

    with pytest.raises(OutputError, match=f"{path}: "), replacing_folder(path, "model"):
        pytest.fail("the block must not start")

    assert listing(tmp_path) == ["n"]
    assert (path if kind == "file" else path / "letter.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_said_by_its_name(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OutputError, match=f"{tmp_path / 'n'}: .*No space left"), replacing_folder(tmp_path / "n", "m"):
        raise full
    assert listing(tmp_path) == []


def test_an_error_about_another_file_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing_folder(tmp_path / "n", "model"):
        (tmp_path / "absent").read_text()
