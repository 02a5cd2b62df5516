"""Outlines cut at a frame: the same mask inside it, and the extent of what is seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeseg.data.clip import clip, clip_ring, is_kept
from edgeseg.data.label_map import boxes
from edgeseg.data.scanline import areas
from edgeseg.polygons import join
from tests.data.outlines import contains, mask_of, star

SIZE = (24, 32)
FRAME = (0.0, 0.0, 32.0, 24.0)

# Quarters of a pixel put many corners on the frame; the ninth parts keep the edges off the samples.
COORDINATES = st.integers(-80, 200).map(lambda value: value / 4)
RINGS = st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=9).map(
    lambda ring: np.array(ring, np.float32)
)


def ring_of(*points: tuple[float, float]) -> NDArray[np.float32]:
    return np.array(points, np.float32)


def box_ring(left: float, top: float, right: float, bottom: float) -> NDArray[np.float32]:
    return ring_of((left, top), (right, top), (right, bottom), (left, bottom))


def samples(size: tuple[int, int]) -> NDArray[np.float64]:
    rows, columns = np.indices(size)
    return np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.4871


@given(RINGS)
def test_clipped_ring_has_the_mask_of_the_ring_even_where_it_crosses_itself(ring: NDArray[np.float32]) -> None:
    points = samples(SIZE)
    whole = contains(ring, points)
    clipped = clip_ring(ring, FRAME)
    covered = np.zeros(len(points), bool) if clipped is None else contains(clipped, points)
    # Single precision moves an edge by a millionth of a pixel: a sample seldom lies that near to one.
    assert (covered != whole).sum() <= 2


@given(RINGS)
def test_clipped_ring_lies_in_the_frame(ring: NDArray[np.float32]) -> None:
    clipped = clip_ring(ring, FRAME)
    if clipped is not None:
        assert len(clipped) >= 3
        assert (clipped >= 0).all()
        assert (clipped <= (32, 24)).all()


def test_ring_in_the_frame_is_left_as_it_is() -> None:
    ring = ring_of((0, 0), (32, 0), (32, 24), (0, 24))
    clipped = clip_ring(ring, FRAME)
    assert clipped is not None
    np.testing.assert_array_equal(clipped, ring)


@pytest.mark.parametrize(
    "ring",
    [
        ring_of((-5, 2), (0, 2), (0, 9), (-5, 9)),
        ring_of((40, 2), (50, 2), (50, 9)),
        ring_of((5, -3), (9, 0), (12, -3)),
        ring_of((-3, 5), (-3, -3), (5, -3), (-2, -2)),
    ],
    ids=["touches with a side", "far away", "touches with a corner", "around a corner"],
)
def test_ring_out_of_the_frame_is_gone(ring: NDArray[np.float32]) -> None:
    assert clip_ring(ring, FRAME) is None
    assert clip([(ring,)], FRAME)[0] == [()]


def test_box_does_not_reach_where_a_ring_passes_outside() -> None:
    # An arch over the frame: its feet come in from the left and from the right.
    arch = ring_of((-9, 9), (-9, -9), (41, -9), (41, 15), (30, 15), (30, 12), (37, 12), (37, -5), (-5, -5))
    arch = np.concatenate([arch, ring_of((-5, 6), (4, 6), (4, 9))])
    found, shares = clip([(arch,)], FRAME)
    np.testing.assert_array_equal(boxes(found), [[0, 6, 32, 15]])
    assert 0 < shares[0] < 0.1
    one_foot = np.concatenate([arch[:3], ring_of((41, -5)), arch[8:]])
    np.testing.assert_array_equal(boxes(clip([(one_foot,)], FRAME)[0]), [[0, 6, 4, 9]])


def test_comb_over_an_edge_becomes_its_teeth() -> None:
    comb = ring_of(
        (4, -4), (28, -4), (28, 8), (24, 8), (24, -2), (18, -2), (18, 6), (14, 6), (14, -2), (8, -2), (8, 9), (4, 9)
    )
    found, shares = clip([(comb,)], FRAME)
    teeth = [box_ring(4, 0, 8, 9), box_ring(14, 0, 18, 6), box_ring(24, 0, 28, 8)]
    np.testing.assert_array_equal(mask_of(found[0], SIZE), mask_of(teeth, SIZE))
    inside = 4 * (9 + 6 + 8)
    assert shares[0] == pytest.approx(inside / (inside + 24 * 2 + 4 * 3 * 2), rel=0.05)


def test_hole_stays_a_hole_when_its_bridge_is_cut() -> None:
    outer, hole = ring_of((-10, 4), (20, 4), (20, 20), (-10, 20)), ring_of((-4, 8), (10, 8), (10, 16), (-4, 16))
    ring = join([outer, hole])
    found = clip([(ring,)], FRAME)[0][0]
    expected = mask_of([outer], SIZE) & ~mask_of([hole], SIZE)
    np.testing.assert_array_equal(mask_of(found, SIZE), expected)


def test_frames_may_differ_by_object() -> None:
    square = ring_of((0, 0), (10, 0), (10, 10), (0, 10))
    found, shares = clip([(square,), (square,)], np.array([[5.0, 0, 20, 20], [0, 0, 10, 2]]))
    np.testing.assert_array_equal(boxes(found), [[5, 0, 10, 10], [0, 0, 10, 2]])
    np.testing.assert_allclose(shares, [0.5, 0.2], atol=0.02)


@pytest.mark.parametrize("backwards", [False, True], ids=["same way", "other way"])
def test_area_counts_joined_parts_whichever_way_they_wind(backwards: bool) -> None:
    first, second = ring_of((0, 0), (10, 0), (10, 10), (0, 10)), ring_of((20, 0), (28, 0), (28, 10), (20, 10))
    second = second[::-1] if backwards else second
    assert areas([(join([first, second]),)])[0] == pytest.approx(180, rel=0.02)


def test_area_of_a_shape_is_right_to_a_few_percent() -> None:
    star_ring = star((40, 40), 30)
    x, y = star_ring.T.astype(float)
    exact = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    assert areas([(star_ring,), (star_ring, star_ring + 100)]) == pytest.approx([exact, 2 * exact], rel=0.02)
    assert areas([]).shape == (0,)


def test_objects_too_thin_or_mostly_hidden_are_not_kept() -> None:
    objects = [(box_ring(*box),) for box in ((-2, 5, 2, 9), (-2.1, 5, 1.9, 9), (-50, 5, 4, 9), (-30, 5, 4, 9))]
    found, shares = clip([*objects, (box_ring(-9, -9, -1, -1),)], FRAME)
    assert is_kept(found, shares).tolist() == [True, False, False, True, False]
    assert is_kept([], np.zeros(0)).tolist() == []
