"""COCO json: every kind of mask, and each rule for what is odd or wrong."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.data.dataset import Dataset
from edgeseg.data.open import open_dataset
from edgeseg.errors import SourceError
from tests.data.sets import SQUARE, annotation, write_coco, write_picture

mask = pytest.importorskip("pycocotools.mask")

TOTAL = 48 * 64
RUNS = [100, 10, TOTAL - 110]


def opened(folder: Path, *rows: dict[str, Any], **lists: Any) -> Dataset:
    return open_dataset(write_coco(folder, rows, **lists))


def test_classes_are_in_the_order_of_the_category_ids(tmp_path: Path) -> None:
    dataset = opened(tmp_path, annotation(1), annotation(2, category_id=3))
    assert (dataset.names, dataset.category_ids) == (("cat", "dog"), (3, 7))
    assert [found.class_id for found in dataset[0].annotations] == [1, 0]


def test_polygon_of_several_parts_is_their_union(tmp_path: Path) -> None:
    parts = [SQUARE, [20.0, 20.0, 40.0, 20.0, 40.0, 40.0, 20.0, 40.0]]
    (found,) = opened(tmp_path, annotation(segmentation=parts))[0].annotations
    assert len(found.rings) == 2
    assert mask.area(found.to_rle((48, 64))) == 400 + 400 - 100


@pytest.mark.parametrize("packed", [True, False], ids=["compressed", "uncompressed"])
def test_run_lengths_are_read_in_both_forms(packed: bool, tmp_path: Path) -> None:
    runs = {"size": [48, 64], "counts": RUNS}
    packed_runs = mask.frPyObjects(runs, 48, 64)
    packed_runs["counts"] = packed_runs["counts"].decode()
    dataset = opened(tmp_path, annotation(segmentation=packed_runs if packed else runs, iscrowd=1))
    (found,) = dataset[0].annotations
    assert found.crowd
    assert found.rings == ()
    assert found.rle == packed_runs
    assert dataset.notes == ()


def test_annotations_of_unknown_pictures_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="edgeseg"):
        dataset = opened(tmp_path, annotation(1), annotation(2, image_id=5), annotation(3, image_id=6))
    assert len(dataset[0].annotations) == 1
    assert dataset.notes == ("2 annotations of pictures that the file does not list: left out",)
    assert dataset.notes[0] in caplog.text


def test_box_and_area_are_worked_out_when_they_are_missing(tmp_path: Path) -> None:
    runs = {"size": [48, 64], "counts": RUNS}
    dataset = opened(tmp_path, annotation(1, bbox=None, area=None), annotation(2, runs, bbox=None, area=None))
    polygon, run_lengths = dataset[0].annotations
    assert (polygon.xyxy, polygon.area) == ((10, 10, 30, 30), 400)
    # 100 pixels are two columns of 48 and 4 rows.
    assert (run_lengths.xyxy, run_lengths.area) == ((2, 4, 3, 14), 10)
    assert dataset.notes == (
        "2 annotations without bbox: worked out from the mask",
        "2 annotations without area: worked out from the mask",
    )


@pytest.mark.parametrize("ids", [(0, 1), (4, 4), (None, 5)], ids=["zero", "twice", "absent"])
def test_annotations_are_numbered_when_their_ids_do_not_serve(ids: tuple[Any, Any], tmp_path: Path) -> None:
    rows = [annotation() | {"id": number} for number in ids]
    dataset = opened(tmp_path, *({k: v for k, v in row.items() if v is not None} for row in rows))
    assert [found.id for found in dataset[0].annotations] == [1, 2]
    assert any("numbered anew" in note for note in dataset.notes)


def test_points_out_of_the_picture_are_kept_and_counted(tmp_path: Path) -> None:
    polygon = [-10.0, 10.0, 30.0, 10.0, 30.0, 30.0, -10.0, 30.0]
    dataset = opened(tmp_path, annotation(segmentation=[polygon]))
    (found,) = dataset[0].annotations
    assert found.rings[0].min() == -10
    assert mask.area(found.to_rle((48, 64))) == 30 * 20
    assert dataset.notes == ("1 annotations that reach more than 1 px out of their picture: kept, cut in the mask",)


def test_parts_of_two_points_are_left_out_and_counted(tmp_path: Path) -> None:
    dataset = opened(tmp_path, annotation(segmentation=[SQUARE, [1.0, 2.0, 3.0, 4.0]]))
    assert len(dataset[0].annotations[0].rings) == 1
    assert dataset.notes == ("1 polygon parts of fewer than three points: left out",)


def test_size_is_read_from_the_picture_when_the_json_has_none(tmp_path: Path) -> None:
    dataset = opened(tmp_path, annotation(), images=[{"id": 1, "file_name": "a.png"}])
    assert dataset[0].size == (48, 64)
    assert dataset.notes == ("1 pictures without height and width: read from the picture file",)


@pytest.mark.parametrize(
    ("row", "match"),
    [
        (annotation(5, category_id=9), "annotation 5: category_id 9"),
        (annotation(5, category_id=[1]), r"annotation 5: category_id \[1\]"),
        (annotation(5, []), "annotation 5: no segmentation"),
        (annotation(5, [[1.0, 2.0, 3.0, 4.0]]), "annotation 5: no polygon of at least three points"),
        (annotation(5, [[*SQUARE, 1.0]]), "annotation 5: a polygon of shape"),
        (annotation(5, [[*SQUARE[:-1], float("nan")]]), "annotation 5: a polygon of shape"),
        (annotation(5, [[*SQUARE[:-1], "x"]]), "annotation 5: a polygon with something that is no number"),
        (annotation(5, {"size": [48, 64], "counts": [1, 2]}), "annotation 5: run lengths that cannot be read"),
        (annotation(5, {"size": [48, 64], "counts": "\x7f"}), "annotation 5: run lengths that cannot be read"),
        (annotation(5, {"size": [64, 48], "counts": RUNS}), "annotation 5: run lengths for the size"),
        (annotation(5, bbox=[1, 2, 3]), "annotation 5: bbox"),
        (annotation(5, area=float("inf")), "annotation 5: bbox .* finite"),
        (annotation(5, image_id="1"), r"annotations\[0\]"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_named(row: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"instances\.json: {match}"):
        opened(tmp_path, row)


@pytest.mark.parametrize(
    ("lists", "match"),
    [
        (
            {"categories": [{"id": 7, "name": "a"}, {"id": 7, "name": "b"}]},
            r"categories\[1\]: the id 7 is there before",
        ),
        ({"categories": [{"id": "7", "name": "a"}]}, r"categories\[0\]: expected a whole number"),
        ({"images": [{"id": 1, "file_name": "a.png", "height": 0, "width": 3}]}, "image 1: height and width"),
        ({"images": [{"id": 1}]}, r"images\[0\]: .*file_name"),
    ],
    ids=["category twice", "text id", "no height", "no name"],
)
def test_a_broken_list_is_named_with_its_row(lists: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=match):
        opened(tmp_path, annotation(), **lists)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("[]", "a list, as a file of results is"),
        ('{"shapes": []}', "a LabelMe file"),
        ('{"images": []}', "an object with images"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
    ],
    ids=["list", "LabelMe", "lists", "cut", "deep"],
)
def test_a_json_that_is_no_coco_set_is_described(content: str, match: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(SourceError, match=match):
        open_dataset(path)


def test_pictures_are_found_when_the_first_is_missing(tmp_path: Path) -> None:
    images = [{"id": i, "file_name": name, "height": 48, "width": 64} for i, name in enumerate(("z.png", "a.png"), 1)]
    assert opened(tmp_path, annotation(), images=images)[1].path.is_file()


def test_a_set_without_annotations_opens(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    assert dataset[0].annotations == ()
    assert json.loads(json.dumps(dataset.to_coco()))["annotations"] == []


def test_file_names_may_have_folders(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "x" / "b.png")
    images = [{"id": 4, "file_name": "x/b.png", "height": 48, "width": 64}]
    dataset = opened(tmp_path, annotation(image_id=4), images=images)
    assert dataset[0].path == tmp_path / "images" / "x" / "b.png"
    np.testing.assert_array_equal(dataset[0].annotations[0].rings[0].ravel(), SQUARE)
