"""Polygons to masks, to the bit what pycocotools makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeseg.data.rasterise import decimals, rasterise, ring_areas, snapped

coco = pytest.importorskip("pycocotools.mask")

Floats = NDArray[np.float64]

# Two decimals, as COCO has them: many of those lie on the border of two grid points.
COORDINATES = st.integers(-1500, 5000).map(lambda value: value / 100) | st.floats(-60, 90, width=64)
RINGS = st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=8).map(np.array)
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def reference(rings: list[Floats], size: tuple[int, int]) -> Any:
    return coco.merge(coco.frPyObjects([ring.ravel().tolist() for ring in rings], *size))


@given(st.lists(RINGS, min_size=1, max_size=3), SIZES)
def test_mask_of_rings_in_single_precision_is_that_of_pycocotools(rings: list[Floats], size: tuple[int, int]) -> None:
    found = rasterise([snapped(ring) for ring in rings], size)
    assert found["counts"] == reference(rings, size)["counts"].decode()
    assert found["size"] == list(size)


@given(RINGS, SIZES)
def test_mask_of_rings_with_four_decimals_is_that_of_pycocotools(ring: Floats, size: tuple[int, int]) -> None:
    assert rasterise([decimals(snapped(ring))], size)["counts"] == reference([ring], size)["counts"].decode()


@given(st.lists(st.tuples(RINGS, SIZES), min_size=1, max_size=5))
def test_areas_of_many_rings_are_those_of_pycocotools(cases: list[tuple[Floats, tuple[int, int]]]) -> None:
    first = np.cumsum([0, *(len(ring) for ring, _ in cases)])
    found = ring_areas(np.concatenate([ring for ring, _ in cases]), first, np.array([size for _, size in cases]))
    assert found.tolist() == [coco.area(reference([ring], size)) for ring, size in cases]


def test_mask_without_rings_is_empty() -> None:
    assert coco.area(rasterise([], (5, 7))) == 0


def test_huge_coordinates_take_no_memory() -> None:
    ring = np.array([[-1e30, -1e30], [1e30, -1e30], [1e30, 1e30], [-1e30, 1e30]])
    assert coco.area(rasterise([ring], (5, 7))) == 35


def test_masks_of_official_annotations_are_those_of_pycocotools(shared: Path) -> None:
    content = json.loads((shared / "data" / "coco-val128" / "instances.json").read_bytes())
    sizes = {row["id"]: (row["height"], row["width"]) for row in content["images"]}
    compared = 0
    for row in content["annotations"]:
        if isinstance(row["segmentation"], list):
            rings = [np.array(part, float).reshape(-1, 2) for part in row["segmentation"]]
            size = sizes[row["image_id"]]
            assert rasterise([snapped(ring) for ring in rings], size)["counts"] == (
                reference(rings, size)["counts"].decode()
            )
            compared += 1
    assert compared == 971
