"""Names, shapes and dtypes of what goes into and comes out of a network: the contract of every target.

The exported graph ends before decoding, in ten float tensors of logits. Separate tensors keep separate
quantisation scales: in one concatenated tensor, boxes in 0..640 and scores in 0..1 share a scale and the
scores collapse (design.md, section 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.errors import ContractError

Array = NDArray[Any]
Dimension = int | str

STRIDES = (8, 16, 32)
"""Input pixels per cell of the levels P3, P4 and P5 (Redmon 2016 to YOLOv8: powers of two of the backbone)."""

REG_MAX = 16
"""Bins of the distribution over one box side (generalized focal loss, arXiv 2006.04388, section 3.2)."""

NUM_COEFFICIENTS = 32
"""Mask prototypes, and coefficients per instance (YOLACT, arXiv 1904.02689, section 3)."""

PROTO_STRIDE = 4
"""Input pixels per prototype cell."""

INPUT_NAME = "images"
LEVELS = tuple(zip(("p3", "p4", "p5"), STRIDES, strict=True))
RAW_OUTPUT_NAMES = (*(f"{level}_{kind}" for level, _ in LEVELS for kind in ("box", "cls", "coef")), "proto")
DECODED_OUTPUT_NAMES = ("output0", "output1")


@dataclass(frozen=True)
class TensorSpec:
    """One named tensor.

    Attributes:
        name: the tensor's name in the artifact.
        shape: sizes; a string is a dynamic dimension and its name.
        dtype: a numpy dtype name, as seen at the runner's boundary.
        layout: ``NCHW``, or ``BCN`` for the peer's decoded output.
    """

    name: str
    shape: tuple[Dimension, ...]
    dtype: str = "float32"
    layout: str = "NCHW"

    def mismatch(self, array: Array) -> str:
        """Why `array` breaks this spec, in words; empty where it fits."""
        if array.dtype != np.dtype(self.dtype):
            return f"{self.name}: dtype {array.dtype}, expected {self.dtype}"
        fits = len(array.shape) == len(self.shape) and all(
            isinstance(want, str) or have == want for have, want in zip(array.shape, self.shape, strict=True)
        )
        return "" if fits else f"{self.name}: shape {tuple(array.shape)}, expected {self.shape}"


def check_tensors(specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array], what: str) -> None:
    """Raise `ContractError` listing every name, shape and dtype at which `arrays` breaks `specs`."""
    wanted = {spec.name for spec in specs}
    problems = [f"{name}: missing" for name in sorted(wanted - arrays.keys())]
    problems += [f"{name}: not expected" for name in sorted(arrays.keys() - wanted)]
    problems += [text for spec in specs if spec.name in arrays and (text := spec.mismatch(arrays[spec.name]))]
    if problems:
        raise ContractError(
            f"{what} break the contract: " + "; ".join(problems),
            hint="expected " + ", ".join(f"{s.name} {s.shape} {s.dtype}" for s in specs),
        )


def input_spec(image_size: tuple[Dimension, Dimension], batch: Dimension = 1) -> TensorSpec:
    """The network's input: RGB in 0..1, NCHW.

    Args:
        image_size: (height, width) in pixels, or names of dynamic dimensions.
        batch: pictures per call, or the name of a dynamic dimension.
    """
    return TensorSpec(INPUT_NAME, (batch, 3, *image_size))


def raw_output_specs(
    num_classes: int, image_size: tuple[Dimension, Dimension], batch: Dimension = 1
) -> tuple[TensorSpec, ...]:
    """The ten raw outputs, logits in NCHW: box, class and coefficient maps of P3, P4, P5, then prototypes."""
    channels = {"box": 4 * REG_MAX, "cls": num_classes, "coef": NUM_COEFFICIENTS}
    specs = [
        TensorSpec(f"{level}_{kind}", (batch, size, *_cells(image_size, stride)))
        for level, stride in LEVELS
        for kind, size in channels.items()
    ]
    return (*specs, TensorSpec("proto", (batch, NUM_COEFFICIENTS, *_cells(image_size, PROTO_STRIDE))))


def decoded_output_specs(
    num_classes: int, image_size: tuple[Dimension, Dimension], batch: Dimension = 1
) -> tuple[TensorSpec, ...]:
    """The peer's layout: output0 (B, 4 + nc + 32, N) of cxcywh px, probabilities, coefficients; output1 prototypes."""
    height, width = image_size
    points: Dimension = "points"
    if isinstance(height, int) and isinstance(width, int):
        points = sum((height // stride) * (width // stride) for stride in STRIDES)
    return (
        TensorSpec("output0", (batch, 4 + num_classes + NUM_COEFFICIENTS, points), layout="BCN"),
        TensorSpec("output1", (batch, NUM_COEFFICIENTS, *_cells(image_size, PROTO_STRIDE))),
    )


def _cells(image_size: tuple[Dimension, Dimension], stride: int) -> tuple[Dimension, Dimension]:
    height, width = image_size
    return (
        height // stride if isinstance(height, int) else f"{height}/{stride}",
        width // stride if isinstance(width, int) else f"{width}/{stride}",
    )
