"""The letterbox: resize with the aspect ratio kept, centre, pad with grey. One for train, val, predict, calibration.

Coordinates are continuous: pixel i covers [i, i + 1), its centre is i + 0.5. A point x of the picture lies at
``x * scale_x + left`` in the letterboxed picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeseg.tensors import Array

CHANNEL_POSITIONS: Mapping[str, tuple[int, int, int]] = {"rgb": (0, 1, 2), "bgr": (2, 1, 0)}
"""Where red, green and blue go in the network's input."""


@dataclass(frozen=True)
class Geometry:
    """How a picture lies inside its letterbox, in pixels.

    Attributes:
        picture_size: (height, width) of the picture.
        image_size: (height, width) of the letterbox.
        resized: (height, width) of the picture inside it.
        top: rows of padding above.
        left: columns of padding to the left.
    """

    picture_size: tuple[int, int]
    image_size: tuple[int, int]
    resized: tuple[int, int]
    top: int
    left: int

    @property
    def scale_yx(self) -> tuple[float, float]:
        """Letterbox pixels per picture pixel, down and across; they differ by the rounding of `resized`."""
        return self.resized[0] / self.picture_size[0], self.resized[1] / self.picture_size[1]

    def to_picture(self, xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes (N, 4) xyxy from letterbox pixels to picture pixels, clipped to the picture."""
        scale_y, scale_x = self.scale_yx
        offset = np.array([self.left, self.top, self.left, self.top], np.float32)
        scale = np.array([scale_x, scale_y, scale_x, scale_y], np.float32)
        height, width = self.picture_size
        limit = np.array([width, height, width, height], np.float32)
        boxes: NDArray[np.float32] = np.clip((xyxy - offset) / scale, 0, limit)
        return boxes


def geometry(picture_size: tuple[int, int], image_size: tuple[int, int]) -> Geometry:
    """Where a picture of `picture_size` (height, width) goes in a letterbox of `image_size` (height, width)."""
    height, width = picture_size
    ratio = min(image_size[0] / height, image_size[1] / width)
    resized = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    # An odd row or column of padding goes below or to the right.
    return Geometry(
        picture_size, image_size, resized, (image_size[0] - resized[0]) // 2, (image_size[1] - resized[1]) // 2
    )


def letterbox(
    picture: NDArray[np.uint8], image_size: tuple[int, int], pad_value: int = 114
) -> tuple[NDArray[np.uint8], Geometry]:
    """Letterbox one picture.

    Args:
        picture: (H, W, 3) uint8.
        image_size: (height, width) of the result in pixels.
        pad_value: grey level of the border.

    Returns:
        (height, width, 3) uint8 in the picture's channel order, and the geometry that leads back.
    """
    import cv2

    place = geometry((picture.shape[0], picture.shape[1]), image_size)
    height, width = place.resized
    canvas = np.full((*image_size, 3), pad_value, np.uint8)
    inside = canvas[place.top : place.top + height, place.left : place.left + width]
    if (height, width) == place.picture_size:
        inside[...] = picture
    else:
        cv2.resize(picture, (width, height), dst=inside, interpolation=cv2.INTER_LINEAR)
    return canvas, place


def to_input(
    letterboxed: list[NDArray[np.uint8]],
    *,
    scale: float = 1 / 255,
    channel_order: str = "rgb",
    channels_last: bool = False,
    into: Array | None = None,
) -> Array:
    """Letterboxed pictures to the network's input.

    Args:
        letterboxed: pictures (H, W, 3) uint8 RGB of one size.
        scale: factor on 8-bit values.
        channel_order: ``rgb``, or ``bgr`` for an artifact that was exported so.
        channels_last: how it lies in memory, for a runtime that wants pixels; its shape stays the same.
        into: an earlier result of the same arguments that nobody needs any more; one of another shape is let go.

    Returns:
        (B, 3, H, W) float32, contiguous, or a view of (B, H, W, 3); `into` where that fits.

    Raises:
        ValueError: the pictures are of different shapes.
    """
    import cv2

    # Of 256 values each product is computed once: looking them up is faster than converting and multiplying.
    products = np.arange(256, dtype=np.float32) * np.float32(scale)
    shape = letterboxed[0].shape
    if any(picture.shape != shape for picture in letterboxed):
        raise ValueError(f"pictures of shapes {sorted({picture.shape for picture in letterboxed})}, expected one")
    positions = CHANNEL_POSITIONS[channel_order]
    wanted = (len(letterboxed), 3, *shape[:2])
    if into is not None and into.shape == wanted:
        batch = into
    elif channels_last:
        batch = np.empty((len(letterboxed), *shape), np.float32).transpose(0, 3, 1, 2)
    else:
        batch = np.empty(wanted, np.float32)
    for picture, planes in zip(letterboxed, batch, strict=True):
        if channels_last:
            pixels = picture if channel_order == "rgb" else picture[..., positions]
            cv2.LUT(pixels, products, planes.transpose(1, 2, 0))
            continue
        for channel, position in zip(cv2.split(picture), positions, strict=True):
            cv2.LUT(channel, products, planes[position])
    return batch
