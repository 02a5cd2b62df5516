"""The page's own letterbox and decoding, run by Node without a network, against those of Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg import rle
from edgeseg.data.letterbox import geometry, letterbox, to_input
from edgeseg.draw import class_color
from edgeseg.metadata import Preprocessing
from edgeseg.postprocess.nms import nms
from edgeseg.postprocess.pipeline import PostprocessOptions, postprocess
from edgeseg.tensors import Array
from edgeseg.testing import tiny_frames
from edgeseg.testing.tiny import IMAGE_SIZE, NAMES
from tests.targets.conftest import Reference

PAGE = Path(__file__).parents[2] / "targets" / "tfjs" / "page"
PROGRAM = Path(__file__).with_name("tfjs_in_node.mjs")
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node (Debian: apt-get install nodejs)")

InNode = Callable[..., Any]


@pytest.fixture
def in_node(tmp_path: Path) -> InNode:
    """``in_node(action, **request)``: the answer of the program beside this file."""

    def run(action: str, **request: Any) -> Any:
        file = tmp_path / "request.json"
        file.write_text(json.dumps({"page": str(PAGE), "action": action, **request}))
        done = subprocess.run([str(NODE), str(PROGRAM), str(file)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


SIZES = {
    "smaller": (480, 300),
    "larger": (61, 97),
    "twice as large": (192, 320),
    "as large": (96, 160),
    "tall": (700, 20),
    "tiny": (2, 3),
}


@pytest.mark.parametrize("name", SIZES)
def test_letterbox_gives_the_bits_of_the_one_in_python(in_node: InNode, tmp_path: Path, name: str) -> None:
    height, width = SIZES[name]
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    picture = np.asarray(cv2.GaussianBlur(noise, (0, 0), 1), np.uint8)
    alpha = np.full((height, width, 1), 255, np.uint8)
    (tmp_path / "picture").write_bytes(np.concatenate([picture, alpha], axis=2).tobytes())
    about = Preprocessing()
    place = in_node(
        "letterbox",
        picture=str(tmp_path / "picture"),
        size=[height, width],
        imageSize=IMAGE_SIZE,
        preprocessing={"pad_value": about.pad_value, "scale": about.scale},
        output=str(tmp_path / "input"),
    )
    wanted, where = letterbox(picture, IMAGE_SIZE)
    found = np.fromfile(tmp_path / "input", np.float32).reshape(*IMAGE_SIZE, 3)
    np.testing.assert_array_equal(found.transpose(2, 0, 1), to_input([wanted])[0], strict=True)
    assert (place["resized"], place["top"], place["left"]) == (list(where.resized), where.top, where.left)


@pytest.mark.parametrize("size", [(1, 1), (7, 11), (33, 64), (66, 64), (999, 1333), (3, 4000), (1280, 1281)])
def test_place_of_a_picture_is_that_in_python(in_node: InNode, tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "picture").write_bytes(bytes(size[0] * size[1] * 4))
    place = in_node(
        "letterbox",
        picture=str(tmp_path / "picture"),
        size=size,
        imageSize=[64, 64],
        preprocessing={"pad_value": 114, "scale": 1 / 255},
        output=str(tmp_path / "input"),
    )
    wanted = geometry(size, (64, 64))
    assert (place["resized"], place["top"], place["left"]) == (list(wanted.resized), wanted.top, wanted.left)
    assert place["scale"] == list(wanted.scale_yx)


@pytest.mark.parametrize("score", [0.05, 0.25, 0.6])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_decoding_finds_what_python_finds(
    in_node: InNode, reference: Reference, tmp_path: Path, number: int, score: float
) -> None:
    picture = tiny_frames()[number].picture
    boxed, place = letterbox(picture, IMAGE_SIZE)
    outputs = reference(to_input([boxed]), "raw")
    options = PostprocessOptions(score=score)
    wanted = postprocess(outputs, 0, "raw", place, NAMES, options).to_coco(0)
    found = in_node(
        "decode",
        tensors=_written(outputs, tmp_path),
        size=place.picture_size,
        imageSize=IMAGE_SIZE,
        names=NAMES,
        options={"score": score, "iou": options.iou, "maxDetections": options.max_detections},
    )
    assert len(wanted) > 100 or score > 0.1
    assert [row["class_id"] for row in found] == [row["category_id"] for row in wanted]
    assert all(row["class_name"] == NAMES[row["class_id"]] for row in found)
    np.testing.assert_allclose([row["score"] for row in found], [row["score"] for row in wanted], rtol=0, atol=1e-6)
    boxes = [np.reshape([row["bbox"] for row in rows], (-1, 4)) for rows in (found, wanted)]
    np.testing.assert_allclose(boxes[0], boxes[1], rtol=0, atol=1e-3)
    for have, want in zip(found, wanted, strict=True):
        assert _iou(have["segmentation"], want["segmentation"]) > 0.99


def test_outputs_that_are_no_numbers_are_refused(in_node: InNode, reference: Reference, tmp_path: Path) -> None:
    outputs = reference(np.zeros((1, 3, *IMAGE_SIZE), np.float32), "raw")
    outputs["p4_cls"] = outputs["p4_cls"].copy()
    outputs["p4_cls"][0, 1, 2, 3] = np.nan
    with pytest.raises(AssertionError, match="not numbers"):
        in_node(
            "decode",
            tensors=_written(outputs, tmp_path),
            size=IMAGE_SIZE,
            imageSize=IMAGE_SIZE,
            names=NAMES,
            options={"score": 0.25, "iou": 0.7, "maxDetections": 300},
        )


MASKS = {
    "empty": (0, 0, 0, 0),
    "whole": (0, 0, 5, 7),
    "whole columns": (2, 0, 3, 7),
    "at the top": (1, 0, 3, 4),
    "at the foot": (1, 3, 3, 4),
    "last column": (4, 0, 1, 7),
    "last pixel": (4, 6, 1, 1),
    "inside": (1, 2, 3, 3),
}


@pytest.mark.parametrize("filled", [True, False])
@pytest.mark.parametrize("name", MASKS)
def test_runs_are_written_as_python_writes_them(in_node: InNode, name: str, filled: bool) -> None:
    left, top, width, height = MASKS[name]
    bitmap = np.ones((height, width), bool) if filled else np.random.default_rng(1).random((height, width)) > 0.5
    mask = {"left": left, "top": top, "width": width, "height": height, "bits": bitmap.astype(int).ravel().tolist()}
    assert in_node("coco", mask=mask, size=[7, 5]) == rle.encode(bitmap, (top, left), (7, 5))


def test_long_runs_are_written_as_python_writes_them(in_node: InNode) -> None:
    bitmap = np.ones((1, 1), bool)
    mask = {"left": 3000, "top": 2000, "width": 1, "height": 1, "bits": [1]}
    assert in_node("coco", mask=mask, size=[4000, 6000]) == rle.encode(bitmap, (2000, 3000), (4000, 6000))


@pytest.mark.parametrize(("iou", "limit"), [(0.3, 300), (0.7, 300), (0.7, 20), (1.0, 300)])
def test_suppression_keeps_what_python_keeps(in_node: InNode, iou: float, limit: int) -> None:
    random = np.random.default_rng(2)
    corner, size = random.uniform(0, 60, (200, 2)), random.uniform(0, 40, (200, 2))
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    class_ids = random.integers(0, 3, 200)
    found = in_node("suppress", boxes=boxes.tolist(), classIds=class_ids.tolist(), iou=iou, limit=limit)
    assert found == nms(boxes, class_ids, iou, limit).tolist()
    assert 0 < len(found) <= limit


def test_classes_have_the_colors_of_drawn_pictures(in_node: InNode) -> None:
    found = np.array(in_node("colors", count=300))
    # The colour circle is rounded once here, and once in Python: by one level at most.
    assert np.abs(found - np.array([class_color(index) for index in range(300)])).max() <= 1


def _written(outputs: dict[str, Array], folder: Path) -> list[dict[str, Any]]:
    """The tensors as the network gives them in the browser: channels last."""
    tensors = []
    for name, array in outputs.items():
        last = np.ascontiguousarray(array[0].transpose(1, 2, 0))
        (folder / name).write_bytes(last.tobytes())
        tensors.append({"name": name, "path": str(folder / name), "shape": last.shape})
    return tensors


def _iou(a: dict[str, Any], b: dict[str, Any]) -> float:
    left, right = rle.decode(a), rle.decode(b)
    union = np.count_nonzero(left | right)
    return np.count_nonzero(left & right) / union if union else 1.0
