"""Which pictures a data set has: every place they may lie in, and every way that a set can be broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeseg.data.pictures import drawn, pictures_of
from edgeseg.errors import SourceError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def coco(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": [{"id": i, "file_name": name} for i, name in enumerate(names)]}))
    return path


@pytest.mark.parametrize("place", ["sub", "sub/images", "images/val", "images", "val"])
def test_a_coco_set_is_found_in_each_place_in_its_own_order(place: str, tmp_path: Path) -> None:
    annotations = coco(tmp_path / "sub" / "val.json", "b.jpg", "a.jpg")
    touch(tmp_path / place / "a.jpg", tmp_path / place / "b.jpg", tmp_path / place / "c.jpg")

    assert pictures_of(annotations) == [tmp_path / place / "b.jpg", tmp_path / place / "a.jpg"]


def test_the_folder_that_is_given_goes_before_all_others(tmp_path: Path) -> None:
    annotations = coco(tmp_path / "val.json", "a.jpg")
    touch(tmp_path / "a.jpg", tmp_path / "elsewhere" / "a.jpg")

    assert pictures_of(annotations, tmp_path / "elsewhere") == [tmp_path / "elsewhere" / "a.jpg"]


def test_a_coco_set_without_its_pictures_names_all_that_was_tried(tmp_path: Path) -> None:
    annotations = coco(tmp_path / "annotations" / "val.json", "a.jpg")

    with pytest.raises(SourceError) as caught:
        pictures_of(annotations)
    for place in ("annotations", "annotations/images", "images/val", "images", "val"):
        assert str(tmp_path / place) in caught.value.message
    assert "a.jpg" in caught.value.message


def test_given_pictures_that_are_not_there_are_not_looked_for_elsewhere(tmp_path: Path) -> None:
    annotations = coco(tmp_path / "val.json", "a.jpg")
    touch(tmp_path / "a.jpg")

    with pytest.raises(SourceError, match="empty"):
        pictures_of(annotations, tmp_path / "empty")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"images": 1}', b'{"images": [1]}', b'{"images": [{}]}', b"[" * 100_000, b"\xff\xfe",
     b'{"images": [{"file_name": 7}]}', b'{"images": [{"file_name": null}]}'],
    ids=lambda content: content[:32].decode(errors="replace"),
)  # fmt: skip
def test_a_broken_coco_file_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "val.json"
    path.write_bytes(content)

    with pytest.raises(SourceError, match="no COCO instances file") as caught:
        pictures_of(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("name", ["none.json", "none.yaml", "none"])
def test_an_absent_data_set_is_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="none"):
        pictures_of(tmp_path / name)


def test_a_coco_set_of_no_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no pictures in this data set"):
        pictures_of(coco(tmp_path / "val.json"))


def test_a_folder_gives_its_pictures_sorted_and_nothing_else(tmp_path: Path) -> None:
    touch(tmp_path / "b.PNG", tmp_path / "a.jpg", tmp_path / "notes.txt", tmp_path / "deeper" / "c.jpg")

    assert pictures_of(tmp_path) == [tmp_path / "a.jpg", tmp_path / "b.PNG"]


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no pictures in this data set"):
        pictures_of(tmp_path)


def test_a_yolo_set_gives_its_val_pictures_under_its_path(tmp_path: Path) -> None:
    touch(tmp_path / "set/images/val/x/b.jpg", tmp_path / "set/images/val/a.jpg", tmp_path / "set/images/train/t.jpg")
    path = tmp_path / "set.yaml"
    path.write_text("path: set\ntrain: images/train\nval: images/val\nnames: [a]\n")

    assert pictures_of(path) == [tmp_path / "set/images/val/a.jpg", tmp_path / "set/images/val/x/b.jpg"]


def test_a_yolo_set_without_val_gives_train_and_several_parts_in_order(tmp_path: Path) -> None:
    touch(tmp_path / "two/b.jpg", tmp_path / "one/a.jpg")
    path = tmp_path / "set.yaml"
    path.write_text("train: [two, one]\n")

    assert pictures_of(path) == [tmp_path / "two/b.jpg", tmp_path / "one/a.jpg"]


def test_a_yolo_list_of_pictures_is_relative_to_the_list(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "val.txt").write_text("./a.jpg\n\n  sub/b.jpg  \n")
    path = tmp_path / "set.yaml"
    path.write_text("val: lists/val.txt\n")

    assert pictures_of(path) == [tmp_path / "lists/a.jpg", tmp_path / "lists/sub/b.jpg"]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"names: [a]\n", b"val: [\n", b"text", b"\xff\xd8\xff\xe0 a jpeg", b"val: nowhere\n", b"[" * 20_000],
    ids=lambda content: content[:16].decode(errors="replace"),
)
def test_a_broken_yolo_file_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "set.yaml"
    path.write_bytes(content)

    with pytest.raises(SourceError) as caught:
        pictures_of(path)
    assert str(path) in caught.value.message


def test_drawn_takes_all_of_a_small_set() -> None:
    pictures = [Path(f"{i}.jpg") for i in range(3)]

    assert drawn(pictures, 3, seed=0) == drawn(pictures, 10, seed=1) == pictures


def test_drawn_takes_the_same_pictures_for_the_same_seed_in_order() -> None:
    pictures = [Path(f"{i:03}.jpg") for i in range(200)]

    once = drawn(pictures, 20, seed=0)

    assert once == drawn(pictures, 20, seed=0) == sorted(set(once))
    assert len(once) == 20
    assert once != drawn(pictures, 20, seed=1)
