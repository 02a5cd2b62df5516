"""What one training step gets."""

from __future__ import annotations

from collections.abc import Mapping
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
        object_maps: (N, H / 4, W / 4) bool, the whole mask of each object; None where `label_maps` are what is learned.
    """

    images: Tensor
    label_maps: Tensor
    picture_of: Tensor
    number: Tensor
    class_ids: Tensor
    boxes: Tensor
    names: tuple[str, ...]
    object_maps: Tensor | None = None

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """All there are, by name."""
        found = {name: getattr(self, name) for name in _TENSORS}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in self.tensors.items()}
        return Batch(**moved, names=self.names)

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, which a GPU reads while it computes; torch's `DataLoader` calls this."""
        pinned = {name: tensor.pin_memory() for name, tensor in self.tensors.items()}
        return Batch(**pinned, names=self.names)


_TENSORS = ("images", "label_maps", "picture_of", "number", "class_ids", "boxes", "object_maps")
