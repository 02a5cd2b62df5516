"""The letterbox: geometry by hand, the way back as a property, and pixels against an interpolation of our own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.data.letterbox import Geometry, geometry, letterbox, to_input

# (picture, letterbox) -> (resized, top, left), all (height, width) px and worked out by hand
BY_HAND = {
    "same size": ((640, 640), (640, 640), (640, 640), 0, 0),
    "down, even padding": ((480, 1280), (640, 640), (240, 640), 200, 0),
    "down, odd padding goes below": ((720, 1280), (640, 640), (360, 640), 140, 0),
    "odd row below": ((427, 640), (640, 640), (427, 640), 106, 0),
    "odd column right": ((640, 427), (640, 640), (640, 427), 0, 106),
    "one spare row": ((639, 640), (640, 640), (639, 640), 0, 0),
    "up": ((10, 20), (64, 64), (32, 64), 16, 0),
    "up, tall": ((1, 1), (32, 96), (32, 32), 0, 32),
    "not square": ((1080, 1920), (384, 640), (360, 640), 12, 0),
    "not square, bound by height": ((300, 100), (384, 640), (384, 128), 0, 256),
    "rounded to the nearest": ((333, 500), (640, 640), (426, 640), 107, 0),
    "a line across": ((1, 4000), (640, 640), (1, 640), 319, 0),
    "a line down": ((4000, 1), (640, 640), (640, 1), 0, 319),
    "three lines": ((3, 4000), (640, 640), (1, 640), 319, 0),
}

sides = st.integers(1, 5000)
image_sides = st.integers(1, 40).map(lambda cells: 32 * cells)
sizes = st.tuples(sides, sides)
image_sizes = st.tuples(image_sides, image_sides)


@pytest.mark.parametrize(("picture", "image", "resized", "top", "left"), BY_HAND.values(), ids=BY_HAND.keys())
def test_geometry_equals_the_one_worked_out_by_hand(
    picture: tuple[int, int], image: tuple[int, int], resized: tuple[int, int], top: int, left: int
) -> None:
    assert geometry(picture, image) == Geometry(picture, image, resized, top, left)


@given(picture=sizes, image=image_sizes)
def test_a_picture_fills_one_side_stays_inside_and_is_centred(picture: tuple[int, int], image: tuple[int, int]) -> None:
    place = geometry(picture, image)

    below, right = (image[axis] - place.resized[axis] - (place.top, place.left)[axis] for axis in (0, 1))
    assert below - place.top in (0, 1)
    assert right - place.left in (0, 1)
    assert place.resized[0] == image[0] or place.resized[1] == image[1]
    for axis in (0, 1):
        ideal = picture[axis] * min(image[0] / picture[0], image[1] / picture[1])
        assert abs(place.resized[axis] - max(ideal, 1)) <= 0.5


@given(picture=sizes, image=image_sizes, x=st.floats(0, 1), y=st.floats(0, 1))
def test_to_picture_inverts_the_mapping_of_a_point(
    picture: tuple[int, int], image: tuple[int, int], x: float, y: float
) -> None:
    place = geometry(picture, image)
    scale_y, scale_x = place.scale_yx
    px, py = x * picture[1], y * picture[0]
    boxed = np.array([[px * scale_x + place.left, py * scale_y + place.top] * 2], np.float32)

    found = place.to_picture(boxed)[0]

    # float32 letterbox coordinates are exact to 1e-4 px; one of them is 1 / scale picture pixels.
    np.testing.assert_allclose(found, [px, py, px, py], rtol=1e-6, atol=2e-4 / min(scale_x, scale_y))


@pytest.mark.parametrize(
    ("boxed", "expected"),
    [
        ([0, 0, 640, 640], [0, 0, 1280, 720]),
        ([-50, -50, 700, 700], [0, 0, 1280, 720]),
        ([0, 140, 640, 500], [0, 0, 1280, 720]),
        ([10, 0, 20, 100], [20, 0, 40, 0]),
        ([320, 320, 330.5, 330.5], [640, 360, 661, 381]),
    ],
    ids=["whole letterbox", "beyond it", "the picture itself", "in the padding", "inside"],
)
def test_to_picture_clips_to_the_picture(boxed: list[float], expected: list[float]) -> None:
    found = geometry((720, 1280), (640, 640)).to_picture(np.array([boxed], np.float32))

    np.testing.assert_allclose(found, [expected], atol=1e-3)
    assert found.dtype == np.float32


def test_to_picture_of_no_boxes_is_no_boxes() -> None:
    assert geometry((7, 9), (64, 64)).to_picture(np.zeros((0, 4), np.float32)).shape == (0, 4)


@pytest.mark.parametrize("picture", [(30, 50), (200, 90), (64, 64), (1, 4000), (1, 1)], ids=str)
def test_letterbox_puts_the_resized_picture_on_grey(picture: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*picture, 3), np.uint8)
    boxed, place = letterbox(pixels, (64, 96))

    assert boxed.shape == (64, 96, 3)
    assert boxed.dtype == np.uint8
    assert place == geometry(picture, (64, 96))
    inside = np.zeros((64, 96), bool)
    inside[place.top : place.top + place.resized[0], place.left : place.left + place.resized[1]] = True
    assert (boxed[~inside] == 114).all()
    found = boxed[inside].reshape(*place.resized, 3).astype(np.float64)
    # OpenCV computes in fixed point of 11 bits: at most one level beside the exact value.
    assert np.abs(found - _resized(pixels, place.resized)).max() <= 1


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear with half-pixel centres and without antialiasing, in float64."""
    result = pixels.astype(np.float64)
    for axis in (0, 1):
        count = pixels.shape[axis]
        at = np.clip((np.arange(size[axis]) + 0.5) * count / size[axis] - 0.5, 0, count - 1)
        low = np.floor(at).astype(int)
        share = (at - low).reshape(-1, *(1,) * (2 - axis))
        result = result.take(low, axis) * (1 - share) + result.take(np.minimum(low + 1, count - 1), axis) * share
    return result


def test_letterbox_of_a_picture_of_the_right_size_is_the_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)

    boxed, _ = letterbox(pixels, (64, 96))

    np.testing.assert_array_equal(boxed, pixels)
    boxed[:] = 0
    assert pixels.any(), "the picture is the caller's"


@pytest.mark.parametrize("view", ["mirrored", "strided", "channels swapped"])
def test_letterbox_takes_a_view_as_well_as_a_copy(view: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)
    seen = {"mirrored": pixels[:, ::-1], "strided": pixels[::2, 1::3], "channels swapped": pixels[..., ::-1]}[view]

    np.testing.assert_array_equal(letterbox(seen, (64, 64))[0], letterbox(seen.copy(), (64, 64))[0])


def test_letterbox_pads_with_the_level_asked() -> None:
    boxed, _ = letterbox(np.full((10, 64, 3), 9, np.uint8), (64, 64), pad_value=0)

    assert set(np.unique(boxed).tolist()) == {0, 9}


def test_to_input_is_channels_first_in_0_to_1() -> None:
    pictures = [np.random.default_rng(seed).integers(0, 256, (32, 64, 3), np.uint8) for seed in (0, 1)]

    images = to_input(pictures)

    assert images.shape == (2, 3, 32, 64)
    assert images.dtype == np.float32
    assert images.flags.c_contiguous
    expected = np.stack(pictures).transpose(0, 3, 1, 2) / 255
    np.testing.assert_allclose(images, expected, rtol=0, atol=1e-7)


def test_to_input_reaches_0_and_1_exactly() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[0, 0] = 255

    images = to_input([pixels])

    assert images.min() == 0
    assert images.max() == 1


def test_to_input_swaps_red_and_blue_for_bgr_and_keeps_green() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = 10, 20, 30

    images = to_input([pixels], scale=1.0, channel_order="bgr")

    assert [float(plane.max()) for plane in images[0]] == [30, 20, 10]


def test_to_input_refuses_a_channel_order_that_it_does_not_know() -> None:
    with pytest.raises(KeyError):
        to_input([np.zeros((32, 32, 3), np.uint8)], channel_order="RGB")


def test_to_input_refuses_pictures_of_two_sizes() -> None:
    with pytest.raises(ValueError, match="shape"):
        to_input([np.zeros((32, 32, 3), np.uint8), np.zeros((32, 64, 3), np.uint8)])


@pytest.mark.parametrize("channel_order", ["rgb", "bgr"])
def test_to_input_with_the_channels_last_is_a_view_of_pixels_with_the_same_values(channel_order: str) -> None:
    pictures = [np.random.default_rng(seed).integers(0, 256, (32, 64, 3), np.uint8) for seed in range(2)]
    planes = to_input(pictures, channel_order=channel_order)
    pixels = to_input(pictures, channel_order=channel_order, channels_last=True)
    np.testing.assert_array_equal(pixels, planes)
    assert planes.flags.c_contiguous
    assert pixels.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("channels_last", [False, True])
def test_to_input_writes_again_where_an_earlier_input_fits(channels_last: bool) -> None:
    first, second = (np.full((32, 64, 3), grey, np.uint8) for grey in (10, 200))
    earlier = to_input([first], channels_last=channels_last)
    again = to_input([second], channels_last=channels_last, into=earlier)
    assert again is earlier
    np.testing.assert_array_equal(again, to_input([second]))
    larger = to_input([second, first], channels_last=channels_last, into=earlier)
    assert not np.shares_memory(larger, earlier)
    np.testing.assert_array_equal(larger, to_input([second, first]))
