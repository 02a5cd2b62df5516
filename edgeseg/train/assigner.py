"""Which points learn which object: task-aligned assignment (TOOD, arXiv 2108.07755, section 3.3).

A point is worth to an object what it predicts: score ** alpha * IoU ** beta. Two things are ours, both for objects
that the published rule leaves without any point, so that they would never be learned:

- Candidates are the points inside the object's box, widened about its centre to at least the finest stride. A
  smaller or thinner box often lies between the points; one of 8 px always holds exactly one row and column of P3.
- The IoU is the complete one, as in the published recipe, clamped at 0. Before training, when all points predict
  squares, it is below 0 at every point of a thin object; such an object is judged by its plain IoU instead.

Worth is kept as a logarithm: IoU ** 6 of a small object among untrained boxes is near the end of float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from edgeseg.card.train import Assigner
from edgeseg.tensors import STRIDES
from edgeseg.train.boxes import overlaps

_LEAST_SIDE = STRIDES[0]


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """The F points that learn an object, ordered by point, then by picture.

    Attributes:
        points: (F,) int64, index of the point within its picture.
        pictures: (F,) int64, index of the picture.
        objects: (F,) int64, index of the object within the batch.
        targets: (F,) float32, class score to learn, in 0..1; the best of an object is its best IoU.
    """

    points: Tensor
    pictures: Tensor
    objects: Tensor
    targets: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What the network says before it learns from a batch; B pictures, P points, N objects.

    Attributes:
        logits: (N, P), of each object's own class at the points of its own picture.
        boxes: (B, P, 4) xyxy px.
        centres: (P, 2) of the points, px.
    """

    logits: Tensor
    boxes: Tensor
    centres: Tensor


@torch.no_grad()
def assign(predictions: Predictions, boxes: Tensor, picture_of: Tensor, settings: Assigner) -> Assignment:
    """Give every object its `top_k` best points; a point that several claim goes to the one it overlaps most.

    Args:
        predictions: finite values.
        boxes: (N, 4) xyxy px of the objects. One without area gets no points.
        picture_of: (N,) int64, which picture each object is of.
        settings: `top_k`, `alpha` and `beta`.
    """
    pictures = len(predictions.boxes)
    objects, points = _candidates(boxes, predictions.centres).nonzero(as_tuple=True)
    found = predictions.boxes[picture_of[objects], points]
    overlap = _overlap(found, boxes[objects], objects, len(boxes))
    worth = settings.alpha * logsigmoid(predictions.logits[objects, points]) + settings.beta * overlap.log()

    # An overlap of 0 has the logarithm -inf and is never chosen, nor is a point outside the box.
    table = predictions.logits.new_full(predictions.logits.shape, -torch.inf)
    table[objects, points] = torch.where(overlap > 0, worth, -torch.inf)
    best, at = table.topk(min(settings.top_k, table.shape[1]), dim=1)
    chosen = torch.zeros_like(table, dtype=torch.bool).scatter_(1, at, best > -torch.inf)[objects, points]
    objects, points, overlap, worth = objects[chosen], points[chosen], overlap[chosen], worth[chosen]

    place = points * pictures + picture_of[objects]
    won = _wins(place, objects, overlap, pictures * table.shape[1])
    order = won.nonzero()[:, 0]
    order = order[place[order].argsort()]
    objects, points = objects[order], points[order]
    targets = _targets(worth[order], overlap[order], objects, len(boxes))
    return Assignment(points, picture_of[objects], objects, targets)


def _candidates(boxes: Tensor, centres: Tensor) -> Tensor:
    """(N, P) bool: which points may learn which object."""
    size = boxes[:, 2:] - boxes[:, :2]
    grown = (_LEAST_SIDE - size).clamp_min(0) / 2
    (left, top), (right, bottom) = (boxes[:, :2] - grown).T[..., None], (boxes[:, 2:] + grown).T[..., None]
    x, y = centres.T
    # Half open, so that a box of 8 px holds one point of a row, not two, wherever it lies.
    inside: Tensor = (left <= x) & (x < right) & (top <= y) & (y < bottom)
    return inside & (size > 0).all(1)[:, None]


def _overlap(found: Tensor, wanted: Tensor, objects: Tensor, count: int) -> Tensor:
    """(K,) in 0..1 of the candidates: complete IoU, or plain IoU where an object has none above 0."""
    iou, complete = overlaps(found, wanted)
    best = iou.new_zeros(count).scatter_reduce(0, objects, complete, "amax")
    return torch.where(best[objects] > 0, complete.clamp_min(0), iou)


def _wins(place: Tensor, objects: Tensor, overlap: Tensor, places: int) -> Tensor:
    """(K,) bool: whether a claim of an object on a place is the one that holds; of equal ones the first."""
    best = overlap.new_zeros(places).scatter_reduce(0, place, overlap, "amax")
    holds = overlap == best[place]
    first = objects.new_full((places,), torch.iinfo(objects.dtype).max)
    first = first.scatter_reduce(0, place[holds], objects[holds], "amin")
    wins: Tensor = holds & (objects == first[place])
    return wins


def _targets(worth: Tensor, overlap: Tensor, objects: Tensor, count: int) -> Tensor:
    """(F,): worth, scaled so that the best of an object's points has its best overlap (TOOD, equation 6)."""
    best_worth = worth.new_full((count,), -torch.inf).scatter_reduce(0, objects, worth, "amax")
    best_overlap = overlap.new_zeros(count).scatter_reduce(0, objects, overlap, "amax")
    return (worth - best_worth[objects]).exp() * best_overlap[objects]
