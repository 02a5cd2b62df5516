"""Sizes of the network: one row per scale, everything else computed from it.

Source: the published YOLOv8-seg model table (facts.md, section 1). No torch here: the command line and the
card resolver read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from edgeseg.errors import UsageError

Scale = Literal["n", "s", "m", "l", "x"]
SCALES: tuple[Scale, ...] = get_args(Scale)
FAMILY = "yolov8-seg"
STRIDE_MULTIPLE = 32
"""Input height and width must be multiples of the coarsest stride."""


@dataclass(frozen=True)
class NetworkConfig:
    """Channel counts and depths of one network.

    Attributes:
        channels: output channels of the stem, P2, P3, P4, P5.
        outer_repeats: bottlenecks in the C2f of P2, P5 and of the neck.
        inner_repeats: bottlenecks in the C2f of P3 and P4.
        box_hidden: channels of the box branch's hidden layers.
        cls_hidden: channels of the class branch's hidden layers. Kept for every class count, so that weights
            of one class list transfer to another.
        coef_hidden: channels of the coefficient branch's hidden layers.
        proto_hidden: channels of the prototype branch's hidden layers.
        num_classes: classes of the head.
    """

    channels: tuple[int, int, int, int, int]
    outer_repeats: int
    inner_repeats: int
    box_hidden: int
    cls_hidden: int
    coef_hidden: int
    proto_hidden: int
    num_classes: int = 80


_TABLE: Mapping[str, NetworkConfig] = {
    "n": NetworkConfig((16, 32, 64, 128, 256), 1, 2, 64, 80, 32, 64),
    "s": NetworkConfig((32, 64, 128, 256, 512), 1, 2, 64, 128, 32, 128),
    "m": NetworkConfig((48, 96, 192, 384, 576), 2, 4, 64, 192, 48, 192),
    "l": NetworkConfig((64, 128, 256, 512, 512), 3, 6, 64, 256, 64, 256),
    "x": NetworkConfig((80, 160, 320, 640, 640), 3, 6, 80, 320, 80, 320),
}


def network_config(scale: str, num_classes: int = 80) -> NetworkConfig:
    """The sizes of a scale.

    Raises:
        UsageError: no such scale, or fewer than one class.
    """
    if scale not in _TABLE:
        raise UsageError(f"unknown scale {scale!r}", hint="scales: " + ", ".join(SCALES))
    if num_classes < 1:
        raise UsageError(f"a network of {num_classes} classes", hint="at least one class is needed")
    return replace(_TABLE[scale], num_classes=num_classes)


def scale_of(stem_channels: int, inner_repeats: int) -> Scale | None:
    """The scale with these sizes, None where no scale has them. Two numbers tell all five apart."""
    for scale in SCALES:
        config = _TABLE[scale]
        if config.channels[0] == stem_channels and config.inner_repeats == inner_repeats:
            return scale
    return None


def check_image_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """Return `image_size` (height, width) in pixels if the network takes it.

    Raises:
        UsageError: not positive multiples of 32; the hint has the nearest size that is.
    """
    if all(side >= STRIDE_MULTIPLE and side % STRIDE_MULTIPLE == 0 for side in image_size):
        return image_size
    near = " ".join(str(max(STRIDE_MULTIPLE, round(side / STRIDE_MULTIPLE) * STRIDE_MULTIPLE)) for side in image_size)
    raise UsageError(
        f"image size {image_size[0]} {image_size[1]}: height and width must be multiples of {STRIDE_MULTIPLE}",
        hint=f"the nearest is {near}",
    )
