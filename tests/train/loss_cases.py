"""Small batches and outputs for the tests of the loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgeseg.data.label_map import MASK_STRIDE
from edgeseg.tensors import NUM_COEFFICIENTS, REG_MAX, STRIDES
from edgeseg.train.batch import Batch

Object = tuple[int, int, tuple[float, float, float, float]]
"""Picture, class, xyxy px."""


def make_batch(
    objects: Sequence[Object], pictures: int, size: tuple[int, int] = (64, 64), *, separate: bool = False
) -> Batch:
    """Objects as filled boxes, later ones on top; or each with a mask of its own."""
    rows, columns = size[0] // MASK_STRIDE, size[1] // MASK_STRIDE
    label_maps = torch.zeros(pictures, rows, columns, dtype=torch.int16)
    y, x = (torch.arange(rows) + 0.5) * MASK_STRIDE, (torch.arange(columns) + 0.5) * MASK_STRIDE
    object_maps = torch.zeros(len(objects), rows, columns, dtype=torch.bool)
    numbers: list[int] = []
    for index, (picture, _, (left, top, right, bottom)) in enumerate(objects):
        numbers.append(sum(other[0] == picture for other in objects[:index]))
        inside = ((top <= y) & (y < bottom))[:, None] & ((left <= x) & (x < right))
        label_maps[picture][inside] = numbers[-1] + 1
        object_maps[index] = inside
    return Batch(
        images=torch.zeros(pictures, 3, *size, dtype=torch.uint8),
        label_maps=label_maps,
        picture_of=torch.tensor([picture for picture, _, _ in objects], dtype=torch.int64),
        number=torch.tensor(numbers, dtype=torch.int64),
        class_ids=torch.tensor([class_id for _, class_id, _ in objects], dtype=torch.int64),
        boxes=torch.tensor([box for _, _, box in objects], dtype=torch.float32).reshape(-1, 4),
        names=tuple(f"picture {index}" for index in range(pictures)),
        object_maps=object_maps if separate else None,
    )


def make_outputs(
    pictures: int, classes: int, size: tuple[int, int] = (64, 64), dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """Random outputs, the same at each call, that ask for their gradient."""
    generator = torch.Generator().manual_seed(1)
    shapes = [
        (pictures, channels, size[0] // stride, size[1] // stride)
        for stride in STRIDES
        for channels in (4 * REG_MAX, classes, NUM_COEFFICIENTS)
    ]
    shapes.append((pictures, NUM_COEFFICIENTS, size[0] // MASK_STRIDE, size[1] // MASK_STRIDE))
    outputs = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    for level in (0, 3, 6):
        # Sides of about two cells, so that many boxes are near an object's.
        outputs[level] -= 0.4 * (torch.arange(4 * REG_MAX) % REG_MAX)[:, None, None]
    return tuple(output.requires_grad_() for output in outputs)


def gradients(loss: Tensor, outputs: Sequence[Tensor]) -> list[Tensor]:
    """Of the loss by each output; one that the loss does not use fails."""
    return list(torch.autograd.grad(loss, outputs))
