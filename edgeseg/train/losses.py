"""The loss of training: box, class, distribution and mask (facts.md, section 3).

Each part is a sum over this process's points, divided by a number counted over all processes. So the gradients of
several processes, summed, are those of one process with all the pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from edgeseg.card.train import Assigner, Gains
from edgeseg.errors import ContractError
from edgeseg.tensors import LEVELS, RAW_OUTPUT_NAMES, REG_MAX
from edgeseg.train.assigner import Assignment, Predictions, assign
from edgeseg.train.batch import Batch
from edgeseg.train.boxes import (
    Points,
    distances_to_boxes,
    expected_distances,
    make_points,
    overlaps,
    target_distances,
)
from edgeseg.train.mask_loss import mask_loss

Total = Callable[[Tensor], Tensor]
"""A scalar of this process to its sum over all processes. Every process calls it equally often."""


def alone(value: Tensor) -> Tensor:
    """The sum over all processes where there is only this one."""
    return value


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """Scalars, gains included, with their gradients.

    Attributes:
        box: 1 - complete IoU.
        cls: BCE of all points.
        dfl: cross entropy of the distributions over the box sides.
        mask: BCE of the masks inside the boxes.
    """

    box: Tensor
    cls: Tensor
    dfl: Tensor
    mask: Tensor

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return self.box + self.cls + self.dfl + self.mask


@dataclass(frozen=True, slots=True, eq=False)
class _Maps:
    """Outputs by kind, finest level first, in float32 (float64 where they come so)."""

    box: tuple[Tensor, ...]
    cls: tuple[Tensor, ...]
    coef: tuple[Tensor, ...]
    proto: Tensor


class SegmentationLoss:
    """Network outputs and labels to the parts of the loss.

    Args:
        num_classes: classes of the network.
        gains: factors on the parts; `box` is the mask's too.
        assigner: which points learn which object.
        class_weights: (num_classes,) factors on the class loss; None for 1.

    Raises:
        ContractError: as many weights as classes are expected.
    """

    def __init__(self, num_classes: int, gains: Gains, assigner: Assigner, class_weights: Tensor | None = None) -> None:
        weights = torch.ones(num_classes) if class_weights is None else class_weights.detach().float()
        if weights.shape != (num_classes,):
            raise ContractError(f"class weights of shape {tuple(weights.shape)}, expected {(num_classes,)}")
        self.num_classes = num_classes
        self.gains = gains
        self.assigner = assigner
        self.class_weights = weights

    def __call__(self, outputs: Sequence[Tensor], batch: Batch, total: Total = alone) -> Losses:
        """The loss of one batch.

        Args:
            outputs: the ten tensors of `RAW_OUTPUT_NAMES`, of any float dtype; computed with in float32 at least.
            batch: on the same device.
            total: sums over all processes; called twice.

        Raises:
            ContractError: outputs of another number of classes, or that do not fit the label maps.
        """
        return self.given(self.assignment(outputs, batch), outputs, batch, total)

    def assignment(self, outputs: Sequence[Tensor], batch: Batch) -> Assignment:
        """Which points learn which object; arguments as of a call."""
        with torch.no_grad(), _full_precision(batch):
            maps = self._maps(outputs)
            points = _points(maps)
            own = [level[batch.picture_of, batch.class_ids].flatten(1) for level in maps.cls]
            distances = [expected_distances(level.flatten(2).transpose(1, 2)) for level in maps.box]
            boxes = distances_to_boxes(points.centres, torch.cat(distances, 1) * points.strides[:, None])
            predictions = Predictions(torch.cat(own, 1), boxes, points.centres)
            return assign(predictions, batch.boxes, batch.picture_of, self.assigner)

    def given(self, assignment: Assignment, outputs: Sequence[Tensor], batch: Batch, total: Total = alone) -> Losses:
        """The loss where each point's object is known; arguments as of a call."""
        with _full_precision(batch):
            maps = self._maps(outputs)
            points = _points(maps)
            targets = assignment.targets
            scores = total(targets.sum()).clamp_min(1)
            count = total(targets.new_tensor(float(len(targets)))).clamp_min(1)
            box, dfl = _box_losses(_at(maps.box, assignment, points), assignment, points, batch)
            coefficients = _at(maps.coef, assignment, points)
            mask = mask_loss(maps.proto, coefficients, assignment.objects, batch)
            return Losses(
                box=self.gains.box * box / scores,
                cls=self.gains.cls * self._class_loss(maps.cls, assignment, points, batch) / scores,
                dfl=self.gains.dfl * dfl / scores,
                mask=self.gains.box * mask / count,
            )

    def _class_loss(self, logits: Sequence[Tensor], assignment: Assignment, points: Points, batch: Batch) -> Tensor:
        # BCE(x, t) = softplus(x) - t x, and t is 0 nearly everywhere: no map of targets is needed.
        weights = self.class_weights.to(batch.boxes.device)
        negative = torch.stack([softplus(level).sum((0, 2, 3)) for level in logits]).sum(0)
        class_ids = batch.class_ids[assignment.objects]
        learned = _at(logits, assignment, points).gather(1, class_ids[:, None])[:, 0]
        return (negative * weights).sum() - (learned * assignment.targets * weights[class_ids]).sum()

    def _maps(self, outputs: Sequence[Tensor]) -> _Maps:
        named = dict(zip(RAW_OUTPUT_NAMES, (_widened(output) for output in outputs), strict=True))
        box, cls, coef = (tuple(named[f"{level}_{kind}"] for level, _ in LEVELS) for kind in ("box", "cls", "coef"))
        found = [level.shape[1] for level in cls]
        if set(found) != {self.num_classes}:
            raise ContractError(f"class maps of {found} channels, expected {self.num_classes} classes")
        return _Maps(box, cls, coef, named["proto"])


def _full_precision(batch: Batch) -> torch.autocast:
    return torch.autocast(batch.boxes.device.type, enabled=False)


def _widened(output: Tensor) -> Tensor:
    return output.to(torch.promote_types(output.dtype, torch.float32))


def _points(maps: _Maps) -> Points:
    return make_points([(level.shape[2], level.shape[3]) for level in maps.cls], maps.proto.device)


def _at(levels: Sequence[Tensor], assignment: Assignment, points: Points) -> Tensor:
    """(F, C) of the maps at the points of an assignment, which are in order of level."""
    ends = torch.tensor(points.counts, device=assignment.points.device).cumsum(0)
    splits = torch.searchsorted(assignment.points, ends[:-1]).tolist()
    pictures, places = assignment.pictures.tensor_split(splits), assignment.points.tensor_split(splits)
    first, parts = 0, []
    for level, picture, place in zip(levels, pictures, places, strict=True):
        parts.append(level.flatten(2)[picture, :, place - first])
        first += level.shape[2] * level.shape[3]
    return torch.cat(parts)


def _box_losses(logits: Tensor, assignment: Assignment, points: Points, batch: Batch) -> tuple[Tensor, Tensor]:
    """Sums of 1 - CIoU and of the distribution focal loss (its mean over the sides), weighted by the targets.

    Args:
        logits: (F, 64) of the assigned points.
        assignment: F points.
        points: all points.
        batch: the boxes to learn.
    """
    centres, strides = points.centres[assignment.points], points.strides[assignment.points]
    wanted = batch.boxes[assignment.objects]
    found = distances_to_boxes(centres, expected_distances(logits) * strides[:, None])
    box = ((1 - overlaps(found, wanted)[1]) * assignment.targets).sum()
    focal = distribution_focal_loss(logits, target_distances(centres, strides, wanted))
    return box, (focal.mean(1) * assignment.targets).sum()


def distribution_focal_loss(logits: Tensor, distances: Tensor) -> Tensor:
    """Cross entropy of the two bins around each distance (generalized focal loss, arXiv 2006.04388, equation 6).

    Args:
        logits: (F, 64).
        distances: (F, 4) in strides, 0 to `edgeseg.train.boxes.LAST_DISTANCE`.

    Returns:
        (F, 4), least where the two bins share the probability as the distance divides them.
    """
    log_shares = logits.view(-1, 4, REG_MAX).log_softmax(-1)
    lower = distances.floor()
    upper_share = (distances - lower).to(logits.dtype)
    bins = lower.long()[..., None]
    below, above = log_shares.gather(-1, bins)[..., 0], log_shares.gather(-1, bins + 1)[..., 0]
    loss: Tensor = -(below * (1 - upper_share) + above * upper_share)
    return loss
