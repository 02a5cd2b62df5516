"""The result type: its contract, its selections and what it turns into."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeseg import rle
from edgeseg.errors import ContractError, EnvironmentMissingError
from edgeseg.instances import CroppedMask, Instances, Key

SIZE = (40, 60)
NAMES = ("cat", "dog", "bird")


def disc(diameter: int, hole: int = 0) -> NDArray[np.bool_]:
    """A round blob, with a round hole in its middle if asked."""
    axis = np.arange(diameter) - (diameter - 1) / 2
    radius = np.hypot(axis[:, None], axis[None])
    inside: NDArray[np.bool_] = (radius <= diameter / 2) & (radius >= hole / 2)
    return inside


def three() -> Instances:
    """A disc, a ring on part of it and an empty mask, by falling index but not by falling score."""
    return Instances(
        xyxy=np.array([[5, 4, 25, 24], [15.5, 10, 45.5, 40], [50, 30, 60, 40]], np.float32),
        scores=np.array([0.5, 0.9, 0.25], np.float32),
        class_ids=np.array([1, 0, 2], np.int64),
        masks=(
            CroppedMask(disc(20), 4, 5),
            CroppedMask(disc(30, hole=10), 10, 15),
            CroppedMask(np.zeros((0, 0), bool), 0, 0),
        ),
        names=NAMES,
        image_size=SIZE,
    )


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "boxes of five": (
        {"xyxy": np.zeros((3, 5), np.float32)},
        r"xyxy: shape \(3, 5\), dtype float32, expected \(3, 4\) float32",
    ),
    "boxes of float64": ({"xyxy": np.zeros((3, 4))}, r"dtype float64, expected \(3, 4\) float32"),
    "one score short": ({"scores": np.zeros(2, np.float32)}, r"masks: 3, expected 2"),
    "scores as a number": (
        {"scores": np.array(0.5, np.float32)},
        r"scores: shape \(\), dtype float32, expected \(0,\)",
    ),
    "class ids of int32": ({"class_ids": np.zeros(3, np.int32)}, r"class_ids: .*int32, expected \(3,\) int64"),
    "one mask short": ({"masks": ()}, "masks: 0, expected 3"),
    "no such class": ({"names": ("cat", "dog")}, r"class_ids\[2\]: 2, expected an index into 2 names"),
    "score above 1": ({"scores": np.array([0, 1, 1.5], np.float32)}, r"scores\[2\]: 1.5, expected 0..1"),
    "score of NaN": ({"scores": np.array([0, np.nan, 1], np.float32)}, r"scores\[1\]: nan"),
    "box reversed": (
        {"xyxy": np.array([[0, 0, 1, 1], [5, 0, 4, 1], [0, 0, 1, 1]], np.float32)},
        r"xyxy\[1\].*x1 <= x2",
    ),
    "box infinite": ({"xyxy": np.array([[0, 0, np.inf, 1]] * 3, np.float32)}, r"xyxy\[0\].*finite"),
    "mask outside": ({"image_size": (39, 60)}, r"masks\[1\]: rows 10..40, .*inside the picture of \(39, 60\)"),
    "picture of no size": ({"image_size": (0, 60)}, r"image_size: \(0, 60\)"),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_instances_are_refused_with_both_sides(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        replace(three(), **change)


def test_mask_bitmap_of_another_dtype_is_refused() -> None:
    with pytest.raises(ContractError, match=r"shape \(2, 3\), dtype uint8, expected \(h, w\) bool"):
        CroppedMask(np.zeros((2, 3), np.uint8), 0, 0)


SELECTIONS: dict[str, tuple[Key, list[int]]] = {
    "index": (1, [1]),
    "negative index": (-1, [2]),
    "numpy index": (np.int64(1), [1]),
    "slice": (slice(1, None), [1, 2]),
    "boolean array": (np.array([True, False, True]), [0, 2]),
    "boolean list": ([False, True, False], [1]),
    "index array": (np.array([2, 0, 2]), [2, 0, 2]),
    "empty list": ([], []),
}


@pytest.mark.parametrize(("key", "expected"), SELECTIONS.values(), ids=SELECTIONS.keys())
def test_selection_keeps_the_fields_together(key: Key, expected: list[int]) -> None:
    everything = three()
    chosen = everything[key]
    assert len(chosen) == len(expected)
    assert everything.masks is not None
    assert chosen.masks == tuple(everything.masks[index] for index in expected)
    np.testing.assert_array_equal(chosen.xyxy, everything.xyxy[expected])
    np.testing.assert_array_equal(chosen.scores, everything.scores[expected])
    np.testing.assert_array_equal(chosen.class_ids, everything.class_ids[expected])


def test_selection_out_of_range_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        three()[3]


def test_selection_by_a_boolean_mask_of_another_length_is_refused() -> None:
    with pytest.raises(ContractError, match=r"boolean mask: shape \(2,\), expected \(3,\)"):
        three()[np.array([True, False])]


def test_iteration_gives_each_instance_alone() -> None:
    assert [(len(one), one.scores[0]) for one in three()] == [(1, 0.5), (1, np.float32(0.9)), (1, 0.25)]


@pytest.mark.parametrize("masks", [True, False], ids=["masks", "boxes only"])
def test_empty_instances_turn_into_empty_results(masks: bool) -> None:
    nothing = Instances.empty(SIZE, NAMES, masks=masks)
    assert len(nothing) == 0
    assert nothing.to_coco(1) == []
    assert (nothing.masks is None) is not masks
    if masks:
        assert nothing.full_masks().shape == (0, *SIZE)
        assert nothing.to_polygons() == []
        assert nothing.to_yolo_lines() == []
        assert not nothing.label_map().any()


@pytest.mark.parametrize(
    "method", [Instances.full_masks, Instances.label_map, Instances.to_polygons, Instances.to_yolo_lines]
)
def test_methods_of_masks_refuse_instances_with_boxes_only(method: Callable[[Instances], object]) -> None:
    with pytest.raises(ContractError, match="boxes only, expected masks"):
        method(replace(three(), masks=None))


def test_full_masks_put_each_crop_in_its_place() -> None:
    full = three().full_masks()
    assert full.shape == (3, *SIZE)
    assert full.dtype == np.bool_
    np.testing.assert_array_equal(full[0, 4:24, 5:25], disc(20))
    assert full.sum(axis=(1, 2)).tolist() == [disc(20).sum(), disc(30, hole=10).sum(), 0]


def test_label_map_shows_the_higher_score_where_masks_overlap() -> None:
    labels = three().label_map()
    disc_mask, ring_mask, _ = three().full_masks()
    assert (disc_mask & ring_mask).any()
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels == 2, ring_mask)
    np.testing.assert_array_equal(labels == 1, disc_mask & ~ring_mask)


def test_label_map_shows_the_lower_index_where_scores_are_equal() -> None:
    tied = replace(three(), scores=np.full(3, 0.5, np.float32))
    np.testing.assert_array_equal(tied.label_map() == 1, tied.full_masks()[0])


def test_polygons_rasterise_back_to_the_masks() -> None:
    coco = pytest.importorskip("pycocotools.mask")
    instances = three()
    polygons = instances.to_polygons()
    assert [len(rings) for rings in polygons] == [1, 1, 0]
    for rings, mask in zip(polygons[:2], instances.full_masks(), strict=False):
        encoded = coco.merge(coco.frPyObjects([ring.ravel().tolist() for ring in rings], *SIZE))
        np.testing.assert_array_equal(rle.decode(encoded), mask)


def test_polygons_of_golden_masks_rasterise_back(golden: list[Instances]) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    for instances in golden:
        for rings, mask in zip(instances.to_polygons(), instances.masks or (), strict=True):
            polygons = [ring.ravel().tolist() for ring in rings]
            encoded = coco.merge(coco.frPyObjects(polygons, *instances.image_size))
            crop, (top, left) = rle.decode_cropped(encoded)
            assert rle.iou(CroppedMask(crop, top, left), mask) >= 0.999


def test_coco_results_have_the_official_form() -> None:
    instances = three()
    results = instances.to_coco(7)
    assert [result["category_id"] for result in results] == [1, 0, 2]
    assert [result["image_id"] for result in results] == [7, 7, 7]
    assert results[1]["bbox"] == [15.5, 10, 30, 30]
    assert results[1]["score"] == pytest.approx(0.9)
    for result, mask in zip(results, instances.full_masks(), strict=True):
        np.testing.assert_array_equal(rle.decode(result["segmentation"]), mask)
    assert json.loads(json.dumps(results)) == results


def test_coco_results_use_the_data_sets_categories() -> None:
    assert [result["category_id"] for result in three().to_coco(7, [17, 18, 16])] == [18, 17, 16]
    with pytest.raises(ContractError, match="category_ids: 2 ids, expected one for each of 3 names"):
        three().to_coco(7, [17, 18])


def test_coco_results_without_masks_have_no_segmentation() -> None:
    assert all("segmentation" not in result for result in replace(three(), masks=None).to_coco(7))


def test_yolo_lines_of_a_rectangle_are_its_corners_in_parts_of_the_picture() -> None:
    instances = replace(three()[0], masks=(CroppedMask(np.ones((10, 15), bool), 20, 30),))
    (line,) = instances.to_yolo_lines()
    (scored,) = instances.to_yolo_lines(scores=True)
    number, *values = line.split()
    corners = {(float(x), float(y)) for x, y in zip(values[::2], values[1::2], strict=True)}
    assert number == "1"
    assert corners == {(0.5, 0.5), (0.75, 0.5), (0.75, 0.75), (0.5, 0.75)}
    assert scored == line + " 0.500000"


def test_yolo_line_of_two_parts_is_one_ring_that_fills_to_both() -> None:
    bitmap = np.zeros((30, 50), bool)
    bitmap[2:14, 3:17], bitmap[5:9, 6:10], bitmap[15:29, 30:48] = True, False, True
    instances = replace(three()[0], masks=(CroppedMask(bitmap, 5, 6),))
    (line,) = instances.to_yolo_lines()
    points = np.array(line.split()[1:], float).reshape(-1, 2) * (SIZE[1], SIZE[0])
    # OpenCV fills the outline and the bridges too, one pixel wide: a sixteenth of a pixel of the mask here.
    filled = np.zeros((SIZE[0] * 16, SIZE[1] * 16), np.uint8)
    cv2.fillPoly(filled, [np.rint(points * 16).astype(np.int32)], (1,))
    parts = filled.reshape(SIZE[0], 16, SIZE[1], 16).mean(axis=(1, 3))
    np.testing.assert_array_equal(parts > 0.5, instances.full_masks()[0])


def test_yolo_lines_leave_out_an_empty_mask() -> None:
    assert [line.split()[0] for line in three().to_yolo_lines()] == ["1", "0"]


def test_supervision_detections_hold_the_same() -> None:
    supervision = pytest.importorskip("supervision")
    instances = three()
    detections = instances.to_supervision()
    assert isinstance(detections, supervision.Detections)
    np.testing.assert_array_equal(detections.xyxy, instances.xyxy)
    np.testing.assert_array_equal(detections.mask, instances.full_masks())
    np.testing.assert_array_equal(detections.confidence, instances.scores)
    np.testing.assert_array_equal(detections.class_id, instances.class_ids)
    assert detections["class_name"].tolist() == ["dog", "cat", "bird"]
    assert len(Instances.empty(SIZE, NAMES).to_supervision()) == 0
    assert replace(instances, masks=None).to_supervision().mask is None


def test_supervision_absent_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "supervision" else find_spec(name, *rest)
    )
    with pytest.raises(EnvironmentMissingError, match=r"pip install 'edgeseg\[supervision\]'"):
        three().to_supervision()


def test_import_needs_numpy_only() -> None:
    code = "import sys, edgeseg.instances; sys.exit(bool({'cv2', 'pycocotools', 'supervision'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def golden(shared: Path) -> list[Instances]:
    """The reference predictions."""
    results = json.loads((shared / "golden" / "predictions_conf025.json").read_text())["results"]
    return [golden_instances(result) for result in results if result["instances"]]


def golden_instances(result: dict[str, Any]) -> Instances:
    found = result["instances"]
    crops = [rle.decode_cropped(instance["mask_rle"]) for instance in found]
    return Instances(
        xyxy=np.array([instance["xyxy"] for instance in found], np.float32),
        scores=np.array([instance["score"] for instance in found], np.float32),
        class_ids=np.array([instance["class_id"] for instance in found], np.int64),
        masks=tuple(CroppedMask(crop, *offset) for crop, offset in crops),
        names=tuple(str(number) for number in range(80)),
        image_size=(result["height"], result["width"]),
    )
