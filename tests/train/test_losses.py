"""The parts of the loss, against plain loops, known values and numeric gradients."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from edgeseg.card.train import Assigner, Gains
from edgeseg.errors import ContractError
from edgeseg.train.assigner import Assignment
from edgeseg.train.batch import Batch
from edgeseg.train.boxes import make_points, overlaps
from edgeseg.train.losses import Losses, SegmentationLoss, distribution_focal_loss
from edgeseg.train.mask_loss import mask_loss

from .loss_cases import Object, gradients, make_batch, make_outputs

CLASSES = 3
OBJECTS: tuple[Object, ...] = (
    (0, 0, (2.0, 3.0, 40.0, 30.0)),
    (0, 2, (20.0, 10.0, 60.0, 62.0)),
    (2, 1, (5.0, 5.0, 9.0, 60.0)),
    (2, 0, (30.0, 30.0, 64.0, 64.0)),
    (2, 2, (33.0, 1.0, 35.0, 3.0)),
)
PARTS = ("box", "cls", "dfl", "mask")


def make_loss(**gains: float) -> SegmentationLoss:
    return SegmentationLoss(CLASSES, Gains(**gains), Assigner())


def values(losses: Losses) -> list[float]:
    return [getattr(losses, part).item() for part in PARTS]


def by_loops(outputs: Sequence[Tensor], batch: Batch, assignment: Assignment, weights: Tensor) -> list[float]:
    """The definition of the loss, a point at a time, gains 7.5, 0.5 and 1.5."""
    box_maps, cls_maps, coef_maps = ([o.detach().flatten(2) for o in outputs[kind:9:3]] for kind in range(3))
    boxes, logits, coefs = (torch.cat(maps, 2) for maps in (box_maps, cls_maps, coef_maps))
    proto = outputs[9].detach()
    points = make_points([(o.shape[2], o.shape[3]) for o in outputs[1:9:3]], torch.device("cpu"))
    targets = torch.zeros_like(logits)
    box = dfl = mask = 0.0
    rows = zip(assignment.points, assignment.pictures, assignment.objects, assignment.targets, strict=True)
    for point, picture, index, target in rows:
        targets[picture, batch.class_ids[index], point] = target
        wanted, centre, stride = batch.boxes[index], points.centres[point], points.strides[point]
        shares = boxes[picture, :, point].view(4, 16).softmax(1)
        sides = (shares * torch.arange(16)).sum(1) * stride
        found = torch.cat([centre - sides[:2], centre + sides[2:]])
        box += (target * (1 - overlaps(found, wanted)[1])).item()
        distances = (torch.cat([centre - wanted[:2], wanted[2:] - centre]) / stride).clamp(0, 14.99)
        for side, distance in enumerate(distances.tolist()):
            low = int(distance)
            parts = (low + 1 - distance) * shares[side, low].log() + (distance - low) * shares[side, low + 1].log()
            dfl -= (target * parts / 4).item()
        mask += mask_of_point(coefs[picture, :, point], proto[picture], batch, int(index))
    scores = max(assignment.targets.sum().item(), 1.0)
    cls = binary_cross_entropy_with_logits(logits, targets, reduction="none") * weights[:, None]
    count = max(len(assignment.points), 1)
    return [7.5 * box / scores, 0.5 * cls.sum().item() / scores, 1.5 * dfl / scores, 7.5 * mask / count]


def mask_of_point(coefficients: Tensor, proto: Tensor, batch: Batch, index: int) -> float:
    left, top, right, bottom = (batch.boxes[index] / 4).tolist()
    if batch.object_maps is None:
        wanted = batch.label_maps[batch.picture_of[index]] == batch.number[index] + 1
    else:
        wanted = batch.object_maps[index]
    total = 0.0
    for y in range(wanted.shape[0]):
        for x in range(wanted.shape[1]):
            if left <= x + 0.5 < right and top <= y + 0.5 < bottom:
                logit = (coefficients * proto[:, y, x]).sum()
                total += binary_cross_entropy_with_logits(logit, wanted[y, x].float()).item()
    return total / max(float((right - left) * (bottom - top)), 1.0)


@pytest.mark.parametrize(
    ("weights", "separate"),
    [
        pytest.param(None, False, id="unweighted"),
        pytest.param((0.5, 1.0, 4.0), False, id="weighted"),
        pytest.param(None, True, id="separate-masks"),
    ],
)
def test_loss_equals_its_definition_in_plain_loops(weights: tuple[float, ...] | None, separate: bool) -> None:
    batch, outputs = make_batch(OBJECTS, 3, separate=separate), make_outputs(3, CLASSES)
    given = None if weights is None else torch.tensor(weights)
    loss = SegmentationLoss(CLASSES, Gains(), Assigner(), given)

    losses = loss(outputs, batch)

    plain = torch.tensor(weights or (1.0, 1.0, 1.0))
    assert values(losses) == pytest.approx(by_loops(outputs, batch, loss.assignment(outputs, batch), plain), rel=1e-4)
    assert losses.total.item() == pytest.approx(sum(values(losses)), rel=1e-6)


def test_gains_multiply_the_parts() -> None:
    batch, outputs = make_batch(OBJECTS, 3), make_outputs(3, CLASSES)

    once = values(make_loss(box=1.0, cls=1.0, dfl=1.0)(outputs, batch))
    more = values(make_loss(box=2.0, cls=3.0, dfl=5.0)(outputs, batch))

    assert more == pytest.approx([2 * once[0], 3 * once[1], 5 * once[2], 2 * once[3]], rel=1e-6)


def test_distribution_loss_is_least_at_the_exact_fraction() -> None:
    # A distance of 4.25 asks for 0.75 at bin 4 and 0.25 at bin 5: its own entropy is the least value.
    distances = torch.full((1, 4), 4.25)
    found = {}
    for share in (0.05, 0.15, 0.25, 0.35, 0.95):
        logits = torch.full((1, 4, 16), -1e4)
        logits[..., 4], logits[..., 5] = math.log(1 - share), math.log(share)
        found[share] = distribution_focal_loss(logits.reshape(1, 64), distances).mean().item()

    assert min(found, key=lambda share: found[share]) == 0.25
    assert found[0.25] == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25), rel=1e-5)


def mask_case(coefficient: float) -> tuple[Tensor, Tensor, Tensor, Batch]:
    """One point whose logits are `coefficient` inside the object's mask and its negative elsewhere."""
    batch = make_batch([(0, 0, (8.0, 8.0, 40.0, 40.0)), (0, 0, (8.0, 8.0, 20.0, 40.0))], 1)
    proto = torch.zeros(1, 32, 16, 16)
    proto[0, 0] = torch.where(batch.label_maps[0] == 1, 1.0, -1.0)
    coefficients = torch.zeros(1, 32)
    coefficients[0, 0] = coefficient
    return proto.requires_grad_(), coefficients, torch.tensor([0]), batch


@pytest.mark.parametrize(
    ("coefficient", "expected"),
    [
        pytest.param(20.0, 0.0, id="perfect"),
        pytest.param(0.0, math.log(2), id="undecided"),
        pytest.param(-20.0, 20.0, id="inverted"),
    ],
)
def test_mask_loss_has_the_known_value(coefficient: float, expected: float) -> None:
    assert mask_loss(*mask_case(coefficient)).item() == pytest.approx(expected, abs=1e-4)


OVERLAPPING: tuple[Object, ...] = ((1, 0, (8.0, 8.0, 40.0, 40.0)), (1, 0, (24.0, 24.0, 40.0, 40.0)))
"""8 x 8 cells, and 4 x 4 cells in their lower right corner; in the second of two pictures."""


@pytest.mark.parametrize(
    ("separate", "whole", "with_hole"),
    [
        # All 64 cells of the larger one are inside: a hole of 16 cells is wrong by 20 in each.
        pytest.param(True, 0.0, 20 * 16 / 64, id="separate"),
        # The smaller one on top takes 16 cells out of the larger one.
        pytest.param(False, 20 * 16 / 64, 0.0, id="merged"),
    ],
)
def test_separate_masks_keep_what_a_smaller_object_covers(separate: bool, whole: float, with_hole: float) -> None:
    batch = make_batch(OVERLAPPING, 2, separate=separate)
    proto = torch.full((2, 32, 16, 16), 0.0)
    proto[1, :2] = -1
    proto[1, :2, 2:10, 2:10] = 1
    proto[1, 1, 6:10, 6:10] = -1
    coefficients = torch.zeros(2, 32)
    coefficients[0, 0], coefficients[1, 1] = 20.0, 20.0

    losses = [mask_loss(proto, row, torch.tensor([0]), batch).item() for row in coefficients[:, None]]
    of_the_smaller = mask_loss(proto, coefficients[:1], torch.tensor([1]), batch).item()

    assert losses == pytest.approx([whole, with_hole], abs=1e-4)
    # It is whole under both rules.
    assert of_the_smaller == pytest.approx(0, abs=1e-4)


def test_separate_masks_of_objects_side_by_side_are_those_of_the_label_map() -> None:
    apart: tuple[Object, ...] = ((0, 1, (0.0, 0.0, 20.0, 64.0)), (0, 0, (20.0, 8.0, 60.0, 32.0)), *OBJECTS[2:])
    outputs = make_outputs(3, CLASSES)

    merged, separate = (make_loss()(outputs, make_batch(apart, 3, separate=own)) for own in (False, True))

    assert values(separate) == values(merged)


def test_mask_loss_sees_nothing_out_of_the_box() -> None:
    proto, coefficients, objects, batch = mask_case(1.0)
    before = mask_loss(proto, coefficients, objects, batch)
    (gradient,) = gradients(before, [proto])
    changed = proto.detach().clone()
    changed[..., :2] = changed[..., 10:] = changed[..., :2, :] = changed[..., 10:, :] = 7.0

    assert mask_loss(changed, coefficients, objects, batch).item() == before.item()
    # The box from 8 to 40 px holds the cells 2 to 9.
    assert gradient[0, 0, 2:10, 2:10].count_nonzero() == 64
    assert gradient.count_nonzero() == 64


def test_mask_loss_refuses_label_maps_of_another_size() -> None:
    proto, coefficients, objects, batch = mask_case(1.0)

    with pytest.raises(ContractError, match=r"label maps of shape \(1, 16, 16\), expected \(1, 16, 8\)"):
        mask_loss(proto[..., :8], coefficients, objects, batch)


def test_mask_loss_refuses_object_maps_of_another_number() -> None:
    proto, coefficients, objects, batch = mask_case(1.0)
    wrong = dataclasses.replace(batch, object_maps=torch.zeros(3, 16, 16, dtype=torch.bool))

    with pytest.raises(ContractError, match=r"object maps of shape \(3, 16, 16\), expected \(2, 16, 16\)"):
        mask_loss(proto, coefficients, objects, wrong)


def test_gradient_equals_the_numeric_one() -> None:
    # Without the box part: its trade-off factor is a constant to the gradient (test_boxes.py).
    batch, outputs = make_batch(OBJECTS, 3), make_outputs(3, CLASSES, dtype=torch.float64)
    loss = make_loss()
    assignment = loss.assignment(outputs, batch)

    def parts(*given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        losses = loss.given(assignment, given, batch)
        return losses.cls, losses.dfl, losses.mask

    assert torch.autograd.gradcheck(parts, outputs, fast_mode=True)


def test_loss_decreases_along_its_gradient() -> None:
    batch, outputs = make_batch(OBJECTS, 3), make_outputs(3, CLASSES)
    loss = make_loss()
    assignment = loss.assignment(outputs, batch)
    before = loss.given(assignment, outputs, batch)

    steps = gradients(before.total, outputs)
    moved = [output.detach() - 1e-3 * step for output, step in zip(outputs, steps, strict=True)]
    after = loss.given(assignment, moved, batch)

    assert all(new < old for new, old in zip(values(after), values(before), strict=True))


def test_loss_does_not_depend_on_the_order_of_the_objects() -> None:
    batch, outputs = make_batch(OBJECTS, 3), make_outputs(3, CLASSES)
    order = torch.tensor([1, 0, 4, 2, 3])
    per_object = ("picture_of", "number", "class_ids", "boxes")
    shuffled = dataclasses.replace(batch, **{name: getattr(batch, name)[order] for name in per_object})

    assert values(make_loss()(outputs, shuffled)) == pytest.approx(values(make_loss()(outputs, batch)), rel=1e-5)


def test_loss_does_not_depend_on_the_order_of_the_pictures() -> None:
    batch, outputs = make_batch(OBJECTS, 3), make_outputs(3, CLASSES)
    turned = make_batch([(2 - picture, *rest) for picture, *rest in (*OBJECTS[2:], *OBJECTS[:2])], 3)  # type: ignore[misc]

    found = make_loss()([output.flip(0) for output in outputs], turned)

    assert values(found) == pytest.approx(values(make_loss()(outputs, batch)), rel=1e-5)


def test_parts_of_two_processes_add_up_to_those_of_one() -> None:
    batch, outputs = make_batch(OBJECTS, 3), make_outputs(3, CLASSES)
    loss = make_loss()
    whole = loss(outputs, batch)
    # Pictures 0 and 1, then picture 2.
    halves = [
        (make_batch(OBJECTS[:2], 2), [output[:2] for output in outputs]),
        (make_batch([(0, *rest) for _, *rest in OBJECTS[2:]], 1), [output[2:] for output in outputs]),  # type: ignore[misc]
    ]
    seen: list[list[Tensor]] = []
    for half, given in halves:
        mine: list[Tensor] = []
        loss(given, half, lambda value, mine=mine: mine.append(value) or value)  # type: ignore[misc]
        seen.append(mine)
    sums = [sum(values) for values in zip(*seen, strict=True)]
    assert all(mine[0] > 1 for mine in seen), "below 1 the sums of the targets would not matter"

    found = []
    for half, given in halves:
        queue = iter(sums)
        found.append(loss(given, half, lambda value, queue=queue: next(queue)))  # type: ignore[misc]

    both = [sum(pair) for pair in zip(*map(values, found), strict=True)]
    assert both == pytest.approx(values(whole), rel=1e-5)
    gradient = gradients(whole.total, outputs)
    torch.testing.assert_close(gradients(found[0].total + found[1].total, outputs), gradient, rtol=1e-4, atol=1e-6)


def test_loss_is_computed_in_float32_when_the_outputs_are_bfloat16() -> None:
    batch, outputs = make_batch(OBJECTS, 3), make_outputs(3, CLASSES)
    coarse = [output.detach().bfloat16().requires_grad_() for output in outputs]

    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = make_loss()(coarse, batch)

    assert losses.total.dtype == torch.float32
    assert values(losses) == values(make_loss()([output.float() for output in coarse], batch))
    assert all(gradient.dtype == torch.bfloat16 for gradient in gradients(losses.total, coarse))


@pytest.mark.parametrize("separate", [False, True], ids=["merged", "separate"])
def test_only_the_class_branch_learns_when_there_is_no_object(separate: bool) -> None:
    batch, outputs = make_batch([], 2, separate=separate), make_outputs(2, CLASSES)

    losses = make_loss()(outputs, batch)
    found = gradients(losses.total, outputs)

    assert [losses.box.item(), losses.dfl.item(), losses.mask.item()] == [0, 0, 0]
    assert losses.cls.item() > 0
    assert [bool(gradient.any()) for gradient in found] == [False, True, False] * 3 + [False]


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([(0, 0, (9.0, 9.0, 9.0, 9.0))], id="no-size"),
        pytest.param([(0, 0, (9.0, 9.0, 9.0, 40.0)), (0, 1, (8.0, 8.0, 32.0, 32.0))], id="no-width"),
        pytest.param([(0, 0, (8.0, 8.0, 24.0, 24.0)), (0, 1, (8.0, 8.0, 24.0, 24.0))], id="hidden"),
        pytest.param([(0, 0, (10.5, 10.5, 11.0, 11.0))], id="between-the-cells"),
        pytest.param([(0, 0, (63.5, 0.0, 64.0, 0.5))], id="in-the-corner"),
        pytest.param([(0, 0, (0.0, 0.0, 64.0, 64.0))], id="whole-picture"),
    ],
)
@pytest.mark.parametrize("separate", [False, True], ids=["merged", "separate"])
def test_loss_and_gradient_are_finite_for_odd_objects(objects: list[Object], separate: bool) -> None:
    outputs = make_outputs(1, CLASSES)

    losses = make_loss()(outputs, make_batch(objects, 1, separate=separate))

    assert all(map(math.isfinite, values(losses)))
    assert all(gradient.isfinite().all() for gradient in gradients(losses.total, outputs))


def test_loss_and_gradient_are_finite_when_boxes_shrink_to_nothing() -> None:
    outputs = [output.detach() for output in make_outputs(3, CLASSES)]
    for box in (0, 3, 6):
        outputs[box][:, ::16] = 1e4  # all probability on the first bin of each side
    learned = [output.requires_grad_() for output in outputs]

    losses = make_loss()(learned, make_batch(OBJECTS, 3))

    assert all(map(math.isfinite, values(losses)))
    assert all(gradient.isfinite().all() for gradient in gradients(losses.total, learned))


def test_loss_refuses_a_network_of_other_classes() -> None:
    with pytest.raises(ContractError, match="expected 3 classes"):
        make_loss()(make_outputs(1, 4), make_batch([], 1))


def test_loss_refuses_weights_for_other_classes() -> None:
    with pytest.raises(ContractError, match=r"class weights of shape \(2,\), expected \(3,\)"):
        SegmentationLoss(3, Gains(), Assigner(), torch.ones(2))
