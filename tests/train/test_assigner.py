"""Which points learn which object."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edgeseg.card.train import Assigner
from edgeseg.train.assigner import Assignment, Predictions, assign
from edgeseg.train.boxes import make_points

LEFT = (0.0, 0.0, 16.0, 8.0)
RIGHT = (16.0, 0.0, 32.0, 8.0)
MIDDLE = (8.0, 0.0, 24.0, 8.0)
ROW = [[4.0, 4.0], [12.0, 4.0], [20.0, 4.0], [28.0, 4.0]]
SIMPLE = Assigner(alpha=0.5, beta=1.0)

Box = tuple[float, float, float, float]


def about(box: Box, share: float) -> Box:
    """`box` with its sides multiplied: same centre and aspect, so that IoU = complete IoU = share ** 2."""
    x, y, half_width, half_height = (
        (box[0] + box[2]) / 2,
        (box[1] + box[3]) / 2,
        (box[2] - box[0]) / 2 * share,
        (box[3] - box[1]) / 2 * share,
    )
    return (x - half_width, y - half_height, x + half_width, y + half_height)


def assign_row(
    found: list[Box], scores: list[list[float]], objects: list[Box], settings: Assigner = SIMPLE
) -> dict[tuple[int, int], float]:
    """Of one picture with points in a row: (object, point) to target."""
    predictions = Predictions(torch.tensor(scores).logit(), torch.tensor([found]), torch.tensor(ROW[: len(found)]))
    return pairs(assign(predictions, torch.tensor(objects), torch.zeros(len(objects), dtype=torch.int64), settings))


def pairs(assignment: Assignment) -> dict[tuple[int, int], float]:
    columns = (assignment.objects.tolist(), assignment.points.tolist(), assignment.targets.tolist())
    return {(obj, point): target for obj, point, target in zip(*columns, strict=True)}


def test_targets_equal_hand_computed_values_for_two_objects() -> None:
    found = [LEFT, about(LEFT, 0.5), about(RIGHT, 0.5), about(RIGHT, 0.75)]
    scores = [[0.25, 0.81, 0.9, 0.9], [0.9, 0.9, 0.64, 0.04]]

    targets = assign_row(found, scores, [LEFT, RIGHT])

    # Worth = sqrt(score) * IoU. Left: 0.5 * 1 and 0.9 * 0.25 = 0.225; best worth 0.5, best IoU 1.
    # Right: 0.8 * 0.25 = 0.2 and 0.2 * 0.5625 = 0.1125; best worth 0.2, best IoU 0.5625.
    expected = {(0, 0): 1.0, (0, 1): 0.45, (1, 2): 0.5625, (1, 3): 0.1125 / 0.2 * 0.5625}
    assert targets == pytest.approx(expected, rel=1e-5)


def test_only_the_best_point_is_taken_when_top_k_is_one() -> None:
    found = [LEFT, about(LEFT, 0.5), about(RIGHT, 0.5), about(RIGHT, 0.75)]
    scores = [[0.25, 0.81, 0.9, 0.9], [0.9, 0.9, 0.64, 0.04]]

    targets = assign_row(found, scores, [LEFT, RIGHT], Assigner(top_k=1, alpha=0.5, beta=1.0))

    # Right's point 2 has the best worth; the only point left, its own IoU is the best.
    assert targets == pytest.approx({(0, 0): 1.0, (1, 2): 0.25}, rel=1e-5)


def test_a_point_that_two_claim_goes_to_the_one_it_overlaps_most() -> None:
    # Point 1 lies in both boxes. Left's class is certain there, but its box is about the middle object.
    found = [about(LEFT, 0.5), about(MIDDLE, 0.75), MIDDLE]
    scores = [[0.5, 0.99, 0.5], [0.5, 0.01, 0.25]]

    targets = assign_row(found, scores, [LEFT, MIDDLE])

    # Middle: point 1 sqrt(0.01) * 0.5625 = 0.05625, point 2 0.5 * 1. Left keeps point 0, whose IoU is 0.25.
    assert targets == pytest.approx({(0, 0): 0.25, (1, 1): 0.1125, (1, 2): 1.0}, rel=1e-5)


def test_the_first_of_two_equal_objects_gets_the_points() -> None:
    targets = assign_row([LEFT, LEFT], [[0.5, 0.5], [0.5, 0.5]], [LEFT, LEFT])

    assert targets.keys() == {(0, 0), (0, 1)}


def test_points_out_of_the_box_are_never_taken_however_well_they_predict() -> None:
    targets = assign_row([about(LEFT, 0.1), about(LEFT, 0.1), LEFT, LEFT], [[0.01, 0.01, 0.99, 0.99]], [LEFT])

    assert targets.keys() == {(0, 0), (0, 1)}


def test_an_object_without_area_gets_no_points() -> None:
    targets = assign_row([LEFT, LEFT], [[0.5, 0.5], [0.5, 0.5]], [(4.0, 4.0, 4.0, 4.0), (4.0, 0.0, 4.0, 8.0)])

    assert targets == {}


def test_targets_are_those_of_the_formula_when_the_worth_is_below_float32() -> None:
    # IoU 1/64 ** 20 is 1e-36, times a score of 1e-10: less than the least normal float32.
    settings = Assigner(alpha=1.0, beta=20.0)

    targets = assign_row([about(LEFT, 0.125), about(LEFT, 0.125)], [[1e-10, 0.5e-10]], [LEFT], settings)

    assert targets == pytest.approx({(0, 0): 1 / 64, (0, 1): 1 / 128}, rel=1e-4)


def untrained(size: int) -> tuple[Tensor, Tensor]:
    """Boxes (1, P, 4) and centres (P, 2) of a network that knows nothing: every side is 7.5 cells long."""
    points = make_points([(size // stride, size // stride) for stride in (8, 16, 32)], torch.device("cpu"))
    reach = 7.5 * points.strides[:, None]
    return torch.cat([points.centres - reach, points.centres + reach], 1)[None], points.centres


@pytest.mark.parametrize(
    "extent",
    [
        pytest.param((1.0, 1.0), id="dot"),
        pytest.param((3.0, 60.0), id="thin-upright"),
        pytest.param((70.0, 2.0), id="thin-lying"),
        pytest.param((7.9, 7.9), id="below-a-cell"),
        pytest.param((50.0, 40.0), id="large"),
    ],
)
def test_every_object_gets_points_that_learn_wherever_it_lies(extent: tuple[float, float]) -> None:
    found, centres = untrained(96)
    corners = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)) * (96 - torch.tensor(extent))
    for corner in corners:
        box = torch.cat([corner, corner + torch.tensor(extent)])[None]
        predictions = Predictions(torch.full((1, len(centres)), -4.6), found, centres)

        assignment = assign(predictions, box, torch.zeros(1, dtype=torch.int64), Assigner())

        assert len(assignment.points) >= 1
        assert (assignment.targets > 0).all()


def test_pictures_do_not_mix() -> None:
    found, centres = untrained(64)
    boxes = torch.tensor([[0.0, 0.0, 40.0, 40.0], [0.0, 0.0, 40.0, 40.0], [20.0, 20.0, 60.0, 60.0]])
    picture_of = torch.tensor([0, 2, 2])
    predictions = Predictions(torch.zeros(3, len(centres)), found.expand(3, -1, -1), centres)

    assignment = assign(predictions, boxes, picture_of, Assigner())

    assert assignment.pictures.tolist() == picture_of[assignment.objects].tolist()
    assert set(assignment.objects.tolist()) == {0, 1, 2}
    place = assignment.points * 3 + assignment.pictures
    assert place.tolist() == sorted(set(place.tolist()))


def test_nothing_is_assigned_when_there_is_no_object() -> None:
    found, centres = untrained(64)
    predictions = Predictions(torch.zeros(0, len(centres)), found, centres)

    assignment = assign(predictions, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), Assigner())

    assert pairs(assignment) == {}
