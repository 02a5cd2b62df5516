"""Masks to the sub-pixel: known edges, a slow interpolation in float64, borders, and memory."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeseg.data.letterbox import Geometry, geometry
from edgeseg.errors import ContractError
from edgeseg.postprocess.masks import crop_masks

Floats = NDArray[np.float32]

PLACES = {
    "one to one": geometry((640, 640), (640, 640)),
    "half, padded by whole cells": geometry((960, 1280), (640, 640)),
    "down, 106.5 rows of padding": geometry((854, 1280), (640, 640)),
    "odd padding, not scaled": geometry((427, 640), (640, 640)),
    "padding not a multiple of 4, across": geometry((500, 333), (640, 640)),
    "large, a cell is 37 pixels": geometry((4000, 6000), (640, 640)),
    "up by 3.2": geometry((150, 200), (640, 640)),
    "letterbox not square": geometry((1080, 1920), (384, 640)),
    "thin": geometry((9, 1000), (320, 320)),
}
each_place = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())


def whole(place: Geometry) -> Floats:
    height, width = place.picture_size
    return np.array([[0, 0, width, height]], np.float32)


def ramp(place: Geometry, axis: int) -> tuple[Floats, Floats]:
    """Prototypes whose logit is ``position - weight``: letterbox pixels along an axis, and the constant 1.

    Interpolation between cells is exact for it, save outside the outermost cells' centres.
    """
    rows, columns = (side // 4 for side in place.image_size)
    prototypes = np.zeros((32, rows, columns), np.float32)
    centres = 4 * (np.arange((rows, columns)[axis]) + 0.5)
    prototypes[0] = centres[:, None] if axis == 0 else centres[None, :]
    prototypes[1] = 1
    return prototypes, np.zeros((1, 32), np.float32)


@each_place
@pytest.mark.parametrize("axis", [0, 1], ids=["row", "column"])
@pytest.mark.parametrize("share", [0.11, 0.377, 0.5, 0.63, 0.9])
def test_an_edge_falls_on_the_pixel_that_the_letterbox_says(place: Geometry, axis: int, share: float) -> None:
    count = place.picture_size[axis]
    scale, padding = place.scale_yx[axis], (place.top, place.left)[axis]
    # An edge just before the centre of a known pixel, and one just after it.
    pixel = int(count * share)
    for shift, first in ((-0.02, pixel), (0.02, pixel + 1)):
        prototypes, weights = ramp(place, axis)
        weights[0, :2] = 1, -((pixel + 0.5 + shift) * scale + padding)
        (mask,) = crop_masks(prototypes, weights, whole(place), place)

        assert mask.bitmap.shape == place.picture_size
        profile = mask.bitmap.any(axis=1 - axis)
        assert np.array_equal(profile, mask.bitmap.all(axis=1 - axis)), "the edge is straight"
        assert np.flatnonzero(profile).tolist() == list(range(first, count))


def by_definition(prototypes: Floats, weights: Floats, place: Geometry) -> NDArray[np.float64]:
    """Logits at every pixel of the picture: bilinear between cell centres, one pixel at a time, float64."""
    logits = np.tensordot(weights.astype(np.float64), prototypes.astype(np.float64), 1)
    height, width = place.picture_size
    result = np.empty((height, width))
    for y, x in itertools.product(range(height), range(width)):
        v = ((y + 0.5) * place.resized[0] / height + place.top) * logits.shape[0] / place.image_size[0] - 0.5
        u = ((x + 0.5) * place.resized[1] / width + place.left) * logits.shape[1] / place.image_size[1] - 0.5
        v, u = min(max(v, 0.0), logits.shape[0] - 1.0), min(max(u, 0.0), logits.shape[1] - 1.0)
        i, j = min(int(v), logits.shape[0] - 2), min(int(u), logits.shape[1] - 2)
        upper = logits[i, j] * (1 - (u - j)) + logits[i, j + 1] * (u - j)
        lower = logits[i + 1, j] * (1 - (u - j)) + logits[i + 1, j + 1] * (u - j)
        result[y, x] = upper * (1 - (v - i)) + lower * (v - i)
    return result


@pytest.mark.parametrize("picture", [(61, 97), (128, 96), (20, 15), (300, 40), (1, 50), (7, 1)], ids=str)
def test_masks_equal_bilinear_interpolation_in_float64(picture: tuple[int, int]) -> None:
    place = geometry(picture, (64, 96))
    rng = np.random.default_rng(0)
    prototypes = rng.normal(size=(32, 16, 24)).astype(np.float32)
    weights = rng.normal(size=(6, 32)).astype(np.float32)
    height, width = picture
    corners = np.sort(rng.uniform(0, 1, (5, 2, 2)), axis=1).reshape(5, 4) * np.tile([width, height], 2)
    boxes = np.concatenate([corners, whole(place)]).astype(np.float32)

    masks = crop_masks(prototypes, weights, boxes, place)

    for mask, one, box in zip(masks, weights, boxes.tolist(), strict=True):
        logits = by_definition(prototypes, one, place)
        ys, xs = np.arange(height)[:, None], np.arange(width)[None]
        inside = (xs >= box[0]) & (xs < box[2]) & (ys >= box[1]) & (ys < box[3])
        found = np.zeros(picture, bool)
        found[mask.window] = mask.bitmap
        differs = found != (inside & (logits > 0))
        assert not (differs & (np.abs(logits) > 1e-3)).any()
        assert mask.bitmap.size == inside.sum(), "the bitmap is the box, no more"


# Boxes


def everywhere(place: Geometry) -> tuple[Floats, Floats]:
    """Prototypes and a coefficient that are inside at every pixel."""
    prototypes = np.zeros((32, place.image_size[0] // 4, place.image_size[1] // 4), np.float32)
    prototypes[0] = 1
    weights = np.zeros((1, 32), np.float32)
    weights[0, 0] = 1
    return prototypes, weights


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((0, 0, 640, 427), (0, 427), (0, 640)),
        ((0, 0, 1, 1), (0, 1), (0, 1)),
        ((639, 426, 640, 427), (426, 427), (639, 640)),
        ((10, 20, 13, 22), (20, 22), (10, 13)),
        ((10.4, 20.4, 12.6, 22.6), (21, 23), (11, 13)),
        ((10.6, 20.6, 12.4, 22.4), (21, 23), (11, 13)),
        ((10.0, 20.5, 12.0, 22.5), (21, 23), (10, 12)),
        ((638.4, 0, 640, 0.6), (0, 1), (639, 640)),
    ],
    ids=str,
)
def test_a_mask_has_the_pixels_whose_corners_are_in_the_box(
    box: tuple[float, ...], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    place = PLACES["odd padding, not scaled"]

    (mask,) = crop_masks(*everywhere(place), np.array([box], np.float32), place)

    assert mask.window == (slice(*rows), slice(*columns))
    assert mask.bitmap.all()


@pytest.mark.parametrize(
    "box",
    [(5, 5, 5, 9), (5, 5, 9, 5), (5.2, 5, 5.9, 9), (0.1, 0, 0.4, 0.4), (639.6, 426.6, 640, 427), (640, 427, 640, 427)],
    ids=str,
)
def test_a_box_without_a_pixels_corner_has_an_empty_mask_in_the_picture(box: tuple[float, ...]) -> None:
    place = PLACES["odd padding, not scaled"]

    (mask,) = crop_masks(*everywhere(place), np.array([box], np.float32), place)

    assert mask.bitmap.size == 0
    assert 0 <= mask.top <= 427
    assert 0 <= mask.left <= 640


@given(
    picture=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    box=st.tuples(*[st.floats(0, 1, width=32)] * 4),
)
@settings(max_examples=200, deadline=None)
def test_any_box_in_any_picture_gives_a_mask_inside_both(
    picture: tuple[int, int], box: tuple[float, float, float, float]
) -> None:
    place = geometry(picture, (96, 64))
    height, width = picture
    x1, x2 = sorted(np.float32(side * width) for side in box[::2])
    y1, y2 = sorted(np.float32(side * height) for side in box[1::2])

    (mask,) = crop_masks(*everywhere(place), np.array([[x1, y1, x2, y2]], np.float32), place)

    if mask.bitmap.size:
        rows, columns = mask.window
        assert x1 <= columns.start or math.isclose(columns.start, x1, rel_tol=1e-6)
        assert columns.stop - 1 < x2
        assert y1 <= rows.start or math.isclose(rows.start, y1, rel_tol=1e-6)
        assert rows.stop <= height
        assert columns.stop <= width
        assert mask.bitmap.all()


def test_a_mask_does_not_depend_on_its_box_but_for_the_crop() -> None:
    place = PLACES["down, 106.5 rows of padding"]
    rng = np.random.default_rng(1)
    prototypes = rng.normal(size=(32, 160, 160)).astype(np.float32)
    weights = np.repeat(rng.normal(size=(1, 32)).astype(np.float32), 2, axis=0)
    boxes = np.concatenate([whole(place), np.array([[301, 77, 802, 503]], np.float32)])

    full, part = crop_masks(prototypes, weights, boxes, place)

    # The order of float32 sums may differ where a logit is all but 0.
    assert (full.bitmap[77:503, 301:802] != part.bitmap).mean() < 1e-5


def test_no_boxes_give_no_masks() -> None:
    place = PLACES["one to one"]
    prototypes, _ = everywhere(place)

    assert crop_masks(prototypes, np.zeros((0, 32), np.float32), np.zeros((0, 4), np.float32), place) == ()


def test_a_logit_of_zero_is_outside() -> None:
    place = PLACES["one to one"]
    prototypes, weights = everywhere(place)

    (mask,) = crop_masks(0 * prototypes, weights, whole(place), place)

    assert not mask.bitmap.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_prototypes_that_are_not_finite_are_refused_under_the_box(value: float) -> None:
    place = PLACES["one to one"]
    prototypes, weights = everywhere(place)
    prototypes[0, 100, 100] = value
    elsewhere = np.array([[0, 0, 100, 100]], np.float32)

    assert crop_masks(prototypes, weights, elsewhere, place)[0].bitmap.all()
    with pytest.raises(ContractError, match="not finite"):
        crop_masks(prototypes, weights, whole(place), place)


# Sizes


def test_a_picture_wider_than_a_signed_short_has_its_whole_mask() -> None:
    # OpenCV's remapping functions stop at 32,767 pixels.
    place = geometry((40, 70_000), (640, 640))

    (mask,) = crop_masks(*everywhere(place), whole(place), place)

    assert mask.bitmap.shape == (40, 70_000)
    assert mask.bitmap.all()


def test_one_mask_of_the_whole_picture_takes_its_bitmap_and_little_more() -> None:
    place = geometry((4000, 6000), (640, 640))
    prototypes, weights = everywhere(place)

    tracemalloc.start()
    (mask,) = crop_masks(prototypes, weights, whole(place), place)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert mask.bitmap.nbytes == 24_000_000
    assert peak < 1.5 * mask.bitmap.nbytes, f"{peak / 1e6:.0f} MB; the logits at this size would take 96 MB"


def test_memory_follows_the_boxes_and_not_the_picture_times_their_number() -> None:
    place = geometry((4000, 6000), (640, 640))
    rng = np.random.default_rng(0)
    prototypes = rng.normal(size=(32, 160, 160)).astype(np.float32)
    weights = rng.normal(size=(100, 32)).astype(np.float32)
    corners = rng.uniform(0, 1, (100, 2)) * [5400, 3600]
    boxes = np.concatenate([corners, corners + np.array([600, 400])], axis=1).astype(np.float32)
    area = 100 * 600 * 400

    tracemalloc.start()
    masks = crop_masks(prototypes, weights, boxes, place)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert sum(mask.bitmap.nbytes for mask in masks) == pytest.approx(area, rel=0.01)
    assert held < 1.1 * area
    assert peak < 1.2 * area, f"{peak / 1e6:.0f} MB; all masks at the picture's size take 2400 MB"
