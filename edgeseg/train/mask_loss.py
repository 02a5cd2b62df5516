"""Binary cross entropy of masks at prototype resolution, computed only inside the boxes.

All points of an object share its crop: its prototypes are gathered once, one matrix product gives the logits of all
its points, and objects of about equal area share one batch of products.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from edgeseg.data.label_map import MASK_STRIDE
from edgeseg.errors import ContractError
from edgeseg.train.batch import Batch

_GROUPS_PER_DOUBLING = 2
"""Crops of one group differ in area by at most sqrt(2), so that a sixth of the gathered cells is padding."""

_LEAST_CELLS = 64
"""Smaller crops share one group: there the number of calls costs more than the padding."""


@dataclass(frozen=True, slots=True, eq=False)
class _Crops:
    """The cells of N boxes whose centres lie inside them.

    Attributes:
        first: (N,) int64, index of the first cell among those of all pictures.
        columns: (N,) int64, cells of a row, at least 1.
        count: (N,) int64, cells in all; 0 where no centre is inside.
        area: (N,) float, the box's own area in cells, at least 1.
        map_columns: cells of a row of the whole map.
    """

    first: Tensor
    columns: Tensor
    count: Tensor
    area: Tensor
    map_columns: int


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Crops of about equal area.

    Attributes:
        objects: (n,) int64, whose crops.
        cells: (n, A) int64, index among the cells of all pictures.
        inside: (n, A) bool, which of them are not padding.
    """

    objects: Tensor
    cells: Tensor
    inside: Tensor


def mask_loss(prototypes: Tensor, coefficients: Tensor, objects: Tensor, batch: Batch) -> Tensor:
    """Sum over points of the BCE of their masks, each over the cells in its object's box, divided by the box's area.

    Args:
        prototypes: (B, 32, H/4, W/4).
        coefficients: (F, 32), one row a point.
        objects: (F,) int64, the object of each point within the batch.
        batch: its `object_maps` give the masks, or where it has none its `label_maps`.

    Returns:
        A scalar, 0 without points; always connected to both inputs.

    Raises:
        ContractError: the maps and the prototypes differ in size.
    """
    pictures, channels, rows, columns = prototypes.shape
    _check("label maps", batch.label_maps, (pictures, rows, columns))
    if batch.object_maps is not None:
        _check("object maps", batch.object_maps, (len(batch.boxes), rows, columns))
    crops, members = _crops(batch, rows, columns), _members(objects, len(batch.boxes))
    used = members < len(objects)
    groups = _groups(crops, used.any(1))
    table = prototypes.permute(0, 2, 3, 1).reshape(-1, channels)
    if not groups:
        return prototypes[:0].sum() + coefficients[:0].sum()
    # One gather and one split for all groups: the gradient of each call is as large as its input.
    gathered = table.index_select(0, torch.cat([group.cells.flatten() for group in groups]))
    parts = torch.split(gathered, [group.cells.numel() for group in groups])
    # A row of zeros stands for the points that an object has fewer than others.
    padded = torch.cat([coefficients, coefficients.new_zeros(1, channels)])

    sums = []
    for group, part in zip(groups, parts, strict=True):
        mask = group.inside & _wanted(group, batch)
        logits = padded[members[group.objects]] @ part.view(*group.cells.shape, channels).transpose(1, 2)
        share = used[group.objects] / crops.area[group.objects, None]
        sums.append((_entropy(logits, mask, group.inside) * share).sum())
    return torch.stack(sums).sum()


def _check(what: str, maps: Tensor, expected: tuple[int, int, int]) -> None:
    if maps.shape != expected:
        raise ContractError(
            f"{what} of shape {tuple(maps.shape)}, expected {expected} "
            f"as the prototypes have: cells of {MASK_STRIDE} px"
        )


def _wanted(group: _Group, batch: Batch) -> Tensor:
    """(n, A) bool: which cells of a group are in their object's mask."""
    if batch.object_maps is None:
        return batch.label_maps.flatten()[group.cells] == batch.number[group.objects, None] + 1
    # The same cell, in the object's map in place of its picture's.
    maps = group.objects - batch.picture_of[group.objects]
    return batch.object_maps.flatten()[group.cells + maps[:, None] * batch.object_maps[0].numel()]


def _entropy(logits: Tensor, mask: Tensor, inside: Tensor) -> Tensor:
    """(n, K) sums over the cells inside of the BCE of logits (n, K, A) against mask (n, A)."""
    # BCE(x, t) = softplus(x) - t x; products sum over cells without a map of the masked values.
    negative = softplus(logits) @ inside[..., None].to(logits.dtype)
    return (negative - logits @ mask[..., None].to(logits.dtype))[..., 0]


def _crops(batch: Batch, rows: int, columns: int) -> _Crops:
    boxes = batch.boxes / MASK_STRIDE
    limit = boxes.new_tensor([columns, rows, columns, rows])
    # Cell i has its centre at i + 0.5, which a box from a to b holds where a <= i + 0.5 < b.
    left, top, right, bottom = (boxes - 0.5).ceil().clamp_min(0).minimum(limit).long().T
    width, height = (right - left).clamp_min(0), (bottom - top).clamp_min(0)
    first = (batch.picture_of * rows + top) * columns + left
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1).clamp_min(1)
    return _Crops(first, width.clamp_min(1), width * height, area, columns)


def _members(objects: Tensor, count: int) -> Tensor:
    """(N, K) int64: the points of each of N objects; F, one past the last point, where it has fewer than K."""
    order = objects.argsort(stable=True)
    counts = objects.bincount(minlength=count)
    owner = objects[order]
    rank = torch.arange(len(objects), device=objects.device) - (counts.cumsum(0) - counts)[owner]
    members = objects.new_full((count, int(counts.max()) if len(objects) else 0), len(objects))
    members[owner, rank] = order
    return members


def _groups(crops: _Crops, wanted: Tensor) -> list[_Group]:
    """The wanted crops that have any cells, those of about equal area together."""
    size = (crops.count.clamp_min(_LEAST_CELLS).log2() * _GROUPS_PER_DOUBLING).ceil()
    size = torch.where(wanted & (crops.count > 0), size, 0)
    return [_group(crops, (size == value).nonzero()[:, 0]) for value in torch.unique(size).tolist() if value]


def _group(crops: _Crops, objects: Tensor) -> _Group:
    count, columns = crops.count[objects, None], crops.columns[objects, None]
    step = torch.arange(int(count.max()), device=count.device)
    inside = step < count
    # Padding repeats the crop's last cell: any that exists would do.
    step = torch.minimum(step, count - 1)
    return _Group(objects, crops.first[objects, None] + step // columns * crops.map_columns + step % columns, inside)
