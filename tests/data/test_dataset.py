"""An open data set: what its samples hold, and that a judge reads it."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.data.dataset import Dataset
from edgeseg.data.open import open_dataset
from edgeseg.errors import ContractError, SourceError, UsageError
from tests.data.sets import SQUARE, annotation, write_coco, write_picture, write_yolo

COCO = pytest.importorskip("pycocotools.coco").COCO
LINE = "1 0.25 0.25 0.75 0.25 0.75 0.75"


def judge(content: Any) -> Any:
    """pycocotools with a dictionary in place of a file."""
    read = COCO()
    read.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        read.createIndex()
    return read


@pytest.fixture(scope="module")
def val128(shared: Path) -> Dataset:
    return open_dataset(shared / "data" / "coco-val128" / "instances.json")


def test_a_coco_set_has_what_the_json_has(val128: Dataset, shared: Path) -> None:
    official = json.loads((shared / "data" / "coco-val128" / "instances.json").read_bytes())
    rows = {row["id"]: row for row in official["annotations"]}
    images = {row["id"]: row for row in official["images"]}
    classes = {row["id"]: row["name"] for row in official["categories"]}
    assert val128.kind == "coco"
    assert dict(zip(val128.category_ids, val128.names, strict=True)) == classes
    assert [sample.image_id for sample in val128] == list(images)
    for sample in val128:
        assert sample.path.is_file()
        assert sample.size == (images[sample.image_id]["height"], images[sample.image_id]["width"])
        for found in sample.annotations:
            row = rows.pop(found.id)
            assert row["image_id"] == sample.image_id
            assert val128.names[found.class_id] == classes[row["category_id"]]
            x, y, width, height = row["bbox"]
            assert found.xyxy == (x, y, x + width, y + height)
            assert (found.area, found.crowd) == (row["area"], bool(row["iscrowd"]))
            assert all(ring.dtype == np.float32 and ring.shape[1] == 2 for ring in found.rings)
    assert not rows


def test_masks_of_a_coco_set_are_those_of_the_judge(val128: Dataset, shared: Path) -> None:
    official = judge(json.loads((shared / "data" / "coco-val128" / "instances.json").read_bytes()))
    for sample in val128:
        for found in sample.annotations:
            counts = official.annToRLE(official.anns[found.id])["counts"]
            assert found.to_rle(sample.size)["counts"] == (counts if isinstance(counts, str) else counts.decode())


def test_to_coco_gives_the_judge_the_same_set(val128: Dataset, shared: Path) -> None:
    official = json.loads((shared / "data" / "coco-val128" / "instances.json").read_bytes())
    ours, theirs = judge(json.loads(json.dumps(val128.to_coco()))), judge(official)
    assert ours.imgs.keys() == theirs.imgs.keys()
    assert {key: row["name"] for key, row in ours.cats.items()} == {k: row["name"] for k, row in theirs.cats.items()}
    assert ours.anns.keys() == theirs.anns.keys()
    for key, row in theirs.anns.items():
        for name in ("image_id", "category_id", "bbox", "area", "iscrowd"):
            assert ours.anns[key][name] == row[name]
        counts = [read.annToRLE(read.anns[key])["counts"] for read in (ours, theirs)]
        first, second = (value if isinstance(value, bytes) else value.encode() for value in counts)
        assert first == second


def test_a_slice_is_a_set_of_those_samples(val128: Dataset) -> None:
    few = val128[4:10:2]
    assert isinstance(few, Dataset)
    assert [sample.image_id for sample in few] == [val128[at].image_id for at in (4, 6, 8)]
    assert val128[-1].image_id == val128[127].image_id
    assert {row["image_id"] for row in few.to_coco()["annotations"]} <= {sample.image_id for sample in few}
    assert few.sha256 != val128.sha256
    assert few.sha256 == val128.subset([4, 6, 8]).sha256
    with pytest.raises(IndexError):
        val128[128]


def test_sha256_tells_contents_and_not_places_apart(tmp_path: Path) -> None:
    first = open_dataset(write_coco(tmp_path / "a", [annotation()]))
    same = open_dataset(write_coco(tmp_path / "b", [annotation()]))
    moved = open_dataset(write_coco(tmp_path / "c", [annotation(segmentation=[[value + 1 for value in SQUARE]])]))
    renamed = open_dataset(
        write_coco(tmp_path / "d", [annotation()], categories=[{"id": 7, "name": "fox"}, {"id": 3, "name": "cat"}])
    )
    assert first.sha256 == same.sha256
    assert len({first.sha256, moved.sha256, renamed.sha256}) == 3


def test_a_yolo_set_has_the_labels_of_its_files(tmp_path: Path) -> None:
    dataset = open_dataset(write_yolo(tmp_path, {"b": LINE, "a": "", "c": f"0{LINE[1:]}\n\n{LINE}\n"}))
    assert dataset.kind == "yolo-seg"
    assert dataset.names == ("cat", "dog")
    assert dataset.category_ids == (0, 1)
    assert [(sample.path.name, len(sample.annotations)) for sample in dataset] == [
        ("a.png", 0),
        ("b.png", 1),
        ("c.png", 2),
    ]
    (found,) = dataset[1].annotations
    assert (found.class_id, found.crowd, found.rle) == (1, False, None)
    assert found.rings[0].tolist() == [[16, 12], [48, 12], [48, 36]]
    assert list(found.xyxy) == [16, 12, 48, 36]
    assert [a.id for sample in dataset for a in sample.annotations] == [1, 2, 3]


def test_area_of_a_yolo_label_is_the_pixels_of_its_mask(shared: Path) -> None:
    mask = pytest.importorskip("pycocotools.mask")
    dataset = open_dataset(shared / "data" / "coco128-seg" / "coco128-seg.yaml")
    for sample in dataset:
        for found in sample.annotations:
            assert found.area == mask.area(found.to_rle(sample.size))


def test_image_ids_of_a_yolo_set_are_the_numbers_of_its_files(shared: Path) -> None:
    dataset = open_dataset(shared / "data" / "coco128-seg" / "coco128-seg.yaml", split="train")
    assert [sample.image_id for sample in dataset] == [int(sample.path.stem) for sample in dataset]


@pytest.mark.parametrize("stems", [("1", "x"), ("1", "01")], ids=["no number", "twice"])
def test_image_ids_of_a_yolo_set_count_when_names_are_no_numbers(stems: tuple[str, ...], tmp_path: Path) -> None:
    dataset = open_dataset(write_yolo(tmp_path, dict.fromkeys(stems, LINE)))
    assert [sample.image_id for sample in dataset] == [1, 2]


def test_to_rle_refuses_another_size(tmp_path: Path) -> None:
    rle = {"size": [48, 64], "counts": [100, 10, 48 * 64 - 110]}
    dataset = open_dataset(write_coco(tmp_path, [annotation(segmentation=rle)]))
    with pytest.raises(ContractError, match=r"\[48, 64\]"):
        dataset[0].annotations[0].to_rle((64, 48))


@pytest.mark.parametrize(
    ("name", "match"),
    [("absent.json", "no such file"), ("folder", r"a folder with data\.yaml in it"), ("a.txt", r"\.yaml")],
    ids=["absent", "folder", "suffix"],
)
def test_open_dataset_says_what_is_there_in_place_of_a_set(name: str, match: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data.yaml").touch()
    (tmp_path / "a.txt").touch()
    with pytest.raises(SourceError, match=match):
        open_dataset(tmp_path / name)


def test_open_dataset_refuses_other_pictures_for_a_yaml(tmp_path: Path) -> None:
    path = write_yolo(tmp_path, {"a": LINE})
    with pytest.raises(UsageError, match="names its own pictures"):
        open_dataset(path, images=tmp_path)


@pytest.mark.parametrize("place", ["sub", "sub/images", "images/val", "images", "val"])
def test_pictures_of_a_coco_set_are_found_in_each_place(place: str, tmp_path: Path) -> None:
    made = write_coco(tmp_path / "made", [annotation()])
    (tmp_path / "sub").mkdir()
    path = shutil.copy(made, tmp_path / "sub" / "val.json")
    picture = write_picture(tmp_path / place / "a.png")
    assert open_dataset(Path(path))[0].path == picture


def test_pictures_of_a_coco_set_are_in_the_given_folder_alone(tmp_path: Path) -> None:
    path = write_coco(tmp_path, [annotation()])
    elsewhere = write_picture(tmp_path / "x" / "a.png").parent
    assert open_dataset(path, images=elsewhere)[0].path.parent == elsewhere
    with pytest.raises(SourceError) as caught:
        open_dataset(path, images=tmp_path / "nowhere")
    assert caught.value.message.endswith(f"none of {tmp_path / 'nowhere'}")


def test_pictures_of_a_coco_set_that_are_nowhere_name_all_that_was_tried(tmp_path: Path) -> None:
    path = write_coco(tmp_path / "set", [annotation()])
    (tmp_path / "set" / "images" / "a.png").unlink()
    with pytest.raises(SourceError) as caught:
        open_dataset(path)
    for place in ("set", "set/images", "images/instances", "images", "instances"):
        assert str(tmp_path / place) in caught.value.message
