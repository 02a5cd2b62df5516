"""The index cache: the same set from it, never a stale or a broken one, never a failure."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgeseg.data import index_cache
from edgeseg.data import open as opening
from edgeseg.data.dataset import Dataset
from edgeseg.data.index import ARRAYS
from edgeseg.data.open import open_dataset
from edgeseg.data.yolo_yaml import list_pictures, read_yaml
from edgeseg.errors import SourceError
from tests.data.sets import annotation, write_coco, write_picture, write_yolo

LINE = "1 0.25 0.25 0.75 0.25 0.75 0.75"
NO_READER = "not to be read again"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=["coco", "yolo-seg"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "coco":
        rle = {"size": [48, 64], "counts": [100, 10, 48 * 64 - 110]}
        rows = [annotation(1), annotation(2, rle, iscrowd=1), annotation(3, image_id=99)]
        return write_coco(tmp_path / "set", rows)
    return write_yolo(tmp_path / "set", {"a": LINE, "b": None})


def without_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError(NO_READER)

    monkeypatch.setattr(opening, "read_coco", fail)
    monkeypatch.setattr(opening, "read_yolo", fail)


def same(first: Dataset, second: Dataset) -> None:
    assert (first.names, first.category_ids, first.notes) == (second.names, second.category_ids, second.notes)
    assert first.sha256 == second.sha256
    assert [sample.path for sample in first] == [sample.path for sample in second]
    for name in ARRAYS:
        ours, theirs = getattr(first.arrays, name), getattr(second.arrays, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_second_opening_reads_no_annotation_and_gives_the_same(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_dataset(source)
    assert first.notes
    without_readers(monkeypatch)
    same(first, open_dataset(source))


def test_cache_is_renewed_when_a_json_changes(tmp_path: Path, cache: Path) -> None:
    open_dataset(write_coco(tmp_path / "set", [annotation()]))
    assert open_dataset(write_coco(tmp_path / "set", [annotation(), annotation(2)])).sha256
    assert len(open_dataset(tmp_path / "set" / "instances.json")[0].annotations) == 2
    assert len(list(cache.rglob("*.npz"))) == 1


@pytest.mark.parametrize("change", ["content", "new label", "new picture", "other picture", "names"])
def test_cache_is_renewed_when_a_yolo_set_changes(change: str, tmp_path: Path, cache: Path) -> None:
    path = write_yolo(tmp_path, {"a": LINE, "b": None})
    before = open_dataset(path)
    if change == "content":
        label = tmp_path / "labels" / "val" / "a.txt"
        label.write_text(f"0{LINE[1:]}")
        os.utime(label, ns=(0, label.stat().st_mtime_ns + 1))
    elif change == "new label":
        (tmp_path / "labels" / "val" / "b.txt").write_text(LINE)
    elif change == "new picture":
        write_picture(tmp_path / "images" / "val" / "c.png")
    elif change == "other picture":
        write_picture(tmp_path / "images" / "val" / "a.png", (100, 200))
    else:
        path.write_text("val: images/val\nnames: [cat, fox]\n")
    after = open_dataset(path)
    assert after.sha256 != before.sha256
    assert after[0].size == ((100, 200) if change == "other picture" else (48, 64))


@pytest.mark.parametrize("file", ["images/val/a.png", "images/val/b.png", "labels/val/a.txt"])
@pytest.mark.parametrize("change", ["time", "size", "link"])
def test_a_change_of_any_file_is_noticed(change: str, file: str, tmp_path: Path) -> None:
    source = read_yaml(write_yolo(tmp_path, {"a": LINE, "b": None}))
    before = list_pictures(source, "val").sha256
    assert list_pictures(source, "val").sha256 == before
    path = tmp_path / file
    status = path.stat()
    if change == "time":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    elif change == "size":
        path.write_bytes(path.read_bytes() + b"\n")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        # The link stays as it is, what it points to changes.
        target = path.rename(tmp_path / "target")
        path.symlink_to(target)
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert list_pictures(source, "val").sha256 != before


@pytest.mark.parametrize("file", ["images/val/a.png", "labels/val/a.txt"])
def test_a_link_to_nothing_is_named(file: str, tmp_path: Path) -> None:
    path = write_yolo(tmp_path, {"a": LINE, "b": LINE})
    (tmp_path / file).unlink()
    (tmp_path / file).symlink_to(tmp_path / "nothing")
    with pytest.raises(SourceError, match=f"{tmp_path / file}: No such file"):
        open_dataset(path)


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "bit", "other file"])
def test_broken_cache_is_ignored_and_rewritten(
    damage: str, source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = open_dataset(source)
    (entry,) = cache.rglob("*.npz")
    data = entry.read_bytes()
    if damage == "other file":
        np.savez(entry, words=np.zeros(3, np.uint8))
    else:
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
        entry.write_bytes({"cut": data[:middle], "garbage": b"PK\x03\x04x", "empty": b"", "bit": flipped}[damage])
    with caplog.at_level("DEBUG", logger="edgeseg.data.index_cache"):
        same(first, open_dataset(source))
    if damage != "bit":
        # A flipped bit may lie where a zip file keeps nothing of worth.
        assert "broken" in caplog.text
    without_readers(monkeypatch)
    same(first, open_dataset(source))


@pytest.mark.parametrize("place", ["a file", "no permission", "no home"])
def test_set_opens_when_nothing_can_be_kept(
    place: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGESEG_CACHE", raising=False)
    if place == "a file":
        (tmp_path / "taken").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    elif place == "no permission":
        # Nobody can make a folder here, not even root.
        monkeypatch.setenv("EDGESEG_CACHE", "/proc/none/edgeseg")
    else:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert len(open_dataset(source)[0].annotations) >= 1


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"EDGESEG_CACHE": "/x", "XDG_CACHE_HOME": "/y"}, Path("/x")),
        ({"XDG_CACHE_HOME": "/y"}, Path("/y/edgeseg")),
        ({"HOME": "/z"}, Path("/z/.cache/edgeseg")),
    ],
    ids=["own", "XDG", "home"],
)
def test_cache_folder_follows_the_environment(
    variables: dict[str, str], expected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EDGESEG_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert index_cache.cache_folder() == expected


def test_sizes_from_picture_files_are_not_kept(tmp_path: Path, cache: Path) -> None:
    path = write_coco(tmp_path / "set", [annotation()], images=[{"id": 1, "file_name": "a.png"}])
    assert open_dataset(path)[0].size == (48, 64)
    write_picture(tmp_path / "set" / "images" / "a.png", (50, 70))
    assert open_dataset(path)[0].size == (50, 70)
