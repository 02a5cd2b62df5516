"""Label maps are exact at the centres of their cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeseg import rle
from edgeseg.data.label_map import boxes, label_map, object_maps, stacking
from edgeseg.data.labelled import Parts
from edgeseg.polygons import join
from tests.data.outlines import distance, mask_of, star

COORDINATES = st.floats(-30, 90, width=32)
RINGS = st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=8).map(
    lambda ring: np.array(ring, np.float32)
)
OBJECTS = st.lists(st.lists(RINGS, min_size=1, max_size=2).map(tuple), max_size=4)


def square(left: float, top: float, side: float) -> NDArray[np.float32]:
    return np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32) + np.array([left, top], np.float32)


def slow(objects: list[Parts], size: tuple[int, int], stride: int) -> NDArray[np.int16]:
    """Painted object by object, the largest first."""
    masks = [mask_of(parts, size, stride) for parts in objects]
    cells = [sum(int(mask_of([ring], size, stride).sum()) for ring in parts) for parts in objects]
    labels = np.zeros((size[0] // stride, size[1] // stride), np.int16)
    for number in sorted(range(len(objects)), key=lambda number: -cells[number]):
        labels[masks[number]] = number + 1
    return labels


@given(OBJECTS, st.sampled_from([1, 2, 4]), st.sampled_from([(64, 64), (32, 96), (20, 36)]))
def test_labels_are_those_of_testing_each_centre(objects: list[Parts], stride: int, size: tuple[int, int]) -> None:
    found = label_map(objects, size, stride)
    expected = slow(objects, size, stride)
    assert found.dtype == np.int16
    differs = np.argwhere(found != expected)[:, ::-1]
    # On an edge itself the rounding of a division decides.
    rings = [ring for parts in objects for ring in parts]
    assert not len(differs) or distance(rings, (differs + 0.5) * stride).max() < 1e-6


@given(OBJECTS, st.sampled_from([1, 2, 4]), st.sampled_from([(64, 64), (32, 96), (20, 36)]))
def test_maps_of_objects_are_those_of_testing_each_centre(
    objects: list[Parts], stride: int, size: tuple[int, int]
) -> None:
    found = object_maps(objects, size, stride)
    assert found.dtype == np.bool_
    assert found.shape == (len(objects), size[0] // stride, size[1] // stride)
    for own, parts in zip(found, objects, strict=True):
        differs = np.argwhere(own != mask_of(parts, size, stride))[:, ::-1]
        # On an edge itself the rounding of a division decides.
        assert not len(differs) or distance(list(parts), (differs + 0.5) * stride).max() < 1e-6


@given(OBJECTS)
def test_label_map_shows_the_uppermost_of_the_objects_maps(objects: list[Parts]) -> None:
    own, expected = object_maps(objects, (64, 64)), np.zeros((16, 16), np.int16)
    for at in stacking(objects, (64, 64)):
        expected[own[at]] = at + 1
    np.testing.assert_array_equal(label_map(objects, (64, 64)), expected)


@pytest.mark.parametrize("stride", [4, 8])
def test_masks_of_official_annotations_are_those_of_pycocotools_at_eight_times_the_size(
    shared: Path, stride: int
) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    content = json.loads((shared / "data" / "coco-val128" / "instances.json").read_bytes())
    sizes = {row["id"]: (row["height"], row["width"]) for row in content["images"]}
    compared = differing = 0
    for row in [row for row in content["annotations"] if isinstance(row["segmentation"], list)][:150]:
        height, width = (side // stride * stride for side in sizes[row["image_id"]])
        rings = [np.array(part, np.float32).reshape(-1, 2) for part in row["segmentation"]]
        found = label_map([tuple(rings)], (height, width), stride) > 0
        factor = 8 / stride
        flat = [(ring * factor).astype(float).ravel().tolist() for ring in rings]
        merged = coco.merge(coco.frPyObjects(flat, int(height * factor), int(width * factor)))
        large = rle.decode(merged)
        # The centre of a cell of 8 x 8 pixels is a corner of its middle four: half of each side's pixels decide.
        votes = np.stack([large[3::8, 3::8], large[4::8, 3::8], large[3::8, 4::8], large[4::8, 4::8]]).sum(axis=0)
        clear = (votes == 0) | (votes == 4)
        assert (found == (votes == 4))[clear].all()
        compared, differing = compared + found.size, differing + int((~clear).sum())
    assert differing < 0.02 * compared


def test_hole_shows_what_is_below() -> None:
    ring = join([square(0, 0, 40), square(8, 8, 16)])
    below = square(4, 4, 36)
    labels = label_map([(ring,), (below,)], (40, 40))
    assert labels[0, 0] == 1
    assert labels[4, 4] == 2


def test_even_odd_counts_within_a_part_and_parts_are_united() -> None:
    inner, outer = square(8, 8, 16), square(0, 0, 40)
    assert label_map([(join([outer, inner]),)], (40, 40))[4, 4] == 0
    assert label_map([(outer, inner)], (40, 40))[4, 4] == 1


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]], ids=str)
def test_smaller_is_on_top_whatever_the_order(order: list[int]) -> None:
    objects = [(square(0, 0, 40),), (square(8, 8, 24),), (square(16, 16, 8),)]
    given_order = [objects[at] for at in order]
    assert stacking(given_order, (40, 40)).tolist() == np.argsort(order).tolist()
    labels = label_map(given_order, (40, 40))
    assert [labels[0, 0], labels[3, 3], labels[4, 4]] == [order.index(at) + 1 for at in (0, 1, 2)]


def test_order_is_that_of_visible_cells() -> None:
    objects = [(square(0, 0, 20),), (np.array([[0, 0], [8, 0], [8, 400], [0, 400]], np.float32),)]
    assert stacking(objects, (40, 40)).tolist() == [0, 1]
    assert stacking(objects, (80, 80)).tolist() == [1, 0]


def test_maps_of_objects_keep_what_others_cover() -> None:
    own = object_maps([(square(0, 0, 40),), (square(8, 8, 24),), (square(16, 16, 8),)], (40, 48))
    assert own.sum(axis=(1, 2)).tolist() == [100, 36, 4]
    assert own[:, 4, 4].all()
    assert own[0, :10, :10].all()


def test_given_order_is_followed() -> None:
    objects = [(square(0, 0, 20),), (square(0, 0, 40),)]
    assert label_map(objects, (40, 40), order=np.array([0, 1]))[0, 0] == 2
    assert label_map(objects, (40, 40), order=np.array([1, 0]))[0, 0] == 1


def test_neighbours_share_no_cell_and_leave_none() -> None:
    edge = np.array([[10, -1], [17, 20], [9, 33], [21, 65]], np.float32)
    left = np.concatenate([edge, [[-1, 65], [-1, -1]]]).astype(np.float32)
    right = np.concatenate([edge, [[65, 65], [65, -1]]]).astype(np.float32)
    for stride in (1, 2, 4):
        first, second = (label_map([(ring,)], (64, 64), stride) for ring in (left, right))
        assert (first + second == 1).all()


def test_no_objects_give_an_empty_map_and_no_boxes() -> None:
    assert not label_map([], (32, 64)).any()
    assert label_map([], (32, 64)).shape == (8, 16)
    assert object_maps([], (32, 64)).shape == (0, 8, 16)
    assert stacking([], (32, 64)).shape == (0,)
    assert boxes([]).shape == (0, 4)


def test_boxes_are_the_extents_of_all_parts() -> None:
    found = boxes([(square(3, 4, 5), square(20, 1, 2)), (star((30, 30), 9),)])
    assert found.dtype == np.float32
    assert found[0].tolist() == [3, 1, 22, 9]
    low, high = star((30, 30), 9).min(axis=0), star((30, 30), 9).max(axis=0)
    assert found[1].tolist() == [*low.tolist(), *high.tolist()]


def test_huge_coordinates_take_no_memory() -> None:
    ring: Any = np.array([[-1e9, -1e9], [1e9, -1e9], [1e9, 1e9], [-1e9, 1e9]], np.float32)
    assert (label_map([(ring,)], (32, 32)) == 1).all()
