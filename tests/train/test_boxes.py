"""Points, distributions over sides, and the complete IoU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeseg.postprocess.decode import decode_all
from edgeseg.tensors import RAW_OUTPUT_NAMES
from edgeseg.train.boxes import (
    LAST_DISTANCE,
    distances_to_boxes,
    expected_distances,
    make_points,
    overlaps,
    target_distances,
)

from .loss_cases import make_outputs

CPU = torch.device("cpu")


def test_points_are_the_centres_of_the_cells_row_by_row() -> None:
    points = make_points([(2, 3), (1, 2), (1, 1)], CPU)

    assert points.counts == (6, 2, 1)
    assert points.centres.tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12], [8, 8], [24, 8], [16, 16]]
    assert points.strides.tolist() == [8, 8, 8, 8, 8, 8, 16, 16, 32]


def test_distance_is_the_bin_when_the_distribution_is_one_hot() -> None:
    logits = torch.full((1, 4, 16), -1e4)
    for side, bin_ in enumerate((0, 3, 7, 15)):
        logits[0, side, bin_] = 0.0

    assert expected_distances(logits.reshape(1, 64)).tolist() == [[0, 3, 7, 15]]


def test_distance_lies_between_the_bins_when_two_share_the_probability() -> None:
    logits = torch.full((1, 4, 16), -1e4)
    logits[..., 4], logits[..., 5] = float(np.log(0.75)), float(np.log(0.25))

    # 0.75 * 4 + 0.25 * 5
    torch.testing.assert_close(expected_distances(logits.reshape(1, 64)), torch.full((1, 4), 4.25))


def test_boxes_equal_those_of_the_deployed_decoding() -> None:
    outputs = [output.detach() for output in make_outputs(2, 3, (64, 96))]
    table = decode_all({name: output.numpy() for name, output in zip(RAW_OUTPUT_NAMES, outputs, strict=True)})
    cx, cy, width, height = table["output0"][:, :4].transpose(1, 0, 2)
    expected = np.stack([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2], axis=2)

    points = make_points([(8, 12), (4, 6), (2, 3)], CPU)
    distances = torch.cat([expected_distances(outputs[i].flatten(2).transpose(1, 2)) for i in (0, 3, 6)], 1)
    boxes = distances_to_boxes(points.centres, distances * points.strides[:, None])

    np.testing.assert_allclose(boxes.numpy(), expected, atol=1e-4)


def test_target_distances_give_the_box_back() -> None:
    centres, strides = torch.tensor([[20.0, 28.0]]), torch.tensor([8.0])
    box = torch.tensor([[3.0, 10.0, 44.0, 100.0]])

    distances = target_distances(centres, strides, box)

    # 17, 18, 24, 72 px in cells of 8
    torch.testing.assert_close(distances, torch.tensor([[2.125, 2.25, 3.0, 9.0]]))
    torch.testing.assert_close(distances_to_boxes(centres, distances * 8), box)


def test_target_distances_stay_in_reach_of_the_bins() -> None:
    far = torch.tensor([[6.0, -1000.0, 1000.0, 130.0]])

    distances = target_distances(torch.tensor([[4.0, 4.0]]), torch.tensor([8.0]), far)

    # Left of the point by -2 px; up by 1004 px; right by 996 px; down by 126 px = 15.75 cells.
    torch.testing.assert_close(distances, torch.tensor([[0.0, LAST_DISTANCE, LAST_DISTANCE, LAST_DISTANCE]]))


@pytest.mark.parametrize(
    ("box", "other", "iou", "complete"),
    [
        pytest.param((3, 4, 10, 20), (3, 4, 10, 20), 1.0, 1.0, id="identical"),
        # Centres 3 apart, hull 4 x 1: -9 / 17.
        pytest.param((0, 0, 1, 1), (3, 0, 4, 1), 0.0, -9 / 17, id="disjoint"),
        # Centres (2, 2) and (4, 4), hull 8 x 8: 16/64 - 8/128.
        pytest.param((0, 0, 4, 4), (0, 0, 8, 8), 0.25, 0.1875, id="nested"),
        pytest.param((2, 2, 6, 6), (0, 0, 8, 8), 0.25, 0.25, id="concentric"),
        # 1/7 - 2/18: same shape, shifted by (1, 1).
        pytest.param((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7, 2 / 63, id="shifted"),
        # 4/12 - 2/32 - v**2 / (1 - 1/3 + v), v = 4/pi**2 * (atan(2) - atan(1/2))**2 = 0.1678258.
        pytest.param((0, 0, 4, 2), (0, 0, 2, 4), 1 / 3, 0.2370817, id="other-aspect"),
    ],
)
def test_overlaps_equal_hand_computed_values(
    box: tuple[float, ...], other: tuple[float, ...], iou: float, complete: float
) -> None:
    found = overlaps(torch.tensor([box]).double(), torch.tensor([other]).double())

    assert found[0].item() == pytest.approx(iou, abs=1e-6)
    assert found[1].item() == pytest.approx(complete, abs=1e-6)


@pytest.mark.parametrize("other", [(5.0, 5.0, 5.0, 5.0), (0.0, 0.0, 8.0, 8.0), (5.0, 0.0, 5.0, 9.0)])
def test_overlaps_and_their_gradient_are_finite_when_a_box_has_no_size(other: tuple[float, ...]) -> None:
    box = torch.tensor([[5.0, 5.0, 5.0, 5.0]], requires_grad=True)

    iou, complete = overlaps(box, torch.tensor([other]))
    (gradient,) = torch.autograd.grad(complete.sum(), box)

    assert iou.item() == 0
    assert complete.isfinite().all()
    assert gradient.isfinite().all()


def test_gradient_of_complete_iou_equals_the_numeric_one_when_the_aspects_agree() -> None:
    # Elsewhere the trade-off factor, a constant to the gradient by definition, makes them differ.
    boxes = torch.tensor([[1.0, 2.0, 9.0, 6.0], [5.0, 5.0, 7.0, 6.0]], dtype=torch.float64, requires_grad=True)
    others = torch.tensor([[3.0, 3.0, 15.0, 9.0], [0.0, 0.0, 12.0, 6.0]], dtype=torch.float64)

    assert torch.autograd.gradcheck(lambda b: overlaps(b, others)[1], boxes)


def test_gradient_of_complete_iou_pulls_disjoint_boxes_together() -> None:
    box = torch.tensor([[0.0, 0.0, 4.0, 4.0]], requires_grad=True)

    (gradient,) = torch.autograd.grad(overlaps(box, torch.tensor([[20.0, 0.0, 24.0, 4.0]]))[1].sum(), box)

    assert gradient[0, 0] + gradient[0, 2] > 0
