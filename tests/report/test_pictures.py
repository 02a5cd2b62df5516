"""Pictures of worst instances: nothing that differs may be invisible in them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeseg.instances import CroppedMask, Instances
from edgeseg.report.pictures import GAP_PX, MAX_SIDE_PX, MIN_SIDE_PX, ONLY_ARTIFACT, ONLY_REFERENCE, comparison
from edgeseg.verify import WorstInstance

HEIGHT, WIDTH = 1200, 1600


def one(mask: NDArray[np.bool_]) -> Instances:
    """A single instance with this mask and its tight box."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    xyxy = np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], np.float32)
    return Instances(
        xyxy=xyxy,
        scores=np.ones(1, np.float32),
        class_ids=np.zeros(1, np.int64),
        masks=(CroppedMask(mask, 0, 0),),
        names=("cat",),
        image_size=(mask.shape[0], mask.shape[1]),
    )


def panels(reference: Instances, found: Instances) -> list[NDArray[np.uint8]]:
    picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    made = comparison(WorstInstance("a.jpg", 0.5, "cat", picture, reference, found))
    width = (made.shape[1] - 2 * GAP_PX) // 3
    return [made[:, i * (width + GAP_PX) :][:, :width] for i in range(3)]


def count(panel: NDArray[np.uint8], colour: NDArray[np.uint8]) -> int:
    return int((panel == colour).all(axis=2).sum())


def square(size: int) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[100 : 100 + size, 200 : 200 + size] = True
    return mask


@pytest.mark.parametrize("size", [pytest.param(1000, id="shrunk"), pytest.param(12, id="enlarged")])
def test_single_wrong_pixel_shows_at_any_scale(size: int) -> None:
    mask, other = square(size), square(size)
    other[100 + size // 2, 200 + size // 3] = False
    for reference, found, colour, absent in (
        (mask, other, ONLY_REFERENCE, ONLY_ARTIFACT),
        (other, mask, ONLY_ARTIFACT, ONLY_REFERENCE),
    ):
        difference = panels(one(reference), one(found))[2]
        assert count(difference, colour) >= 1
        assert count(difference, absent) == 0


def test_equal_masks_have_no_coloured_pixel() -> None:
    left, right, difference = panels(one(square(300)), one(square(300)))
    assert np.array_equal(left, right)
    assert np.array_equal(difference.min(axis=2), difference.max(axis=2))
    assert difference.min() < 0.7 * difference.max(), "where both are is darker than where none is"


def test_missing_instance_is_of_the_reference_only() -> None:
    nothing = Instances.empty((HEIGHT, WIDTH), ("cat",))
    left, right, difference = panels(one(square(200)), nothing)
    assert count(difference, ONLY_ARTIFACT) == 0
    assert count(difference, ONLY_REFERENCE) == pytest.approx(200 * 200, rel=0.05)
    assert (right == 90).all()
    assert not (left == 90).all()


@pytest.mark.parametrize("size", [pytest.param(1000, id="large"), pytest.param(12, id="small")])
def test_panels_stay_within_their_sides(size: int) -> None:
    panel = panels(one(square(size)), one(square(size)))[0]
    assert MIN_SIDE_PX <= max(panel.shape[:2]) <= MAX_SIDE_PX
