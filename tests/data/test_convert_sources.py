"""LabelMe, VIA and mask PNGs as sources."""

from __future__ import annotations

import base64
import json
from math import pi
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgeseg.data.convert import convert, kind_of
from edgeseg.data.convert_options import ConvertOptions
from edgeseg.data.dataset import Dataset
from edgeseg.data.mask_png import VOC20, read_values, voc_colour
from edgeseg.data.open import open_dataset
from edgeseg.data.shapes import ellipse
from edgeseg.errors import SourceError, UsageError
from edgeseg.rle import decode
from tests.data.sets import HEIGHT, WIDTH, write_picture

Values = NDArray[np.uint8]

TRIANGLE = [[10, 10], [30, 10], [30, 30]]


def converted(source: Path, **options: Any) -> tuple[Dataset, tuple[str, ...]]:
    """The source as a COCO set in a folder beside it, read again."""
    done = convert(source, source.parent / "made", "coco", options=ConvertOptions(**options))
    return open_dataset(done.files[0]), done.notes


def bitmaps(dataset: Dataset, at: int = 0) -> list[NDArray[np.bool_]]:
    sample = dataset[at]
    return [decode(found.to_rle(sample.size)) for found in sample.annotations]


def labelme(folder: Path, *shapes: dict[str, Any], **fields: Any) -> Path:
    write_picture(folder / "a.png")
    content = {"imagePath": "a.png", "imageHeight": HEIGHT, "imageWidth": WIDTH, "shapes": list(shapes)} | fields
    (folder / "a.json").write_text(json.dumps(content))
    return folder


def shape(label: str, points: Any, kind: str = "polygon", **fields: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None} | fields


def test_labelme_polygons_rectangles_and_circles_become_objects(tmp_path: Path) -> None:
    folder = labelme(
        tmp_path / "set",
        shape("dog", TRIANGLE),
        shape("cat", [[40, 30], [20, 10]], "rectangle"),
        shape("cat", [[30, 24], [40, 24]], "circle"),
        shape("cat", [[1, 1]], "point"),
        shape("cat", [[1, 1], [2, 2]]),
    )
    assert kind_of(folder) == "labelme"
    dataset, notes = converted(folder)
    assert dataset.names == ("cat", "dog")
    assert [found.class_id for found in dataset[0].annotations] == [1, 0, 0]
    areas = [bitmap.sum() for bitmap in bitmaps(dataset)]
    assert areas[1] == 20 * 20
    assert areas[2] == pytest.approx(pi * 10**2, rel=0.02)
    assert notes == (
        "1 shapes of type point, which have no area: left out",
        "1 polygons of fewer than three points: left out",
    )


def test_labelme_shapes_of_one_group_are_one_object(tmp_path: Path) -> None:
    ring = np.ones((5, 5), np.uint8)
    ring[2, 2] = 0
    png = base64.b64encode(cv2.imencode(".png", ring * 255)[1].tobytes()).decode()
    folder = labelme(
        tmp_path / "set",
        shape("cat", TRIANGLE, group_id=1),
        shape("cat", [[40, 10], [50, 20]], "rectangle", group_id=1),
        shape("dog", TRIANGLE, group_id=1),
        shape("dog", [[50, 40], [54, 44]], "mask", group_id=2, mask=png),
        shape("dog", [[0, 0], [2, 2]], "rectangle", group_id=2),
    )
    dataset, _ = converted(folder)
    assert [(found.class_id, len(found.rings)) for found in dataset[0].annotations] == [(0, 2), (1, 1), (1, 0)]
    assert bitmaps(dataset)[2].sum() == 24 + 4
    assert not bitmaps(dataset)[2][42, 52]


def test_labelme_labels_are_the_given_classes_in_their_order(tmp_path: Path) -> None:
    folder = labelme(tmp_path / "set", shape("dog", TRIANGLE))
    assert converted(folder, classes=("dog", "ant"))[0].names == ("dog", "ant")
    with pytest.raises(UsageError, match="'dog' is no --class"):
        converted(folder, classes=("dot",))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"imagePath": "b.png"}, r"its picture is none of .*b\.png"),
        ({"imageHeight": 5}, "drawn on a picture of"),
        ({"shapes": [shape("cat", "x")]}, "a polygon that cannot be read"),
        ({"shapes": [shape("cat", [[0, 0], [1, 1]], "mask", mask="!")]}, "a mask that cannot be read"),
        ({"shapes": [shape("cat", [[0, 0], [1, 1]], "mask", mask="aGk=")]}, "a mask that cannot be read"),
    ],
    ids=["picture", "size", "points", "no base64", "no PNG"],
)
def test_labelme_mistakes_name_the_file(fields: dict[str, Any], match: str, tmp_path: Path) -> None:
    folder = labelme(tmp_path / "set", **fields)
    with pytest.raises(SourceError, match=rf"a\.json: {match}"):
        converted(folder)


def test_labelme_pictures_are_beside_their_file_when_the_path_is_of_another_machine(tmp_path: Path) -> None:
    folder = labelme(tmp_path / "set", shape("cat", TRIANGLE), imagePath="..\\pictures\\a.png")
    assert len(converted(folder)[0][0].annotations) == 1


def via(folder: Path, *regions: dict[str, Any], project: bool = False, version: int = 2) -> Path:
    write_picture(folder / "a.png")
    listed: Any = list(regions) if version == 2 else {str(i): region for i, region in enumerate(regions)}
    rows: Any = {"a.png123": {"filename": "a.png", "size": 123, "regions": listed, "file_attributes": {}}}
    path = folder / "via.json"
    path.write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": rows} if project else rows))
    return path


def region(shape_attributes: dict[str, Any], **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": shape_attributes, "region_attributes": attributes}


POLYGON = {"name": "polygon", "all_points_x": [10, 30, 30], "all_points_y": [10, 10, 30]}
RECT = {"name": "rect", "x": 20, "y": 10, "width": 20, "height": 15}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("project", [True, False], ids=["project", "annotations"])
def test_via_regions_become_objects(project: bool, version: int, tmp_path: Path) -> None:
    path = via(
        tmp_path / "set",
        region(POLYGON, kind="dog"),
        region(RECT, kind="cat"),
        region({"name": "circle", "cx": 30, "cy": 24, "r": 10}, kind="cat"),
        region({"name": "ellipse", "cx": 30, "cy": 24, "rx": 16, "ry": 8, "theta": pi / 2}, kind={"cat": True}),
        region({"name": "point", "cx": 3, "cy": 2}, kind="cat"),
        region(RECT, kind=""),
        project=project,
        version=version,
    )
    dataset, notes = converted(path)
    assert dataset.names == ("cat", "dog")
    assert [found.class_id for found in dataset[0].annotations] == [1, 0, 0, 0]
    found = bitmaps(dataset)
    assert found[1].sum() == 300
    assert found[2].sum() == pytest.approx(pi * 100, rel=0.02)
    assert found[3].sum() == pytest.approx(pi * 16 * 8, rel=0.02)
    rows, columns = np.nonzero(found[3])
    assert [len(np.unique(rows)), len(np.unique(columns))] == [32, 16]
    assert notes == (
        "1 regions of type point, which have no area: left out",
        "1 regions without kind: left out",
    )


def test_via_regions_without_attributes_are_of_the_given_class(tmp_path: Path) -> None:
    path = via(tmp_path / "set", region(POLYGON), region(RECT))
    dataset, _ = converted(path, classes=("balloon",))
    assert dataset.names == ("balloon",)
    assert len(dataset[0].annotations) == 2
    with pytest.raises(UsageError, match="0 region attributes"):
        convert(path, tmp_path / "other", "coco")


def test_via_attribute_is_asked_for_when_there_are_several(tmp_path: Path) -> None:
    path = via(tmp_path / "set", region(POLYGON, kind="dog", colour="red"))
    with pytest.raises(UsageError, match="2 region attributes") as caught:
        converted(path)
    assert "colour, kind" in caught.value.hint
    assert converted(path, attribute="colour")[0].names == ("red",)


@pytest.mark.parametrize(
    "attributes",
    [{"name": "rect", "x": 1}, {"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1]}],
    ids=["rectangle", "polygon"],
)
def test_via_mistakes_name_the_picture(attributes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"via\.json: a\.png: a \w+ that cannot be read"):
        converted(via(tmp_path / "set", region(attributes, kind="cat")))


@pytest.mark.parametrize("radius", [0.0, 0.04, 5.0, 500.0])
def test_ellipse_stays_near_its_arc(radius: float) -> None:
    ring = ellipse((3, 4), (radius, radius))
    middles = (ring + np.roll(ring, 1, axis=0)) / 2
    assert len(ring) >= 12
    assert (radius - np.hypot(*(middles - (3, 4)).T)).max() <= 0.05


def voc(folder: Path, objects: Values, classes: Values | None, mode: str = "P") -> Path:
    """A Pascal-style set of one picture."""
    write_picture(folder / "JPEGImages" / "a.jpg", (objects.shape[0], objects.shape[1]))
    for name, values in (("SegmentationObject", objects), ("SegmentationClass", classes)):
        if values is not None:
            (folder / name).mkdir(parents=True)
            save(folder / name / "a.png", values, mode)
    return folder


def save(path: Path, values: Values, mode: str) -> None:
    colours = [voc_colour(index) for index in range(256)]
    if mode == "P":
        image = Image.fromarray(values, "P")
        image.putpalette([channel for colour in colours for channel in colour])
    else:
        image = Image.fromarray(np.array(colours, np.uint8)[values])
    image.save(path)


@pytest.fixture
def objects() -> Values:
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[5:20, 5:20], values[30:40, 5:15], values[5:20, 40:60], values[0, :] = 1, 1, 3, 255
    return values


@pytest.fixture
def classes(objects: Values) -> Values:
    return np.array([0, 15, 0, 7] + [0] * 251 + [255], np.uint8)[objects]


@pytest.mark.parametrize("mode", ["P", "RGB"], ids=["palette", "colours"])
def test_mask_pngs_become_objects_with_the_classes_under_them(
    mode: str, objects: Values, classes: Values, tmp_path: Path
) -> None:
    folder = voc(tmp_path / "set", objects, classes, mode)
    assert kind_of(folder) == "masks"
    dataset, notes = converted(folder, classes=("voc20",))
    assert dataset.names == VOC20
    found = [
        (dataset.names[a.class_id], bitmap) for a, bitmap in zip(dataset[0].annotations, bitmaps(dataset), strict=True)
    ]
    expected = [("person", objects == 1), ("car", objects == 3)]
    assert sorted(name for name, _ in found) == sorted(name for name, _ in expected)
    for name, bitmap in expected:
        np.testing.assert_array_equal(dict(found)[name], bitmap)
    assert notes == ()


def test_mask_pngs_are_divided_as_their_lists_say(objects: Values, classes: Values, tmp_path: Path) -> None:
    folder = voc(tmp_path / "set", objects, classes)
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("a\n")
    (folder / "class_names.txt").write_text("\n".join(["__ignore__", "_background_", *VOC20]))
    done = convert(folder, tmp_path / "made", "yolo-seg")
    assert done.pictures == {"val": 1}
    assert open_dataset(done.files[0]).names == VOC20
    with pytest.raises(UsageError, match="no split 'test'"):
        convert(folder, tmp_path / "other", "coco", options=ConvertOptions(("test",)))


def test_mask_pngs_without_classes_are_of_the_given_one(tmp_path: Path) -> None:
    values = np.zeros((HEIGHT, WIDTH), np.uint16)
    values[5:20, 5:20], values[30:40, 5:15] = 255, 1000
    write_picture(tmp_path / "pictures" / "a.png")
    (tmp_path / "masks").mkdir()
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), values)
    options = {"images": tmp_path / "pictures", "classes": ("cell",)}
    dataset, _ = converted(tmp_path / "masks", **options)
    assert [bitmap.sum() for bitmap in bitmaps(dataset)] == [225, 100]
    with pytest.raises(UsageError, match="no class of all objects"):
        converted(tmp_path / "masks", images=tmp_path / "pictures")


@pytest.mark.parametrize(
    ("options", "match"),
    [({}, "numbers its classes"), ({"classes": ("a", "b")}, r"an object of class \d+, expected 1\.\.2")],
    ids=["no names", "too few"],
)
def test_mask_pngs_without_class_names_say_how_to_give_them(
    options: dict[str, Any], match: str, objects: Values, classes: Values, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=match) as caught:
        converted(voc(tmp_path / "set", objects, classes), **options)
    assert "--class" in caught.value.hint


def test_objects_without_a_class_under_them_are_left_out_and_counted(objects: Values, tmp_path: Path) -> None:
    folder = voc(tmp_path / "set", objects, np.where(objects == 3, 2, 0).astype(np.uint8))
    dataset, notes = converted(folder, classes=("a", "b"))
    assert len(dataset[0].annotations) == 1
    assert notes == ("1 objects without a class under them: left out",)


def test_masks_of_another_size_or_format_are_refused(objects: Values, tmp_path: Path) -> None:
    folder = voc(tmp_path / "set", objects, None)
    write_picture(folder / "JPEGImages" / "a.jpg", (9, 9))
    with pytest.raises(SourceError, match="expected its picture's"):
        converted(folder, classes=("a",))
    Image.new("RGB", (9, 9)).save(folder / "SegmentationObject" / "a.png", format="JPEG")
    with pytest.raises(SourceError, match="no PNG"):
        converted(folder, classes=("a",))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("mode", ["P", "L"], ids=["palette", "grey"])
def test_values_of_a_png_are_its_indices_at_every_depth(bits: int, mode: str, tmp_path: Path) -> None:
    values = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64) % min(2**bits, 200)
    path = tmp_path / "a.png"
    if mode == "P":
        image = Image.fromarray(values, "P")
        # Equal colours: only the index tells the instances apart.
        image.putpalette([7, 7, 7] * 2**bits)
        image.save(path, bits=bits)
    else:
        grey_png(path, values, bits)
    assert path.read_bytes()[24] == bits
    np.testing.assert_array_equal(read_values(path), values)


def grey_png(path: Path, values: Values, bits: int) -> None:
    """Pillow writes no grey of 2 or 4 bits: a palette PNG whose header says grey."""
    import struct
    import zlib

    image = Image.fromarray(values, "P")
    image.putpalette([0, 0, 0] * 2**bits)
    image.save(path, bits=bits)
    data = path.read_bytes()
    header = data[12:25] + b"\0" + data[26:29]
    start = data.index(b"IDAT") - 4
    path.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[start:])


def test_voc_colours_are_those_of_the_development_kit() -> None:
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        7: (128, 128, 128),
        15: (192, 128, 128),
        255: (224, 224, 192),
    }
    assert {index: voc_colour(index) for index in known} == known
