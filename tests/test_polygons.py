"""Outlines against pycocotools, which rasterises them back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edgeseg.polygons import join, trace

coco = pytest.importorskip("pycocotools.mask")
# pycocotools 2.0.11 hands numpy 2 an `__array__` of the old signature in `decode`.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Bitmap = NDArray[np.bool_]


def rasterised(rings: list[NDArray[np.float32]], shape: tuple[int, ...]) -> Bitmap:
    polygons = [ring.ravel().tolist() for ring in rings]
    bitmap: Bitmap = coco.decode(coco.merge(coco.frPyObjects(polygons, *shape))).astype(bool)
    return bitmap


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 16), st.integers(1, 16))).filter(np.any))
def test_rings_of_any_mask_rasterise_to_the_very_mask(bitmap: Bitmap) -> None:
    rings = trace(bitmap)
    np.testing.assert_array_equal(rasterised(rings, bitmap.shape), bitmap)
    np.testing.assert_array_equal(rasterised([join(rings)], bitmap.shape), bitmap)


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(np.any))
def test_rings_are_one_for_each_connected_part(bitmap: Bitmap) -> None:
    parts, _ = cv2.connectedComponents(bitmap.view(np.uint8), connectivity=8)
    assert len(trace(bitmap)) == parts - 1


def test_ring_of_a_rectangle_is_its_four_corners_on_pixel_edges() -> None:
    bitmap = np.zeros((6, 8), bool)
    bitmap[1:4, 2:7] = True
    (ring,) = trace(bitmap)
    assert ring.dtype == np.float32
    assert {(x, y) for x, y in ring.tolist()} == {(2, 1), (7, 1), (7, 4), (2, 4)}
    assert len(ring) == 4


def test_ring_of_a_mask_with_a_hole_encloses_the_area_without_it() -> None:
    bitmap = np.ones((9, 9), bool)
    bitmap[3:6, 2:7] = False
    (ring,) = trace(bitmap)
    x, y = ring.astype(float).T
    shoelace = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert shoelace == 81 - 15


def test_trace_takes_a_bitmap_in_column_major_memory() -> None:
    bitmap = np.asfortranarray(np.tri(7, 5, dtype=bool))
    np.testing.assert_array_equal(rasterised(trace(bitmap), (7, 5)), bitmap)


@pytest.mark.parametrize("shape", [(0, 0), (4, 5)], ids=["no pixels", "none inside"])
def test_empty_mask_has_no_rings(shape: tuple[int, int]) -> None:
    assert trace(np.zeros(shape, bool)) == []
