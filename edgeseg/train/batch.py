"""What one training step gets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B pictures and their N objects, those of the first picture first.

    Attributes:
        images: (B, 3, H, W) uint8, RGB.
        label_maps: (B, H / 4, W / 4) int16, 0 where there is nothing, k + 1 for object k of that picture. A cell has
            the label of its centre; of overlapping objects the smaller is on top.
        picture_of: (N,) int64, which picture each object is of, ascending.
        number: (N,) int64, which object of that picture it is.
        class_ids: (N,) int64.
        boxes: (N, 4) float32 xyxy in input px: the extent of the object's visible polygon.
        names: B texts that say which picture each is, for messages.
    """

    images: Tensor
    label_maps: Tensor
    picture_of: Tensor
    number: Tensor
    class_ids: Tensor
    boxes: Tensor
    names: tuple[str, ...]

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in _TENSORS}
        return Batch(**moved, names=self.names)

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, which a GPU reads while it computes; torch's `DataLoader` calls this."""
        pinned = {name: getattr(self, name).pin_memory() for name in _TENSORS}
        return Batch(**pinned, names=self.names)


_TENSORS = ("images", "label_maps", "picture_of", "number", "class_ids", "boxes")
