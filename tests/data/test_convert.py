"""Conversions there and back: the masks, as pycocotools sees them, and each stated rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.data.convert import Conversion, convert, kind_of
from edgeseg.data.convert_options import ConvertOptions
from edgeseg.data.dataset import Dataset
from edgeseg.data.open import open_dataset
from edgeseg.errors import OutputError, SourceError, UsageError
from tests.data.sets import SQUARE, annotation, write_coco, write_picture, write_yolo

mask = pytest.importorskip("pycocotools.mask")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LINE = "1 0.25 0.25 0.75 0.25 0.75 0.75"
LINKS = ConvertOptions(pictures="link")

Masks = dict[str, list[Any]]


def rle(segmentation: Any, height: int, width: int) -> Any:
    if isinstance(segmentation, dict):
        packed = isinstance(segmentation["counts"], str)
        return segmentation if packed else mask.frPyObjects(segmentation, height, width)
    return mask.merge(mask.frPyObjects(segmentation, height, width))


def coco_masks(path: Path) -> Masks:
    """By picture, of all that is no crowd, without our reader."""
    content = json.loads(path.read_bytes())
    images = {row["id"]: row for row in content["images"]}
    found: Masks = {Path(row["file_name"]).stem: [] for row in content["images"]}
    for row in content["annotations"]:
        if not row["iscrowd"]:
            image = images[row["image_id"]]
            found[Path(image["file_name"]).stem].append(rle(row["segmentation"], image["height"], image["width"]))
    return found


def yolo_masks(labels: Path, sizes: dict[str, tuple[int, int]]) -> Masks:
    """By picture, from the numbers of the label files."""
    found: Masks = {}
    for stem, (height, width) in sizes.items():
        path = labels / f"{stem}.txt"
        found[stem] = []
        for line in path.read_text().splitlines() if path.is_file() else ():
            points = np.array(line.split()[1:], float).reshape(-1, 2) * (width, height)
            found[stem].append(rle([points.ravel().tolist()], height, width))
    return found


def ious(before: Masks, after: Masks) -> list[float]:
    assert before.keys() == after.keys()
    found = []
    for stem, masks in before.items():
        for ours, theirs in zip(masks, after[stem], strict=True):
            found.append(float(mask.iou([ours], [theirs], [0])[0, 0]))
    return found


def sizes_of(dataset: Dataset) -> dict[str, tuple[int, int]]:
    return {sample.path.stem: sample.size for sample in dataset}


def to_yolo(folder: Path, *rows: dict[str, Any]) -> tuple[Dataset, Conversion, Masks]:
    """A COCO set of one picture as YOLO-seg, and the masks that it had."""
    source = write_coco(folder / "source", rows)
    done = convert(source, folder / "made", "yolo-seg", options=ConvertOptions(("val",)))
    return open_dataset(done.files[0]), done, coco_masks(source)


@pytest.mark.parametrize(
    ("name", "images", "instances", "traced"),
    [
        ("coco-val128/instances.json", None, 971, 5),
        ("coco128-seg/annotations/instances_train2017_coco128.json", "coco128-seg/images/train2017", 929, 3),
    ],
    ids=["val128", "coco128"],
)
def test_coco_to_yolo_and_back_keeps_every_mask(
    name: str, images: str | None, instances: int, traced: int, shared: Path, tmp_path: Path
) -> None:
    source = shared / "data" / name
    options = ConvertOptions(("val",), images=shared / "data" / images if images else None, pictures="link")
    there = convert(source, tmp_path / "there", "yolo-seg", options=options)
    back = convert(there.files[0], tmp_path / "back", "coco", options=LINKS)

    before, between = coco_masks(source), open_dataset(there.files[0])
    assert (there.annotations, back.annotations) == ({"val": instances}, {"val": instances})
    for after in (yolo_masks(tmp_path / "there" / "labels" / "val", sizes_of(between)), coco_masks(back.files[0])):
        found = ious(before, after)
        assert len(found) == instances
        assert min(found) == 1
    notes = " ".join(there.notes)
    assert "joined into one ring" in notes
    assert "crowds, which YOLO-seg cannot mark: left out" in notes
    # All others keep their own points.
    assert f"{traced} annotations of parts that overlap or reach out of the picture: outlined" in notes


def test_yolo_to_coco_and_back_keeps_every_mask(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "coco128-seg" / "coco128-seg.yaml"
    there = convert(source, tmp_path / "there", "coco", options=ConvertOptions(("val",), pictures="link"))
    back = convert(there.files[0], tmp_path / "back", "yolo-seg", options=LINKS)
    dataset = open_dataset(source)
    before = yolo_masks(source.parent / "labels" / "train2017", sizes_of(dataset))
    for after in (coco_masks(there.files[0]), yolo_masks(tmp_path / "back" / "labels" / "val", sizes_of(dataset))):
        found = ious(before, after)
        assert len(found) == 929
        assert min(found) == 1
    assert open_dataset(back.files[0]).names == dataset.names


def test_classes_and_pictures_are_kept(tmp_path: Path) -> None:
    made, done, _ = to_yolo(tmp_path, annotation(1), annotation(2, category_id=3))
    assert made.names == ("cat", "dog")
    assert [found.class_id for found in made[0].annotations] == [1, 0]
    assert made[0].path == tmp_path / "made" / "images" / "val" / "a.png"
    assert made[0].path.read_bytes() == (tmp_path / "source" / "images" / "a.png").read_bytes()
    assert not made[0].path.is_symlink()
    assert done.files == (tmp_path / "made" / "data.yaml",)


@pytest.mark.parametrize(
    ("segmentation", "note"),
    [
        ([SQUARE, [40.0, 2.0, 60.0, 2.0, 60.0, 20.5]], "1 annotations of several parts: joined into one ring"),
        ([SQUARE, [20.0, 20.0, 40.0, 20.0, 40.0, 40.0]], "1 annotations of parts that overlap or reach out"),
        ([[-30.3, 3.1, 90.7, 20.9, 30.2, 60.1]], "1 annotations of parts that overlap or reach out"),
        ({"size": [48, 64], "counts": [100, 10, 38, 10, 48 * 64 - 158]}, "1 annotations of run lengths: outlined"),
    ],
    ids=["apart", "overlapping", "out of the picture", "run lengths"],
)
def test_mask_is_kept_where_one_ring_has_to_do(segmentation: Any, note: str, tmp_path: Path) -> None:
    made, done, before = to_yolo(tmp_path, annotation(1, segmentation))
    assert ious(before, {"a": [a.to_rle((48, 64)) for a in made[0].annotations]}) == [1]
    assert any(said.startswith(note) for said in done.notes)


def test_hole_of_run_lengths_is_kept(tmp_path: Path) -> None:
    bitmap = np.zeros((48, 64), np.uint8, order="F")
    bitmap[10:30, 10:40] = 1
    bitmap[15:20, 15:30] = 0
    packed = mask.encode(bitmap)
    made, _, before = to_yolo(tmp_path, annotation(1, {"size": [48, 64], "counts": packed["counts"].decode()}))
    assert made[0].annotations[0].area == bitmap.sum()
    assert ious(before, {"a": [made[0].annotations[0].to_rle((48, 64))]}) == [1]


def test_crowds_and_empty_masks_are_left_out_and_counted(tmp_path: Path) -> None:
    empty = {"size": [48, 64], "counts": [48 * 64]}
    made, done, _ = to_yolo(tmp_path, annotation(1, iscrowd=1), annotation(2, empty), annotation(3))
    assert len(made[0].annotations) == done.annotations["val"] == 1
    assert "1 crowds, which YOLO-seg cannot mark: left out" in done.notes
    assert "1 annotations without a pixel in their picture: left out" in done.notes


@pytest.mark.parametrize("to", ["coco", "yolo-seg"])
def test_parts_are_added_to_a_folder_one_after_another(to: str, tmp_path: Path) -> None:
    source = write_coco(tmp_path / "source", [annotation()])
    for part in ("val", "train"):
        done = convert(source, tmp_path / "made", to, options=ConvertOptions((part,)))
    for part in ("val", "train"):
        made = open_dataset(done.files[0].with_stem("data" if to == "yolo-seg" else part), split=part)
        assert made[0].path.parent == tmp_path / "made" / "images" / part
        assert len(made[0].annotations) == 1
    with pytest.raises(OutputError, match="already"):
        convert(source, tmp_path / "made", to, options=ConvertOptions(("val",)))


def test_parts_of_other_classes_are_not_added(tmp_path: Path) -> None:
    convert(write_coco(tmp_path / "a", [annotation()]), tmp_path / "made", "yolo-seg", options=ConvertOptions(("val",)))
    other = write_coco(tmp_path / "b", [], categories=[{"id": 1, "name": "fox"}])
    with pytest.raises(OutputError, match="other classes"):
        convert(other, tmp_path / "made", "yolo-seg", options=ConvertOptions(("train",)))


@pytest.mark.parametrize(
    ("name", "part"), [("instances_train2017.json", "train"), ("val.json", "val"), ("interval.json", "train")]
)
def test_part_is_called_as_the_file_name_says_else_train(name: str, part: str, tmp_path: Path) -> None:
    source = write_coco(tmp_path, [annotation()])
    done = convert(source.rename(tmp_path / name), tmp_path / "made", "coco")
    assert list(done.pictures) == [part]


def test_all_splits_of_a_yaml_are_converted(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"a": LINE}, "train: images/val\nval: images/val\nnames: [cat, dog]")
    done = convert(tmp_path / "data.yaml", tmp_path / "made", "coco")
    assert done.pictures == done.annotations == {"train": 1, "val": 1}


def test_links_point_to_the_pictures_and_absolute_paths_name_them(tmp_path: Path) -> None:
    source = write_coco(tmp_path / "source", [annotation()])
    picture = tmp_path / "source" / "images" / "a.png"
    linked = convert(source, tmp_path / "linked", "coco", options=LINKS)
    (link,) = (tmp_path / "linked" / "images").rglob("*.png")
    assert link.readlink() == picture
    named = convert(source, tmp_path / "named", "coco", options=ConvertOptions(pictures="absolute"))
    assert not (tmp_path / "named" / "images").exists()
    for done in (linked, named):
        assert open_dataset(done.files[0])[0].path.resolve() == picture


def test_folders_below_the_common_one_are_kept_and_equal_stems_renamed(tmp_path: Path) -> None:
    names = ["x/a.png", "x/a.jpg", "y/a.png"]
    for name in names:
        write_picture(tmp_path / "set" / "images" / name)
    images = [{"id": i, "file_name": name, "height": 48, "width": 64} for i, name in enumerate(names, start=1)]
    rows = [annotation(i, image_id=i) for i in range(1, 3)]
    done = convert(write_coco(tmp_path / "set", rows, images=images), tmp_path / "made", "yolo-seg")
    made = open_dataset(done.files[0], split="train")
    found = {str(s.path.relative_to(tmp_path / "made" / "images" / "train")): len(s.annotations) for s in made}
    assert found == {"x/a.png": 1, "x/a-2.jpg": 1, "y/a.png": 0}
    assert "1 pictures that differ from another in their suffix alone: renamed" in done.notes


def test_missing_pictures_stop_a_conversion_before_it_writes(tmp_path: Path) -> None:
    images = [{"id": i, "file_name": f"{name}.png", "height": 48, "width": 64} for i, name in enumerate("ab", start=1)]
    source = write_coco(tmp_path / "source", [annotation()], images=images)
    with pytest.raises(SourceError, match=r"1 of 2 pictures are not there, such as .*b\.png"):
        convert(source, tmp_path / "made", "coco")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("to", "kind", "options", "match"),
    [
        ("voc", None, ConvertOptions(), "--to voc: expected one of coco, yolo-seg"),
        ("coco", "voc", ConvertOptions(), "--from voc: expected one of coco"),
        ("yolo-seg", None, ConvertOptions(pictures="absolute"), "--absolute"),
        ("yolo-seg", None, ConvertOptions(("mine",)), "--split mine"),
        ("coco", None, ConvertOptions(("a", "b")), "is one part"),
    ],
    ids=["to", "from", "absolute", "split", "two splits"],
)
def test_what_cannot_be_done_is_refused(
    to: str, kind: str | None, options: ConvertOptions, match: str, tmp_path: Path
) -> None:
    source = write_coco(tmp_path / "source", [annotation()])
    with pytest.raises(UsageError, match=match):
        convert(source, tmp_path / "made", to, kind=kind, options=options)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.json", {"images": [], "annotations": [], "categories": []}, "coco"),
        ("a.json", {"_via_img_metadata": {"a.png1": {"filename": "a.png", "regions": []}}}, "via"),
        ("a.json", {"a.png1": {"filename": "a.png", "regions": {}}}, "via"),
        ("a.yaml", {}, "yolo-seg"),
    ],
)
def test_kind_is_told_from_the_content(name: str, content: Any, kind: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    assert kind_of(tmp_path / name) == kind


def test_kind_of_something_else_lists_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    for name in ("a.json", "empty", "absent.json"):
        with pytest.raises(SourceError):
            kind_of(tmp_path / name)
