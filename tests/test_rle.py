"""Run-length masks against pycocotools, the format's own implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edgeseg import rle
from edgeseg.errors import ContractError
from edgeseg.instances import CroppedMask

coco = pytest.importorskip("pycocotools.mask")
# pycocotools 2.0.11 hands numpy 2 an `__array__` of the old signature in `decode`.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Bitmap = NDArray[np.bool_]
Cropped = tuple[Bitmap, tuple[int, int], tuple[int, int]]


@st.composite
def cropped(draw: st.DrawFn, size: tuple[int, int] | None = None) -> Cropped:
    """A crop, its (top, left) and the picture's (height, width)."""
    height, width = size or (draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    shape = (draw(st.integers(1, height - top)), draw(st.integers(1, width - left)))
    fill = draw(st.booleans())
    crop = draw(hnp.arrays(np.bool_, shape, elements=st.booleans(), fill=st.just(fill)))
    return crop, (top, left), (height, width)


def full(crop: Bitmap, offset: tuple[int, int], size: tuple[int, int]) -> Bitmap:
    picture = np.zeros(size, bool)
    picture[offset[0] : offset[0] + crop.shape[0], offset[1] : offset[1] + crop.shape[1]] = crop
    return picture


def official(picture: Bitmap) -> dict[str, Any]:
    encoded = coco.encode(np.asfortranarray(picture.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


HAND_MADE = {
    "empty": (np.zeros((3, 4), bool), (2, 1), (9, 7)),
    "no crop": (np.zeros((0, 0), bool), (0, 0), (9, 7)),
    "full": (np.ones((9, 7), bool), (0, 0), (9, 7)),
    "one pixel, first": (np.ones((1, 1), bool), (0, 0), (9, 7)),
    "one pixel, last": (np.ones((1, 1), bool), (8, 6), (9, 7)),
    "at the top": (np.ones((2, 3), bool), (0, 2), (9, 7)),
    "at the foot": (np.ones((2, 3), bool), (7, 2), (9, 7)),
    "at the left": (np.ones((2, 3), bool), (3, 0), (9, 7)),
    "at the right": (np.ones((2, 3), bool), (3, 4), (9, 7)),
    "whole columns": (np.ones((9, 2), bool), (0, 3), (9, 7)),
    "whole rows": (np.ones((1, 7), bool), (4, 0), (9, 7)),
    "taller than wide": (np.eye(8, 2, dtype=bool), (1, 1), (9, 7)),
    "picture one row high": (np.array([[True, False, True]]), (0, 1), (1, 5)),
    "picture one column wide": (np.array([[True], [False], [True]]), (1, 0), (5, 1)),
    "picture of one pixel": (np.ones((1, 1), bool), (0, 0), (1, 1)),
    "runs longer than four groups of bits": (np.ones((1, 1), bool), (1500, 1500), (2000, 2000)),
}


@pytest.mark.parametrize("case", HAND_MADE.values(), ids=HAND_MADE.keys())
def test_encode_equals_pycocotools_on_a_hand_made_mask(case: Cropped) -> None:
    assert rle.encode(*case) == official(full(*case))


@given(cropped())
def test_encode_equals_pycocotools(case: Cropped) -> None:
    assert rle.encode(*case) == official(full(*case))


@given(cropped())
def test_encode_of_uint8_equals_that_of_bool(case: Cropped) -> None:
    crop, offset, size = case
    assert rle.encode(crop.astype(np.uint8) * 255, offset, size) == rle.encode(crop, offset, size)


@given(cropped())
def test_decode_gives_the_mask_back(case: Cropped) -> None:
    picture = full(*case)
    encoded = official(picture)
    crop, (top, left) = rle.decode_cropped(encoded)
    np.testing.assert_array_equal(rle.decode(encoded), picture)
    np.testing.assert_array_equal(full(crop, (top, left), case[2]), picture)
    x, y, w, h = coco.toBbox(encoded).astype(int).tolist()
    assert ((left, top), crop.shape) == ((x, y), (h, w))


@given(cropped())
def test_area_and_box_equal_pycocotools(case: Cropped) -> None:
    encoded = rle.encode(*case)
    assert rle.area(encoded) == coco.area(encoded)
    assert list(rle.to_bbox(encoded)) == coco.toBbox(encoded).tolist()


@given(st.data())
def test_iou_equals_pycocotools(data: st.DataObject) -> None:
    first, second = data.draw(cropped(size=(20, 24))), data.draw(cropped(size=(20, 24)))
    expected = coco.iou([rle.encode(*first)], [rle.encode(*second)], [0])[0, 0]
    assert rle.iou(*(CroppedMask(crop, *offset) for crop, offset, _ in (first, second))) == pytest.approx(expected)


def test_counts_as_a_list_and_as_bytes_are_read() -> None:
    picture = np.zeros((4, 3), bool)
    picture[1:3, 1] = True
    listed = {"size": [4, 3], "counts": [5, 2, 5]}
    encoded = official(picture)
    np.testing.assert_array_equal(rle.decode(listed), picture)
    assert rle.compress(listed) == encoded
    assert rle.compress({**encoded, "counts": encoded["counts"].encode()}) == encoded


def test_runs_of_length_zero_are_read() -> None:
    np.testing.assert_array_equal(rle.decode({"size": [2, 2], "counts": [1, 1, 0, 1, 1]})[:, 0], [False, True])
    crop, offset = rle.decode_cropped({"size": [2, 2], "counts": [1, 1, 0, 1, 1]})
    assert (crop.tolist(), offset) == ([[False, True], [True, False]], (0, 0))


@pytest.mark.parametrize(
    "counts",
    [[5, 2, 4], [14, -2], "", "5\x00", "~~", "5é", [[12]]],
    ids=["short", "negative", "nothing", "below the alphabet", "above it", "not ASCII", "nested"],
)
def test_decode_refuses_what_are_no_run_lengths(counts: object) -> None:
    with pytest.raises(ContractError, match="run-length mask"):
        rle.decode({"size": [4, 3], "counts": counts})


def test_decode_refuses_a_string_that_ends_inside_a_number() -> None:
    counts = rle.encode(np.ones((1, 1), bool), (50, 50), (100, 100))["counts"]
    with pytest.raises(ContractError, match="no compressed COCO string"):
        rle.decode({"size": [100, 100], "counts": counts[:1]})


@pytest.mark.parametrize("offset", [(-1, 0), (0, -1), (3, 0), (0, 4)], ids=str)
def test_encode_refuses_a_crop_that_reaches_out_of_the_picture(offset: tuple[int, int]) -> None:
    with pytest.raises(ContractError, match=r"shape \(2, 2\).*picture \(4, 5\)"):
        rle.encode(np.ones((2, 2), bool), offset, (4, 5))


def test_encode_refuses_a_crop_with_channels() -> None:
    with pytest.raises(ContractError, match=r"\(2, 2, 1\), expected \(h, w\)"):
        rle.encode(np.ones((2, 2, 1), bool), (0, 0), (4, 5))


def test_golden_masks_survive_and_equal_pycocotools(shared: Path) -> None:
    results = json.loads((shared / "golden" / "predictions_conf025.json").read_text())["results"]
    masks = [instance["mask_rle"] for result in results for instance in result["instances"]]
    assert len(masks) == 136
    for mask in masks:
        crop, offset = rle.decode_cropped(mask)
        np.testing.assert_array_equal(rle.decode(mask), coco.decode(mask).astype(bool))
        assert rle.encode(crop, offset, tuple(mask["size"])) == mask
