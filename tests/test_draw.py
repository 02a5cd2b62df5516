"""Drawn pictures: what changes, what does not, and that labels can be read."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeseg.draw import CLASS_COLORS, class_color, draw_instances
from edgeseg.errors import ContractError
from edgeseg.instances import CroppedMask, Instances

SIZE = (240, 320)
BOX = (100, 90, 180, 170)

Picture = NDArray[np.uint8]


def photo(size: tuple[int, int] = SIZE) -> Picture:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)


def one(
    box: tuple[float, float, float, float] = BOX, size: tuple[int, int] = SIZE, name: str = "dog", margin: int = 10
) -> Instances:
    """A rectangular mask, `margin` px inside its box."""
    left, top, right, bottom = (int(side) for side in box)
    bitmap = np.ones((max(bottom - top - 2 * margin, 0), max(right - left - 2 * margin, 0)), bool)
    return Instances(
        xyxy=np.array([box], np.float32),
        scores=np.array([0.87], np.float32),
        class_ids=np.zeros(1, np.int64),
        masks=(CroppedMask(bitmap, top + margin, left + margin),),
        names=(name,),
        image_size=size,
    )


def changed(before: Picture, after: Picture) -> NDArray[np.bool_]:
    different: NDArray[np.bool_] = (before != after).any(axis=2)
    return different


def label_rectangle(picture: Picture, instances: Instances) -> tuple[int, int, int, int]:
    """Rows and columns, ends not included, of what the label alone changes; it is a filled rectangle."""
    difference = changed(picture, draw_instances(picture, instances, boxes=False, masks=False))
    rows, columns = np.flatnonzero(difference.any(axis=1)), np.flatnonzero(difference.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    assert difference[top:bottom, left:right].mean() > 0.99
    return int(top), int(bottom), int(left), int(right)


def test_drawing_leaves_its_input_alone_and_gives_the_same_twice() -> None:
    picture = photo()
    before = picture.copy()
    drawn = draw_instances(picture, one())
    np.testing.assert_array_equal(picture, before)
    assert drawn.dtype == np.uint8
    assert drawn.shape == picture.shape
    np.testing.assert_array_equal(drawn, one().draw(picture))


def test_only_box_and_label_change() -> None:
    picture, instances = photo(), one()
    top, bottom, left, right = label_rectangle(picture, instances)
    difference = changed(picture, draw_instances(picture, instances))
    difference[90:170, 100:180] = False
    difference[top:bottom, left:right] = False
    assert not difference.any()
    assert (bottom, left) == (90, 100), "the label stands on the box's top left corner"


def test_box_is_a_line_inside_its_edge() -> None:
    picture = photo()
    drawn = draw_instances(picture, one(), masks=False, labels=False)
    expected = picture.copy()
    expected[90:170, 100:180] = class_color(0)
    expected[91:169, 101:179] = picture[91:169, 101:179]
    np.testing.assert_array_equal(drawn, expected)


def test_mask_is_tinted_inside_and_outlined() -> None:
    picture = photo()
    drawn = draw_instances(picture, one(), boxes=False, labels=False, opacity=0.25)
    inside = (slice(101, 159), slice(111, 169))
    expected = picture[inside] * 0.75 + np.array(class_color(0)) * 0.25
    np.testing.assert_allclose(drawn[inside], expected, atol=0.5)
    outline = drawn[100, 110:170]
    assert (outline == outline[0]).all()
    outside = changed(picture, drawn)
    outside[100:160, 110:170] = False
    assert not outside.any()


def test_boxes_masks_and_labels_can_all_be_left_out() -> None:
    picture = photo()
    np.testing.assert_array_equal(draw_instances(picture, one(), boxes=False, masks=False, labels=False), picture)


def test_instances_with_boxes_only_are_drawn_without_masks() -> None:
    picture = photo()
    expected = draw_instances(picture, one(), masks=False)
    np.testing.assert_array_equal(draw_instances(picture, replace(one(), masks=None)), expected)


def test_small_instance_is_above_a_large_one_whatever_the_order() -> None:
    large, small = one((20, 30, 300, 230)), one((100, 100, 140, 140))
    both = replace(
        large,
        xyxy=np.concatenate([small.xyxy, large.xyxy]),
        scores=np.array([0.3, 0.9], np.float32),
        class_ids=np.array([1, 0]),
        masks=(*(small.masks or ()), *(large.masks or ())),
        names=("table", "cup"),
    )
    for instances in (both, both[[1, 0]]):
        drawn = draw_instances(photo(), instances, masks=False, labels=False)
        assert tuple(drawn[100, 120]) == class_color(1)


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 40, 40),
        (280, 0, 320, 40),
        (0, 200, 40, 240),
        (290, 200, 320, 240),
        (0, 0, 320, 240),
        (-30, -20, 10, 15.5),
    ],
    ids=["top left", "top right", "bottom left", "bottom right", "whole picture", "reaching out"],
)
def test_label_stays_whole_inside_the_picture(box: tuple[float, float, float, float]) -> None:
    picture = photo()
    shape = [b - a for a, b in zip(*[iter(label_rectangle(picture, one()))] * 2, strict=True)]
    top, bottom, left, right = label_rectangle(picture, replace(one(), xyxy=np.array([box], np.float32), masks=None))
    assert [bottom - top, right - left] == shape


def test_label_wider_than_the_picture_shrinks_into_it() -> None:
    picture = photo((60, 50))
    top, bottom, left, right = label_rectangle(picture, one((5, 30, 40, 55), (60, 50), "a very long class name", 2))
    assert right - left <= 50
    assert bottom - top < 20


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 5)], ids=str)
def test_tiny_pictures_are_drawn(size: tuple[int, int]) -> None:
    instances = one((0, 0, size[1], size[0]), size, margin=0)
    assert draw_instances(photo(size), instances).shape == (*size, 3)


def test_labels_of_instances_in_one_place_do_not_cover_each_other() -> None:
    pile = one()[[0, 0, 0]]
    drawn = draw_instances(np.zeros((*SIZE, 3), np.uint8), pile, boxes=False, masks=False)
    single = draw_instances(np.zeros((*SIZE, 3), np.uint8), one(), boxes=False, masks=False)
    assert drawn.any(axis=2).sum() == 3 * single.any(axis=2).sum()


def test_lines_and_labels_grow_with_the_picture() -> None:
    heights, lines = [], []
    for scale in (1, 8):
        size = (SIZE[0] * scale, SIZE[1] * scale)
        left, top, right, bottom = (side * scale for side in BOX)
        instances = one((left, top, right, bottom), size)
        picture = np.full((*size, 3), 77, np.uint8)
        first, last, _, _ = label_rectangle(picture, instances)
        heights.append(last - first)
        column = draw_instances(picture, instances, masks=False, labels=False)[
            top : top + 40 * scale, (left + right) // 2
        ]
        lines.append(int((column != 77).any(axis=1).sum()))
    assert 4 < heights[1] / heights[0] < 8
    assert lines == [1, 7]


@pytest.mark.parametrize("class_id", [*range(12), 40, 79], ids=str)
def test_label_text_has_the_contrast_that_wcag_asks_for(class_id: int) -> None:
    instances = replace(one(), class_ids=np.array([class_id]), names=("M" * 8,) * 80)
    top, bottom, left, right = label_rectangle(photo(), instances)
    label = draw_instances(photo(), instances, boxes=False, masks=False)[top:bottom, left:right]
    background = luminance(label[0, 0])
    ink = max((luminance(pixel) for pixel in label.reshape(-1, 3)), key=lambda value: abs(value - background))
    ratio = (max(ink, background) + 0.05) / (min(ink, background) + 0.05)
    assert ratio >= 4.5


def luminance(color: NDArray[np.uint8]) -> float:
    """Relative luminance of WCAG 2.1."""
    parts = color.astype(float) / 255
    linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_name_in_another_script_is_drawn_or_shows_question_marks() -> None:
    def label(name: str) -> Picture:
        return draw_instances(np.zeros((*SIZE, 3), np.uint8), one(name=name), boxes=False, masks=False)

    same_as_marks = np.array_equal(label("кот"), label("???"))
    assert same_as_marks is (int(cv2.__version__.split(".")[0]) < 5)


def test_colors_are_distinct_and_stable() -> None:
    colors = [class_color(class_id) for class_id in range(200)]
    assert len(set(colors)) == 200
    assert tuple(colors[: len(CLASS_COLORS)]) == CLASS_COLORS
    assert all(0 <= part <= 255 for color in colors for part in color)
    near = np.array(colors[:20], float)
    distances = np.linalg.norm(near[:, None] - near[None], axis=2)[~np.eye(20, dtype=bool)]
    assert distances.min() > 25


def test_hundred_instances_take_less_memory_than_one_more_picture() -> None:
    size = (2000, 3000)
    places = [(left, top, left + 250, top + 150) for top in range(100, 2000, 190) for left in range(0, 3000, 300)]
    hundred = replace(
        one(places[0], size)[[0] * 100],
        xyxy=np.array(places, np.float32),
        masks=tuple(mask for place in places for mask in one(place, size).masks or ()),
    )
    picture = np.zeros((*size, 3), np.uint8)
    tracemalloc.start()
    draw_instances(picture, hundred)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * picture.nbytes


def test_picture_of_another_size_or_dtype_is_refused() -> None:
    with pytest.raises(ContractError, match=r"shape \(240, 300, 3\), dtype uint8, expected \(240, 320, 3\) uint8"):
        draw_instances(photo((240, 300)), one())
    with pytest.raises(ContractError, match="dtype float32"):
        draw_instances(photo().astype(np.float32), one())


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")], ids=str)
def test_opacity_outside_its_range_is_refused(opacity: float) -> None:
    with pytest.raises(ContractError, match=r"expected 0\.\.1"):
        draw_instances(photo(), one(), opacity=opacity)


def test_picture_with_reversed_channels_is_taken_as_it_is() -> None:
    picture = photo()
    drawn = draw_instances(picture[..., ::-1], one(), labels=False)
    np.testing.assert_array_equal(drawn, draw_instances(picture[..., ::-1].copy(), one(), labels=False))
