"""From outputs to instances: both layouts, thresholds, padding, and pictures of a batch that stay apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from edgeseg.data.letterbox import geometry
from edgeseg.errors import ContractError, UsageError
from edgeseg.instances import Instances
from edgeseg.metadata import Head
from edgeseg.postprocess.decode import decode_all
from edgeseg.postprocess.pipeline import PostprocessOptions, candidates_of, postprocess
from edgeseg.tensors import Array
from tests.postprocess.heads import SIZE, noisy, silent

NAMES = ("cat", "dog", "newt")
PLACE = geometry((128, 192), SIZE)
MANY = PostprocessOptions(score=0.02, iou=0.9)
"""Thresholds that leave dozens of instances of random outputs."""


def found_in(
    outputs: Mapping[str, Array], options: PostprocessOptions | None = None, index: int = 0, head: Head = "raw"
) -> Instances:
    return postprocess(outputs, index, head, PLACE, NAMES, options or PostprocessOptions())


def one_object(
    outputs: dict[str, Array], cell: tuple[int, int], class_id: int, logit: float, distance: int = 2
) -> None:
    """An object on P3 whose sides are `distance` cells from its cell's centre and whose mask is all inside."""
    y, x = cell
    outputs["p3_cls"][0, class_id, y, x] = logit
    outputs["p3_box"][0, distance::16, y, x] = 100
    outputs["p3_coef"][0, 0, y, x] = 1
    outputs["proto"][0, 0] = 1


def test_an_object_comes_out_in_picture_pixels_with_its_mask() -> None:
    outputs = silent()
    one_object(outputs, (3, 5), 1, 2.0)

    found = found_in(outputs)

    # Centre (44, 28), two cells of 8 to each side, at half the picture's resolution.
    np.testing.assert_allclose(found.xyxy, [[56, 24, 120, 88]], atol=1e-4)
    assert found.class_ids.tolist() == [1]
    assert found.image_size == (128, 192)
    assert found.masks is not None
    assert found.masks[0].window == (slice(24, 88), slice(56, 120))
    assert found.masks[0].bitmap.all()


def test_both_layouts_give_the_same_instances() -> None:
    outputs = noisy(5)

    raw, decoded = found_in(outputs, MANY), found_in(decode_all(outputs), MANY, head="decoded")

    assert len(raw) > 20
    assert raw.class_ids.tolist() == decoded.class_ids.tolist()
    np.testing.assert_allclose(raw.xyxy, decoded.xyxy, atol=1e-3)
    np.testing.assert_allclose(raw.scores, decoded.scores, atol=1e-6)


def test_pictures_of_a_batch_stay_apart() -> None:
    outputs = noisy(6, batch=2)
    for index in (0, 1):
        alone = {name: array[index : index + 1] for name, array in outputs.items()}
        together, single = found_in(outputs, MANY, index), found_in(alone, MANY)
        np.testing.assert_array_equal(together.xyxy, single.xyxy)
        assert np.array_equal(together.full_masks(), single.full_masks())
    assert not np.array_equal(found_in(outputs, MANY).scores[:5], found_in(outputs, MANY, 1).scores[:5])


def test_two_overlapping_objects_of_two_classes_are_one_where_classes_do_not_count() -> None:
    outputs = silent()
    one_object(outputs, (3, 5), 1, 2.0)
    one_object(outputs, (3, 6), 2, 3.0)

    # Boxes of 32 px, 8 px apart: IoU 24 / 40.
    assert found_in(outputs, PostprocessOptions(iou=0.5)).class_ids.tolist() == [2, 1]
    assert found_in(outputs, PostprocessOptions(iou=0.5, class_agnostic=True)).class_ids.tolist() == [2]
    assert found_in(outputs, PostprocessOptions(iou=0.7, class_agnostic=True)).class_ids.tolist() == [2, 1]


def test_max_detections_keeps_the_best() -> None:
    outputs = noisy(5)
    everything = found_in(outputs, MANY)

    found = found_in(outputs, replace(MANY, max_detections=3))

    np.testing.assert_array_equal(found.scores, everything.scores[:3])
    assert len(everything) > 3


def test_without_masks_there_are_boxes_only() -> None:
    found = found_in(noisy(5), replace(MANY, masks=False))

    assert found.masks is None
    assert len(found)


def test_a_box_wholly_in_the_padding_is_no_instance() -> None:
    place = geometry((20, 96), SIZE)  # rows 22 to 42 of the letterbox
    outputs = silent()
    one_object(outputs, (0, 5), 1, 2.0, distance=1)
    one_object(outputs, (4, 5), 1, 1.0, distance=1)

    found = postprocess(outputs, 0, "raw", place, NAMES, PostprocessOptions())

    np.testing.assert_allclose(found.xyxy, [[36, 6, 52, 20]], atol=1e-4)
    assert found.masks is not None
    assert len(found.masks) == 1


def test_an_empty_picture_gives_empty_instances() -> None:
    found = found_in(silent())

    assert len(found) == 0
    assert found.masks == ()


def test_prototypes_that_are_no_numbers_are_refused_under_an_instance() -> None:
    outputs = silent()
    one_object(outputs, (3, 5), 1, 2.0)
    outputs["proto"][:] = np.nan

    assert len(found_in(outputs, PostprocessOptions(masks=False))) == 1
    with pytest.raises(ContractError, match="not finite"):
        found_in(outputs)


def test_a_box_that_is_no_number_is_refused_and_does_not_let_doubles_through() -> None:
    outputs = silent()
    one_object(outputs, (3, 5), 1, 2.0)
    one_object(outputs, (3, 6), 1, 3.0)
    outputs["p4_cls"][0, 0, 0, 0] = 1.0
    outputs["p4_box"][0, :, 0, 0] = np.nan

    with pytest.raises(ContractError, match="p4_box"):
        candidates_of(outputs, 0, "raw", PostprocessOptions(iou=0.5))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"score": -0.01}, "score"), ({"score": 1.01}, "score"), ({"score": float("nan")}, "score"),
        ({"iou": 1.5}, "iou"), ({"iou": float("nan")}, "iou"), ({"max_detections": 0}, "max detections"),
    ],
    ids=str,
)  # fmt: skip
def test_thresholds_out_of_range_are_refused(options: dict[str, float], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        PostprocessOptions(**options)  # type: ignore[arg-type]
