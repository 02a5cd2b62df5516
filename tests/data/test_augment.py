"""Training pictures: pixels and outlines agree whatever is done to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.card.train import Augmentation
from edgeseg.data import clip
from edgeseg.data.augment import Augmenter
from edgeseg.data.colour import jitter_colour
from edgeseg.data.copy_paste import MAX_HIDDEN, paste
from edgeseg.data.label_map import boxes, label_map, stacking
from edgeseg.data.labelled import Labelled
from edgeseg.data.letterbox import letterbox
from tests.data.outlines import check_agreement, check_mask, drawn, mask_of, star
from tests.data.test_warp import TRANSFORMS, ZOOM, settings

Load = Callable[[int], Labelled]
SIZES = [(64, 96), (97, 131)]


@lru_cache
def pictures_for(size: tuple[int, int], count: int = 5) -> list[Labelled]:
    """Pictures whose long side fits `size`, higher and wider ones, each with a star of its class."""
    found = []
    for number in range(count):
        ratio = (0.75, 1.6, 1.0)[number % 3] * size[0] / size[1]
        height, width = (round(min(1.0, side) * length) for side, length in zip((ratio, 1 / ratio), size, strict=True))
        centre = (width * (0.4 + 0.05 * number), height * 0.5)
        found.append(drawn([(star(centre, 0.3 * min(height, width)),)], (height, width), class_id=number))
    return found


@pytest.fixture(params=SIZES, ids=str)
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    height, width = request.param
    return height, width


@pytest.fixture
def keep_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slivers are in the pixels too."""
    monkeypatch.setattr(clip, "MIN_SHARE", 0.0)
    monkeypatch.setattr(clip, "MIN_SIDE_PX", 0.0)


def augmented(pictures: list[Labelled], size: tuple[int, int], seed: int, **changes: Any) -> Labelled:
    rng = np.random.default_rng(seed)
    augmenter = Augmenter(settings(**changes))
    return augmenter(pictures.__getitem__, seed % len(pictures), len(pictures), size, rng, True)


@pytest.mark.parametrize("mosaic", [0.0, 1.0], ids=["single", "mosaic"])
@pytest.mark.parametrize("transform", ["none", *TRANSFORMS])
@pytest.mark.usefixtures("keep_all")
def test_outlines_follow_the_pixels_to_half_a_pixel(transform: str, mosaic: float, size: tuple[int, int]) -> None:
    pictures = pictures_for(size)
    for seed in range(3):
        found = augmented(pictures, size, seed, mosaic=mosaic, **TRANSFORMS.get(transform, {}))
        assert found.picture.shape == (*size, 3)
        assert found.picture.dtype == np.uint8
        check_agreement(found, zoom=ZOOM.get(transform, 1))


@pytest.mark.parametrize("mosaic", [0.0, 1.0], ids=["single", "mosaic"])
@pytest.mark.usefixtures("keep_all")
def test_outlines_are_not_shifted_on_average(mosaic: float) -> None:
    pictures = pictures_for((64, 96))
    moved = []
    for seed in range(40):
        found = augmented(pictures, (64, 96), seed, mosaic=mosaic, **TRANSFORMS["all"])
        expected = mask_of([ring for parts in found.objects for ring in parts], (64, 96))
        if expected.sum() > 100:
            seen = found.picture[..., 0] > 127
            moved.append(np.mean(np.nonzero(seen), axis=1) - np.mean(np.nonzero(expected), axis=1))
    assert len(moved) > 30
    # Half a pixel forgotten anywhere would show as 0.25 to 0.5.
    assert np.abs(np.mean(moved, axis=0)).max() < 0.06


@pytest.mark.parametrize("mosaic", [0.0, 1.0], ids=["single", "mosaic"])
@pytest.mark.usefixtures("keep_all")
def test_pictures_cached_for_another_size_are_scaled_in_the_warp(mosaic: float) -> None:
    pictures = pictures_for((128, 128))
    for seed in range(3):
        for wanted in ((96, 96), (160, 160), (96, 160)):
            check_agreement(augmented(pictures, wanted, seed, mosaic=mosaic, **TRANSFORMS["all"]), zoom=2)


def test_picture_without_augmentation_is_the_letterboxed_one(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    height, width = size
    for shape in ((height, width - 21), (height - 13, width)):
        picture = rng.integers(0, 256, (*shape, 3), np.uint8)
        found = augmented([Labelled(picture, np.zeros(0, np.int64), ())], size, 0)
        np.testing.assert_array_equal(found.picture, letterbox(picture, size)[0])
        assert found.objects == ()


@pytest.mark.parametrize("changes", [{}, TRANSFORMS["all"], {"mixup": 1, "copy_paste": 1}], ids=["plain", "all", "two"])
def test_same_seed_gives_the_same_and_another_another(changes: dict[str, Any], size: tuple[int, int]) -> None:
    pictures = pictures_for(size)
    everything = {"mosaic": 0.5, "hsv_h": 0.1, "hsv_s": 0.5, "hsv_v": 0.5, **changes}
    first, second, other = (augmented(pictures, size, seed, **everything) for seed in (4, 4, 9))
    np.testing.assert_array_equal(first.picture, second.picture)
    np.testing.assert_array_equal(first.class_ids, second.class_ids)
    np.testing.assert_array_equal(boxes(first.objects), boxes(second.objects))
    assert not np.array_equal(first.picture, other.picture)


def test_mosaic_shows_four_pictures_only_where_it_is_allowed() -> None:
    height, width = size = (96, 128)
    pictures = [
        Labelled(np.full((height, width, 3), 20 * number, np.uint8), np.zeros(0, np.int64), ()) for number in range(12)
    ]
    augmenter = Augmenter(settings(mosaic=1))
    most = 0
    for seed in range(20):
        shown = {
            allowed: set(
                np.unique(augmenter(pictures.__getitem__, 1, 12, size, np.random.default_rng(seed), allowed).picture)
            )
            for allowed in (False, True)
        }
        assert shown[False] == {20}
        most = max(most, len(shown[True] - {114}))
        assert len(shown[True] - {114}) <= 4
    assert most == 4


def test_mosaic_shares_its_place_between_the_pictures() -> None:
    pictures = [Labelled(np.full((64, 64, 3), value, np.uint8), np.zeros(0, np.int64), ()) for value in (50, 200)]
    shares = []
    for seed in range(200):
        picture = Augmenter(settings(mosaic=1))(pictures.__getitem__, 0, 2, (64, 64), np.random.default_rng(seed), True)
        assert set(np.unique(picture.picture)) <= {50, 200}
        shares.append((picture.picture[..., 0] == 50).mean())
    # One of four is number 0, the others are it by half: 2.5 of 4.
    assert np.mean(shares) == pytest.approx(0.625, abs=0.05)


def test_objects_lie_in_the_picture_and_have_a_size(size: tuple[int, int]) -> None:
    pictures = pictures_for(size)
    dropped = 0
    for seed in range(40):
        found = augmented(pictures, size, seed, mosaic=1, **TRANSFORMS["all"])
        extent = boxes(found.objects)
        assert len(found.objects) == len(found.class_ids) == len(extent)
        assert (extent >= 0).all()
        assert (extent <= (size[1], size[0], size[1], size[0])).all()
        assert (extent[:, 2:] - extent[:, :2] >= 2).all()
        dropped += 4 - len(found.objects)
    assert 0 < dropped < 100


def test_class_ids_stay_with_their_objects() -> None:
    pictures = [drawn([(star((32, 32), 20),)], (64, 64), channel=number, class_id=number) for number in range(3)]
    for seed in range(20):
        found = augmented(pictures, (64, 64), seed, mosaic=1, scale=0.3, degrees=40)
        for class_id, parts in zip(found.class_ids.tolist(), found.objects, strict=True):
            inside = mask_of(parts, (64, 64))
            others = found.picture[inside].astype(float).mean(axis=0)
            assert others.argmax() == class_id


def test_mixup_blends_two_pictures_and_keeps_the_objects_of_both() -> None:
    pictures = [
        drawn([(star(centre, 20),)], (64, 64), channel=number, class_id=number)
        for number, centre in enumerate([(25, 35), (40, 30)])
    ]
    both = 0
    for seed in range(12):
        found = augmented(pictures, (64, 64), seed, mixup=1, flip_lr=0.5, flip_ud=0.5)
        if sorted(found.class_ids.tolist()) != [0, 1]:
            continue
        both += 1
        shares = found.picture.reshape(-1, 3).max(axis=0)[:2] / 255.0
        assert shares.sum() == pytest.approx(1, abs=0.02)
        assert 0.2 < shares[0] < 0.8
        for class_id, parts in zip(found.class_ids.tolist(), found.objects, strict=True):
            check_mask(found.picture[..., class_id] > 255 * shares[class_id] / 2, parts)
    assert both >= 3


def scene_to_paste() -> tuple[Labelled, Labelled]:
    below = drawn([(star((30, 30), 26),), (star((76, 60), 9),), (star((30, 75), 10),)], (96, 128), 0, 1)
    other = drawn(
        [(star((45, 30), 12, 4),), (star((76, 62), 24),), (star((30, 73), 11),), (star((110, 80), 9),)], (96, 128), 2, 2
    )
    return below, other


def test_pasted_objects_are_where_the_label_map_shows_them() -> None:
    below, other = scene_to_paste()
    found = paste(below, other)
    assert found.class_ids.tolist() == [1, 1, 1, 2, 2, 2]
    labels = label_map(found.objects, (96, 128), stride=1, order=stacking(found.objects, (96, 128)))
    pasted = labels > 3
    np.testing.assert_array_equal(found.picture[pasted], other.picture[pasted])
    np.testing.assert_array_equal(found.picture[~pasted], below.picture[~pasted])
    # The small object of the picture stays in front of the large one that is pasted around it.
    assert labels[60, 76] == 2
    assert found.picture[60, 76].tolist() == [255, 0, 0]
    assert labels[80, 76] == 5
    assert found.picture[80, 76].tolist() == [0, 0, 255]
    # A smaller one goes over the large one of the picture.
    assert found.picture[30, 45].tolist() == [0, 0, 255]


def test_pasting_hides_at_most_a_third_of_anything() -> None:
    below, other = scene_to_paste()
    found = paste(below, other)
    labels = label_map(found.objects, (96, 128), stride=1, order=stacking(found.objects, (96, 128)))
    for number, parts in enumerate(found.objects, start=1):
        whole = mask_of(parts, (96, 128))
        assert (labels[whole] == number).mean() >= 1 - MAX_HIDDEN - 0.05


def test_nothing_is_pasted_over_an_object_of_the_same_place() -> None:
    below = drawn([(star((30, 30), 20),)], (64, 64), 0)
    assert paste(below, drawn([(star((31, 30), 19),)], (64, 64), 2)) is below
    assert paste(below, drawn([], (64, 64), 2)) is below


def test_copy_paste_comes_from_another_warped_picture(size: tuple[int, int]) -> None:
    height, width = size
    pictures = [
        drawn([(star((width * 0.25, height * 0.5), height * 0.2),)], size, 0, 0),
        drawn([(star((width * 0.75, height * 0.5), height * 0.2),)], size, 2, 1),
    ]
    both = 0
    for seed in range(0, 24, 2):
        found = augmented(pictures, size, seed, copy_paste=1, degrees=20, translate=0.05)
        if found.class_ids.tolist() == [0, 1]:
            both += 1
            order = stacking(found.objects, size)
            labels = label_map(found.objects, size, stride=1, order=order)
            blue = found.picture[..., 2].astype(int) - found.picture[..., 0] > 60
            assert (blue & (labels != 2)).sum() == 0
            assert (labels == 2).sum() > 50
    assert both >= 3


@pytest.mark.parametrize("ranges", [(0.5, 0, 0), (0, 0.9, 0), (0, 0, 0.6)], ids=["hue", "saturation", "brightness"])
def test_each_colour_range_changes_its_own_part(ranges: tuple[float, float, float]) -> None:
    picture = np.full((4, 4, 3), (180, 120, 60), np.uint8)
    before = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[0, 0].astype(int)
    chosen = settings(**dict(zip(("hsv_h", "hsv_s", "hsv_v"), ranges, strict=True)))
    moved = []
    for seed in range(30):
        found = jitter_colour(picture, chosen, np.random.default_rng(seed))
        after = cv2.cvtColor(found, cv2.COLOR_RGB2HSV)[0, 0].astype(int)
        moved.append(np.minimum(np.abs(after - before), np.abs(np.abs(after - before) - [180, 999, 999])))
    part = int(np.flatnonzero(ranges)[0])
    most = np.max(moved, axis=0)
    # Eight bits round what is turned there and back.
    assert all(value <= 6 for value in np.delete(most, part))
    limits = (90, 0.9 * before[1], 0.6 * before[2])
    assert 0.7 * limits[part] < most[part] <= limits[part] + 6


def test_colours_are_left_alone_where_all_ranges_are_zero() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    assert jitter_colour(picture, settings(), np.random.default_rng(0)) is picture


def test_grey_stays_grey_when_hue_turns() -> None:
    picture = np.full((4, 4, 3), 114, np.uint8)
    found = jitter_colour(picture, Augmentation(hsv_h=0.5, hsv_s=0.9, hsv_v=0), np.random.default_rng(1))
    np.testing.assert_array_equal(found, picture)


def test_loaded_pictures_are_not_written_to() -> None:
    pictures = pictures_for((64, 64))
    for labelled in pictures:
        labelled.picture.flags.writeable = False
    for seed in range(4):
        augmented(pictures, (64, 64), seed, mosaic=0.5, mixup=1, copy_paste=1, hsv_s=0.5)
