"""YOLO-seg: what the yaml may say, where pictures and labels lie, and each rule for a line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from edgeseg.data.open import open_dataset
from edgeseg.errors import SourceError, UsageError
from tests.data.sets import write_picture, write_yolo

LINE = "1 0.25 0.25 0.75 0.25 0.75 0.75"


def stems(path: Path, split: str = "val") -> list[str]:
    return [sample.path.stem for sample in open_dataset(path, split=split)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("[cat, dog]", ("cat", "dog")),
        ("{0: cat, 1: dog}", ("cat", "dog")),
        ("{1: dog, 0: cat}", ("cat", "dog")),
        ("[no, 010]", ("no", "010")),
    ],
    ids=["list", "map", "map in another order", "words of YAML"],
)
def test_names_are_a_list_or_a_map(names: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    path = write_yolo(tmp_path, {"a": LINE}, f"val: images/val\nnames: {names}\n")
    assert open_dataset(path).names == expected


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("val: images/val\nnames: {0: cat, 2: dog}", "gaps: 1 not there"),
        ("val: images/val\nnames: {x: cat}", "gaps"),
        ("val: images/val\nnames: 2", "expected a list, or a map"),
        ("val: images/val", "names None"),
        ("val: images/val\nnames: [cat, '']", "expected a text for each class"),
        ("val: images/val\nnames: [cat, dog]\nnc: 3", "nc 3, but 2 names"),
        ("names: [cat, dog]", "none of train, val, test"),
        ("val: {a: b}\nnames: [cat, dog]", "expected a folder"),
        ("- 1", "expected a map"),
        ("a: [", "no YAML"),
        ("val: images/none\nnames: [cat, dog]", "images/none is neither a folder nor a .txt list"),
        ("val: labels\nnames: [cat, dog]", "no pictures"),
    ],
)
def test_a_yaml_that_is_no_set_says_what_is_wrong(text: str, match: str, tmp_path: Path) -> None:
    path = write_yolo(tmp_path, {"a": LINE}, text)
    with pytest.raises(SourceError, match=match):
        open_dataset(path)


def test_a_split_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    path = write_yolo(tmp_path, {"a": LINE})
    with pytest.raises(UsageError, match="no split 'test'") as caught:
        open_dataset(path, split="test")
    assert "val" in caught.value.hint


def test_a_path_that_a_tool_wrote_one_folder_too_high_is_suggested(tmp_path: Path) -> None:
    path = write_yolo(tmp_path / "set", {"a": LINE}, "val: ../images/val\nnames: [cat, dog]")
    with pytest.raises(SourceError) as caught:
        open_dataset(path)
    assert str(tmp_path / "set" / "images" / "val") in caught.value.hint


@pytest.mark.parametrize("root", [".", "../set", "absolute", ""], ids=["dot", "relative", "absolute", "absent"])
def test_path_is_relative_to_the_yaml(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"path: {tmp_path / 'set' if root == 'absolute' else root}\n" if root else ""
    write_yolo(tmp_path / "set", {"a": LINE}, f"{line}val: images/val\nnames: [cat, dog]")
    monkeypatch.chdir(tmp_path)
    assert stems(Path("set/data.yaml")) == ["a"]


@pytest.mark.parametrize(
    "entry",
    ["images/val", "[images/val]", "[images, images/val/sub]", "all.txt", "lists/all.txt", "images"],
    ids=["folder", "list of one", "listed again", "list beside", "list elsewhere", "folder above"],
)
def test_a_split_is_a_folder_a_list_or_several(entry: str, tmp_path: Path) -> None:
    path = write_yolo(tmp_path, {"b": LINE, "a": ""}, f"val: {entry}\nnames: [cat, dog]")
    (tmp_path / "images" / "val" / "notes.md").touch()
    (tmp_path / "images" / "val" / "._a.png").touch()
    listed = "images/val/a.png\n\n./images/val/b.png\n"
    (tmp_path / "all.txt").write_text(listed)
    # From its own folder these are not there, so they are from the root.
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "all.txt").write_text(listed)
    if "sub" in entry:
        with pytest.raises(SourceError, match="neither a folder"):
            open_dataset(path)
        return
    assert stems(path) == ["a", "b"]


def test_a_list_keeps_its_order_and_names_a_picture_that_is_missing(tmp_path: Path) -> None:
    path = write_yolo(tmp_path, {"b": LINE, "a": ""}, "val: all.txt\nnames: [cat, dog]")
    (tmp_path / "all.txt").write_text("images/val/b.png\nimages/val/a.png\n")
    assert stems(path) == ["b", "a"]
    (tmp_path / "all.txt").write_text("images/val/b.png\nimages/val/c.png\n")
    with pytest.raises(SourceError, match=r"all\.txt:2: .*c\.png"):
        open_dataset(path)


@pytest.mark.parametrize(
    ("pictures", "labels"),
    [
        ("images/val", "labels/val"),
        ("val/images", "val/labels"),
        ("images/images/x", "images/labels/x"),
        ("pictures", "pictures"),
        ("images", "labels"),
    ],
)
def test_labels_lie_in_labels_for_the_last_images(pictures: str, labels: str, tmp_path: Path) -> None:
    write_picture(tmp_path / pictures / "a.b.png")
    (tmp_path / labels).mkdir(parents=True, exist_ok=True)
    (tmp_path / labels / "a.b.txt").write_text(LINE)
    path = tmp_path / "data.yaml"
    path.write_text(f"val: {pictures}\nnames: [cat, dog]")
    assert len(open_dataset(path)[0].annotations) == 1


def test_a_linked_picture_has_its_labels_beside_the_link(tmp_path: Path) -> None:
    path = write_yolo(tmp_path / "set", {"a": LINE})
    there = tmp_path / "elsewhere" / "a.png"
    there.parent.mkdir()
    shutil.move(tmp_path / "set" / "images" / "val" / "a.png", there)
    (tmp_path / "set" / "images" / "val" / "a.png").symlink_to(there)
    assert len(open_dataset(path)[0].annotations) == 1


def test_a_picture_without_a_label_file_is_background_and_counted(tmp_path: Path) -> None:
    dataset = open_dataset(write_yolo(tmp_path, {"a": LINE, "b": None, "c": ""}))
    assert [len(sample.annotations) for sample in dataset] == [1, 0, 0]
    assert dataset.notes == ("1 pictures without a label file: taken as background",)


def test_a_set_without_any_label_file_says_where_they_are_expected(tmp_path: Path) -> None:
    path = write_yolo(tmp_path, {"a": None})
    with pytest.raises(SourceError, match=r"labels/val/a\.txt"):
        open_dataset(path)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("1 0.5 0.5 0.2 0.2", "a box"),
        ("2 0.1 0.1 0.2 0.1 0.2 0.2", r"class 2, expected 0\.\.1"),
        ("-1 0.1 0.1 0.2 0.1 0.2 0.2", "class -1"),
        ("0.5 0.1 0.1 0.2 0.1 0.2 0.2", r"class 0\.5"),
        ("dog 0.1 0.1 0.2 0.1 0.2 0.2", "expected a class id and numbers"),
        (f"{LINE} 0.9", "7 numbers after the class"),
        ("1 0.1 0.1", "an outline of 1 points"),
        ("1", "an outline of 0 points"),
        ("1 0.1 0.1 0.2 nan 0.2 0.2", "not finite"),
        ("1 0.1 0.1 0.2 inf 0.2 0.2", "not finite"),
        ("1 0.1 0.1 0.2 1.01 0.2 0.2", r"a coordinate of 1\.01"),
        ("1 0.1 0.1 0.2 -0.5 0.2 0.2", r"a coordinate of -0\.5"),
        ("1 10 10 20 10 20 20", "a coordinate of 20"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_with_its_number(line: str, match: str, tmp_path: Path) -> None:
    path = write_yolo(tmp_path, {"a": "", "b": f"{LINE}\n\n{line}\n"})
    with pytest.raises(SourceError, match=rf"labels/val/b\.txt:3: .*{match}"):
        open_dataset(path)


def test_coordinates_that_rounding_put_out_of_range_are_put_on_the_edge(tmp_path: Path) -> None:
    dataset = open_dataset(write_yolo(tmp_path, {"a": "1 -0.0005 0 1.0009 0 1 1"}))
    assert dataset[0].annotations[0].rings[0].tolist() == [[0, 0], [64, 0], [64, 48]]
    assert dataset.notes == ("1 labels with coordinates out of 0..1 by up to 0.001: put on the edge",)


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    path = write_yolo(tmp_path, {"a": LINE})
    (tmp_path / "images" / "val" / "a.png").write_bytes(b"text")
    with pytest.raises(SourceError, match=r"a\.png: text, expected a picture"):
        open_dataset(path)


def test_labels_are_parts_of_the_upright_picture(tmp_path: Path) -> None:
    path = write_yolo(tmp_path, {"a": LINE})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(tmp_path / "images" / "val" / "a.png", exif=exif)
    (sample,) = open_dataset(path)
    assert sample.size == (64, 48)
    assert sample.annotations[0].rings[0].tolist() == [[12, 16], [36, 16], [36, 48]]
