"""A data set as training reads it: whatever the cache, the same bytes; what is broken is named."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeseg.data import labelled_set, picture_store
from edgeseg.data.free_memory import free_memory, room_to_share
from edgeseg.data.label_map import label_map
from edgeseg.data.labelled_set import Cache, LabelledSet
from edgeseg.data.letterbox import letterbox
from edgeseg.data.open import open_dataset
from edgeseg.data.picture import read_picture
from edgeseg.errors import OutputError, SourceError
from edgeseg.rle import encode
from tests.data.handmade import annotation, coco_content, write_coco, write_picture, write_yolo

SIZE = (64, 96)
LINE = "1 0.25 0.25 0.75 0.25 0.75 0.75"
CACHES: tuple[Cache, ...] = ("ram", "disk", "off", "auto")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def source(folder: Path) -> Path:
    """Three pictures of different shapes; the second has no label."""
    path = write_yolo(folder, {"train/a.png": LINE, "train/b.png": None, "train/c.png": f"{LINE}\n0{LINE[1:]}"})
    write_picture(folder / "images" / "train" / "b.png", 7, (30, 50))
    write_picture(folder / "images" / "train" / "c.png", 8, (201, 97))
    return path


def prepared(path: Path, cache: Cache = "off", *, strict: bool = False, lenient: bool = False) -> LabelledSet:
    pictures = LabelledSet(open_dataset(path, split="train", strict=not lenient), SIZE, cache, strict=strict)
    pictures.prepare()
    return pictures


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("cache", CACHES)
def test_pictures_are_those_of_the_letterbox_whatever_the_cache(cache: Cache, source: Path) -> None:
    pictures = prepared(source, cache)
    assert len(pictures) == 3
    for _ in range(2):
        for index in range(3):
            canvas, place = letterbox(read_picture(pictures.path(index)), SIZE)
            (height, width), found = place.resized, pictures.load(index).picture
            np.testing.assert_array_equal(found, canvas[place.top :, place.left :][:height, :width])


@pytest.mark.parametrize("cache", CACHES)
def test_polygons_are_scaled_with_their_picture(cache: Cache, source: Path) -> None:
    pictures = prepared(source, cache)
    labelled = pictures.load(2)
    assert labelled.class_ids.tolist() == [1, 0]
    assert labelled.class_ids.dtype == np.int64
    # 201 x 97 px in 64 rows: 64 x 31.
    assert labelled.picture.shape == (64, 31, 3)
    ring = labelled.objects[0][0]
    assert ring.dtype == np.float32
    np.testing.assert_allclose(ring, np.array([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75]]) * (31, 64), atol=1e-4)
    assert pictures.load(1).objects == ()
    assert [sample.path.name for sample in pictures.dataset] == ["a.png", "b.png", "c.png"]


def test_crowds_are_left_out_and_run_lengths_become_outlines(folder: Path) -> None:
    bitmap = np.zeros((13, 17), bool)
    bitmap[2:11, 3:15] = True
    bitmap[5:8, 6:9] = False
    mask = dict(encode(bitmap, (5, 4), (40, 40)))
    rows = [annotation(1, 1, 5, segmentation=mask), annotation(2, 1), annotation(3, 1, segmentation=mask, iscrowd=1)]
    pictures = LabelledSet(open_dataset(write_coco(folder, coco_content(1, rows))), (40, 40), "off")
    pictures.prepare()
    labelled = pictures.load(0)
    assert labelled.class_ids.tolist() == [1, 0]
    expected = np.zeros((40, 40), bool)
    expected[5:18, 4:21] = bitmap
    np.testing.assert_array_equal(label_map(labelled.objects[:1], (40, 40), stride=1) == 1, expected)


def test_memory_is_shared_with_the_caller_and_not_to_be_written(source: Path) -> None:
    pictures = prepared(source, "ram")
    first, second = pictures.load(0).picture, pictures.load(0).picture
    assert np.shares_memory(first, second)
    assert not first.flags.writeable


def report(pictures: LabelledSet, folder: Path, send: Callable[[str], None]) -> None:
    """What another process has: its pictures, though their files are gone."""
    for path in (folder / "images").rglob("*.png"):
        path.unlink(missing_ok=True)
    send(hashlib.sha256(b"".join(pictures.load(index).picture.tobytes() for index in range(3))).hexdigest())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_have_the_pictures_in_memory(method: str, source: Path) -> None:
    pictures = prepared(source, "ram")
    expected = hashlib.sha256(b"".join(pictures.load(index).picture.tobytes() for index in range(3))).hexdigest()
    context = multiprocessing.get_context(method)
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=report, args=(pictures, source.parent, send.send))  # type: ignore[attr-defined]
    process.start()
    assert receive.poll(60)
    assert receive.recv() == expected
    process.join()


def test_disk_cache_is_used_again_until_the_picture_changes(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepared(source, "disk")
    entries = sorted((source.parent / "cache" / "pictures").rglob("*.npy"))
    assert len(entries) == 3
    read: list[Path] = []

    def counted(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        read.append(path)
        return read_picture(path)

    monkeypatch.setattr(picture_store, "read_picture", counted)
    again = prepared(source, "disk")
    np.testing.assert_array_equal(again.load(0).picture, first.load(0).picture)
    assert read == []
    write_picture(source.parent / "images" / "train" / "a.png", 99)
    os.utime(source.parent / "images" / "train" / "a.png", ns=(1, 1))
    changed = prepared(source, "disk")
    assert [path.name for path in read] == ["a.png"]
    assert not np.array_equal(changed.load(0).picture, first.load(1).picture)


def test_broken_entry_on_disk_is_made_anew(source: Path) -> None:
    expected = prepared(source, "disk").load(0).picture
    for entry in (source.parent / "cache" / "pictures").rglob("*.npy"):
        entry.write_bytes(entry.read_bytes()[:100])
    np.testing.assert_array_equal(prepared(source, "disk").load(0).picture, expected)


def test_other_size_has_entries_of_its_own(source: Path) -> None:
    prepared(source, "disk")
    dataset = open_dataset(source, split="train")
    other = LabelledSet(dataset, (32, 32), "disk")
    other.prepare()
    assert other.load(0).picture.shape == (32, 32, 3)
    assert len(list((source.parent / "cache" / "pictures").rglob("*.npy"))) == 6


def test_too_little_room_for_a_cache_is_refused(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelled_set, "room_to_share", lambda: 1000)
    with pytest.raises(OutputError, match="ram") as error:
        prepared(source, "ram")
    assert "--shm-size" in error.value.hint


@pytest.mark.parametrize(
    ("free", "processes", "chosen"), [(10**6, 1, "ram"), (10**5, 4, "off"), (1000, 1, "off"), (None, 1, "off")]
)
def test_auto_takes_memory_where_half_of_what_is_free_is_enough(
    free: int | None,
    processes: int,
    chosen: str,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(labelled_set, "free_memory", lambda: free)
    caplog.set_level(logging.INFO)
    pictures = LabelledSet(open_dataset(source, split="train"), SIZE, "auto", processes=processes)
    pictures.prepare()
    assert f"cache: {chosen}:" in caplog.text
    assert pictures.load(0).picture.flags.writeable == (chosen == "off")


def test_progress_counts_every_picture(source: Path) -> None:
    seen: list[tuple[int, int]] = []
    LabelledSet(open_dataset(source, split="train"), SIZE, "ram").prepare(
        lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_broken_pictures_are_named_and_left_out(cache: Cache, source: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = open_dataset(source, split="train")
    cut_off(source.parent / "images" / "train" / "b.png")
    (source.parent / "images" / "train" / "a.png").unlink()
    pictures = LabelledSet(dataset, SIZE, cache)
    pictures.prepare()
    assert len(pictures) == 1
    assert pictures.path(0).name == "c.png"
    assert [sample.path.name for sample in pictures.dataset] == ["c.png"]
    assert pictures.load(0).class_ids.tolist() == [1, 0]
    left_out = [record.message for record in caplog.records if "left out" in record.message]
    assert len(left_out) == 2
    assert all(name in "\n".join(left_out) for name in ("a.png", "b.png"))


def test_strict_refuses_and_lists_all_broken_pictures(source: Path) -> None:
    dataset = open_dataset(source, split="train")
    for name in ("a.png", "c.png"):
        cut_off(source.parent / "images" / "train" / name)
    for cache in CACHES:
        with pytest.raises(SourceError, match="2 of 3 pictures") as error:
            LabelledSet(dataset, SIZE, cache, strict=True).prepare()
        assert "a.png" in error.value.message
        assert "c.png" in error.value.message


def test_set_without_a_picture_that_can_be_read_is_refused(source: Path) -> None:
    dataset = open_dataset(source, split="train")
    for path in (source.parent / "images").rglob("*.png"):
        path.write_bytes(b"nothing")
    with pytest.raises(SourceError, match="3 of 3"):
        LabelledSet(dataset, SIZE, "off").prepare()


def test_picture_of_another_size_than_its_annotations_is_left_out(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_coco(folder, coco_content(2, [annotation(1, 1), annotation(2, 2)]))
    write_picture(folder / "images" / "1.png", 0, (40, 41))
    pictures = LabelledSet(open_dataset(path), SIZE, "off")
    pictures.prepare()
    assert [pictures.path(index).name for index in range(len(pictures))] == ["2.png"]
    assert "41x40" in caplog.text


def test_picture_found_broken_while_training_becomes_grey_with_one_warning(
    source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = open_dataset(source, split="train")
    cut_off(source.parent / "images" / "train" / "c.png")
    pictures = LabelledSet(dataset, SIZE, "off")
    pictures.prepare()
    assert len(pictures) == 3
    for _ in range(2):
        labelled = pictures.load(2)
        assert (labelled.picture == 114).all()
        assert labelled.picture.shape == (64, 31, 3)
        assert (labelled.objects, len(labelled.class_ids)) == ((), 0)
    assert sum("c.png" in record.message for record in caplog.records) == 1
    with pytest.raises(SourceError):
        LabelledSet(dataset, SIZE, "off", strict=True).load(2)


def test_broken_label_lines_are_named_and_left_out_unless_strict(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = {"train/a.png": f"9 {LINE[2:]}\n{LINE}\n0 0.5 0.5 0.1 0.1", "train/b.png": f"{LINE}\n0 x y"}
    path = write_yolo(folder, labels)
    with pytest.raises(SourceError, match=r"a\.txt:1"):
        open_dataset(path, split="train")
    for _ in range(2):
        caplog.clear()
        dataset = open_dataset(path, split="train", strict=False)
        assert [len(sample.annotations) for sample in dataset] == [1, 1]
        named = [name for name in ("a.txt:1", "a.txt:3", "b.txt:2") if name in caplog.text]
        assert named == ["a.txt:1", "a.txt:3", "b.txt:2"]
    with pytest.raises(SourceError, match=r"a\.txt:1"):
        open_dataset(path, split="train")


def test_pictures_without_a_header_or_a_file_are_named_and_left_out_unless_strict(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_yolo(folder, {"train/a.png": LINE, "train/b.png": LINE})
    (folder / "images" / "train" / "b.png").write_bytes(b"no picture")
    (folder / "train.txt").write_text("images/train/a.png\nimages/train/b.png\nimages/train/gone.png\n")
    path.write_text("train: train.txt\nnames: [cat, dog]\n")
    with pytest.raises(SourceError, match=r"gone\.png"):
        open_dataset(path, split="train")
    dataset = open_dataset(path, split="train", strict=False)
    assert [sample.path.name for sample in dataset] == ["a.png"]
    assert "b.png" in caplog.text
    assert "gone.png" in caplog.text


def test_broken_coco_annotations_are_named_and_left_out_unless_strict(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [annotation(1, 1), annotation(2, 1, segmentation=[]), annotation(3, 2, 77), annotation(4, 2, 5)]
    path = write_coco(folder, coco_content(2, rows))
    with pytest.raises(SourceError, match="annotation 2"):
        open_dataset(path)
    dataset = open_dataset(path, strict=False)
    assert [[row.id for row in sample.annotations] for sample in dataset] == [[1], [4]]
    assert "annotation 2" in caplog.text
    assert "annotation 3" in caplog.text


def test_sets_without_mistakes_are_the_same_read_either_way(source: Path) -> None:
    strict, lenient = open_dataset(source, split="train"), open_dataset(source, split="train", strict=False)
    assert strict.sha256 == lenient.sha256
    assert strict.notes == lenient.notes


def test_free_memory_is_the_least_of_machine_and_container(tmp_path: Path) -> None:
    assert free_memory(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    assert free_memory(tmp_path) == 8000 * 1024
    cgroup = tmp_path / "sys" / "fs" / "cgroup"
    cgroup.mkdir(parents=True)
    files = {"memory.max": "max", "memory.current": "3000000", "memory.stat": "anon 5\nfile 1000000\nshmem 200000\n"}
    for name, text in files.items():
        (cgroup / name).write_text(text)
    assert free_memory(tmp_path) == 8000 * 1024
    (cgroup / "memory.max").write_text("4000000\n")
    assert free_memory(tmp_path) == 4_000_000 - 3_000_000 + 1_000_000 - 200_000


def test_free_memory_of_this_machine_is_believable() -> None:
    found = free_memory()
    assert found is None or 10**7 < found < 10**14
    assert room_to_share() > 0
