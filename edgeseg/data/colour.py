"""Random hue, saturation and brightness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeseg.card.train import Augmentation

_HUES = 180
"""Levels of the colour circle in OpenCV's 8-bit HSV."""


def jitter_colour(picture: NDArray[np.uint8], settings: Augmentation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture with its hue turned, and its saturation and brightness multiplied, each by a random amount.

    Args:
        picture: (H, W, 3) RGB.
        settings: ranges: the hue turns by up to `hsv_h` of the circle, the factors are 1 - range .. 1 + range.
        rng: what to draw with.

    Returns:
        (H, W, 3) RGB; `picture` itself where all ranges are 0.
    """
    import cv2

    ranges = np.array([settings.hsv_h, settings.hsv_s, settings.hsv_v])
    if not ranges.any():
        return picture
    turn, saturation, brightness = rng.uniform(-ranges, ranges)
    level = np.arange(256)
    table = np.stack(
        [
            np.rint(level + turn * _HUES) % _HUES,
            np.clip(np.rint(level * (1 + saturation)), 0, 255),
            np.clip(np.rint(level * (1 + brightness)), 0, 255),
        ],
        axis=-1,
    ).astype(np.uint8)
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    cv2.LUT(hsv, table[:, None], dst=hsv)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
