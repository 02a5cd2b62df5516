"""A warp moves pixels and outlines alike."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.card.train import Augmentation
from edgeseg.data.labelled import Labelled
from edgeseg.data.warp import MAX_TILT, random_warp, scaling, seen, shift, warp_objects, warp_picture
from tests.data.outlines import check_agreement, drawn, star

STILL = {"mosaic": 0.0, "scale": 0.0, "translate": 0.0, "flip_lr": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}
TRANSFORMS: dict[str, dict[str, Any]] = {
    "scale": {"scale": 0.5},
    "translate": {"translate": 0.13},
    "degrees": {"degrees": 180},
    "shear": {"shear": 20},
    "perspective": {"perspective": 0.001},
    "flip left to right": {"flip_lr": 1},
    "flip upside down": {"flip_ud": 1},
    "all": {
        **{"scale": 0.4, "translate": 0.1, "degrees": 30, "shear": 10, "perspective": 0.001},
        **{"flip_lr": 0.5, "flip_ud": 0.5},
    },
}
ZOOM = {"scale": 1.5, "perspective": 2, "all": 2}
"""Largest scale that a transform may have anywhere."""

SIZES = [(64, 96), (97, 131)]


def settings(**changes: Any) -> Augmentation:
    return Augmentation(**{**STILL, **changes})


@pytest.fixture(scope="module", params=SIZES, ids=str)
def scene(request: pytest.FixtureRequest) -> Labelled:
    height, width = request.param
    return drawn([(star((width * 0.45, height * 0.55), height * 0.25),)], (height, width))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_outline_follows_the_pixels_to_half_a_pixel(transform: str, scene: Labelled) -> None:
    height, width = scene.picture.shape[:2]
    for seed in range(4):
        rng = np.random.default_rng(seed)
        matrix = random_warp(settings(**TRANSFORMS[transform]), (height, width), (height, width), rng)
        picture = warp_picture(scene.picture, matrix, (height, width), 0)
        objects = warp_objects(scene.objects, matrix)
        check_agreement(Labelled(picture, scene.class_ids, tuple(objects)), zoom=ZOOM.get(transform, 1))


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_edge_is_where_the_matrix_puts_it(factor: int) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:, 5:] = 255
    found = warp_picture(picture, scaling(factor, factor), (8 * factor, 8 * factor), 0)
    middle = found[4 * factor, :, 0].astype(float)
    assert middle[: 5 * factor].max() < 128 <= middle[5 * factor : 7 * factor].min()


@pytest.mark.parametrize(("x", "y"), [(0, 0), (3, -2), (-7, 5), (40, 0), (0, -40)])
def test_whole_pixels_are_moved_without_resampling(x: int, y: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    found = warp_picture(picture, shift(x, y), (24, 26), 114)
    expected = np.full((24, 26, 3), 114, np.uint8)
    for row in range(24):
        for column in range(26):
            if 0 <= row - y < 20 and 0 <= column - x < 30:
                expected[row, column] = picture[row - y, column - x]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("flips", "axis"), [({"flip_lr": 1}, 1), ({"flip_ud": 1}, 0), ({"flip_lr": 1, "flip_ud": 1}, -1)]
)
def test_flip_gives_the_very_bytes(flips: dict[str, float], axis: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (33, 46, 3), np.uint8)
    matrix = random_warp(settings(**flips), (33, 46), (33, 46), np.random.default_rng(0))
    np.testing.assert_array_equal(warp_picture(picture, matrix, (33, 46), 114), cv2.flip(picture, axis))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_part_that_is_seen_gives_the_picture_of_the_whole(transform: str) -> None:
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (180, 220, 3), np.uint8), (0, 0), 3)
    for seed in range(4):
        matrix = random_warp(settings(**TRANSFORMS[transform]), (180, 220), (90, 110), np.random.default_rng(seed))
        left, top, right, bottom = seen(matrix, (180, 220), (90, 110))
        whole = warp_picture(np.asarray(picture, np.uint8), matrix, (90, 110), 114)
        part = warp_picture(
            np.ascontiguousarray(picture[top:bottom, left:right]), matrix @ shift(left, top), (90, 110), 114
        )
        # OpenCV may round a position to a 32nd of a pixel.
        assert np.abs(whole.astype(int) - part).max() <= 3


def test_part_that_is_seen_is_about_a_quarter_of_a_mosaic() -> None:
    matrix = random_warp(settings(), (200, 200), (100, 100), np.random.default_rng(0))
    assert seen(matrix, (200, 200), (100, 100)) == (49, 49, 151, 151)


def test_part_that_is_seen_has_a_pixel_where_a_warp_shows_nothing() -> None:
    left, top, right, bottom = seen(shift(1000, -1000), (20, 30), (20, 30))
    assert 0 <= left < right <= 30
    assert 0 <= top < bottom <= 20


@pytest.mark.parametrize("side", [640, 2560])
def test_perspective_keeps_the_horizon_out_of_the_canvas(side: int) -> None:
    corners = np.array([[0, side, 0, side], [0, 0, side, side], [1, 1, 1, 1]])
    nearest = 1.0
    for seed in range(50):
        rng = np.random.default_rng(seed)
        matrix = random_warp(settings(perspective=0.001), (side, side), (side, side), rng)
        depth = (matrix @ corners)[2]
        assert depth.min() >= 1 - MAX_TILT - 1e-9
        nearest = min(nearest, depth.min())
    assert nearest < 0.7


def test_ranges_are_those_of_the_settings() -> None:
    found = [
        random_warp(settings(scale=0.5, translate=0.1), (100, 200), (100, 200), np.random.default_rng(seed))
        for seed in range(300)
    ]
    zoom = np.array([matrix[0, 0] for matrix in found])
    centre = np.array([(matrix @ (100, 50, 1))[:2] for matrix in found]) - (100, 50)
    assert 0.5 <= zoom.min() < 0.52 < 1.48 < zoom.max() <= 1.5
    np.testing.assert_allclose(np.abs(centre).max(axis=0), (20, 10), rtol=0.05)
