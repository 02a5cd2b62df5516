"""What predict writes, without the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.card.classes import COCO80
from edgeseg.errors import OutputError
from edgeseg.instances import CroppedMask, Instances
from edgeseg.predict import Result, StepTimes
from edgeseg.sources import Frame
from edgeseg.writers import COCO_CATEGORY_IDS, DrawnWriter, FileNames, JsonWriter, encode_picture, file_name


def result(
    source: str, *, frame_index: int | None = None, index: int = 0, names: tuple[str, ...] = ("cat", "dog")
) -> Result:
    """One dog of 2 x 3 pixels in a picture of 6 x 8."""
    instances = Instances(
        xyxy=np.array([[1, 2, 4, 4]], np.float32),
        scores=np.array([0.5], np.float32),
        class_ids=np.array([1]),
        masks=(CroppedMask(np.ones((2, 3), bool), 2, 1),),
        names=names,
        image_size=(6, 8),
    )
    picture = np.full((6, 8, 3), 90, np.uint8)
    return Result(Frame(picture, source, index, frame_index, None, 5.0), instances, StepTimes())


def test_names_are_unique_within_a_run() -> None:
    names = FileNames()
    sources = ("a/bus.jpg", "b/bus.png", "a/bus.jpg", "BUS.jpg", "http://host/bus.jpg?x=1/2", "camera:0", "stdin")
    assert [names.of_source(source) for source in sources] == [
        "bus",
        "bus-2",
        "bus",
        "BUS-3",
        "bus-4",
        "camera-0",
        "stdin",
    ]


def test_a_name_that_was_numbered_by_hand_is_not_taken_twice() -> None:
    names = FileNames()
    assert [names.of_source(source) for source in ("bus-2.jpg", "a/bus.jpg", "b/bus.jpg")] == ["bus-2", "bus", "bus-3"]


def test_frames_are_numbered_in_a_folder_of_their_video() -> None:
    names = FileNames()
    assert names.of(result("clip.mp4", frame_index=7)) == "clip/000007"
    assert names.of(result("clip.jpg")) == "clip-2"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("street/a.jpg", "a.jpg"),
        ("what?.jpg", "what?.jpg"),
        ("https://host/street/a.jpg?size=1/2", "a.jpg"),
        ("camera:0", "camera:0"),
    ],
)
def test_file_name_is_the_last_part_of_a_path_or_url(source: str, name: str) -> None:
    assert file_name(source) == name


def test_official_category_ids_follow_cocos_own_table(shared: Path) -> None:
    categories = json.loads((shared / "data" / "coco-val128" / "instances.json").read_text())["categories"]
    ids = {row["name"]: row["id"] for row in categories}
    assert tuple(ids[name] for name in COCO80) == COCO_CATEGORY_IDS


def test_json_to_a_stream_leaves_it_open() -> None:
    stream = io.StringIO()
    writer = JsonWriter(stream, ("cat", "dog"))
    writer.write(result("000000000139.jpg"))
    writer.write(result("b.jpg", index=1))
    writer.close()
    rows = json.loads(stream.getvalue())
    assert [(row["image_id"], row["file_name"], row["category_id"]) for row in rows] == [
        (139, "000000000139.jpg", 1),
        (1, "b.jpg", 1),
    ]
    assert rows[0]["bbox"] == [1, 2, 3, 2]
    assert rows[0]["segmentation"]["size"] == [6, 8]


def test_json_has_official_categories_for_cocos_classes_only() -> None:
    stream = io.StringIO()
    writer = JsonWriter(stream, COCO80)
    writer.write(result("a.jpg", names=COCO80))
    writer.close()
    (row,) = json.loads(stream.getvalue())
    assert (row["class_id"], row["category_id"]) == (1, 2)


def test_json_is_in_its_place_only_when_closed(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    writer = JsonWriter(path, ("cat", "dog"))
    writer.write(result("a.jpg"))
    assert not path.exists()
    writer.close()
    assert len(json.loads(path.read_text())) == 1
    assert [child.name for child in tmp_path.iterdir()] == ["r.json"]


def test_each_video_gets_its_own_file_and_closing_finishes_the_last(tmp_path: Path) -> None:
    writer = DrawnWriter(tmp_path)
    for source, count in (("a.avi", 3), ("b.avi", 2)):
        for frame_index in range(count):
            writer.write(result(source, frame_index=frame_index))
    writer.close()
    writer.close()
    lengths = {}
    for path in tmp_path.iterdir():
        capture = cv2.VideoCapture(str(path))
        lengths[path.name] = (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS))
        capture.release()
    assert lengths == {"a.mp4": (3, 5), "b.mp4": (2, 5)}


def test_drawings_are_never_written_into_a_sources_folder(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    source.write_bytes(b"mine")
    writer = DrawnWriter(tmp_path)
    with pytest.raises(OutputError, match=r"holds the source .*a\.png"):
        writer.write(result(str(source)))
    assert [child.name for child in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_png_gives_back_every_level(dtype: type[np.generic]) -> None:
    picture = np.arange(0, 60_000, 1000).reshape(6, 10).astype(dtype)
    data = np.frombuffer(encode_picture(picture, ".png"), np.uint8)
    np.testing.assert_array_equal(np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED)), picture)


def test_a_picture_too_large_for_jpeg_is_refused_by_its_size() -> None:
    with pytest.raises(OutputError, match="70000x1"):
        encode_picture(np.zeros((1, 70_000, 3), np.uint8), ".jpg")


def test_json_gives_two_pictures_two_image_ids(tmp_path: Path) -> None:
    writer = JsonWriter(tmp_path / "r.json", ("cat", "dog"))
    for source, index in (("1.png", 0), ("a.png", 1), ("b.png", 2)):
        writer.write(result(source, index=index))
    writer.close()
    assert [row["image_id"] for row in json.loads((tmp_path / "r.json").read_text())] == [1, 2, 3]
