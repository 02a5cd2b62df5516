"""Worst instances as pictures: reference, artifact, and where their masks differ, side by side."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeseg.instances import Instances
from edgeseg.verify import WorstInstance

Picture = NDArray[np.uint8]
Channel = TypeVar("Channel", np.uint8, np.float32)

MARGIN = 0.25
"""Context around the instance, as a share of its longer side."""

MIN_SIDE_PX = 160
MAX_SIDE_PX = 320
"""A panel is scaled up or down to a longer side in this range."""

GAP_PX = 4
GAP_GREY = 128
"""Neither the page's light nor its dark background."""

TINT = np.array([0, 158, 115], np.float32)
ONLY_REFERENCE = np.array([230, 159, 0], np.uint8)
ONLY_ARTIFACT = np.array([204, 121, 167], np.uint8)
"""Bluish green, orange and reddish purple of Okabe and Ito's colour-blind safe palette."""


def comparison(worst: WorstInstance) -> Picture:
    """Three panels: the reference's mask, the artifact's, and their difference.

    Returns:
        (h, 3 w + 2 gaps, 3) uint8 RGB; the third panel is grey, darker where both masks are; pixels of one mask
        only are orange (reference) or purple (artifact), and each of them shows however small the panel is.
    """
    rows, columns = _window(worst)
    crop = worst.picture[rows, columns]
    masks = [_mask(side, worst.picture.shape[:2])[rows, columns] for side in (worst.reference, worst.found)]
    panels = [_scaled(_tinted(crop, mask)) for mask in masks] + [_difference(crop, *masks)]
    gap = np.full((panels[0].shape[0], GAP_PX, 3), GAP_GREY, np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1)


def _window(worst: WorstInstance) -> tuple[slice, slice]:
    boxes = np.concatenate([worst.reference.xyxy, worst.found.xyxy])
    x1, y1 = boxes[:, :2].min(axis=0)
    x2, y2 = boxes[:, 2:].max(axis=0)
    margin = MARGIN * max(x2 - x1, y2 - y1) + 4
    height, width = worst.picture.shape[:2]
    return (
        slice(max(int(y1 - margin), 0), min(int(y2 + margin) + 1, height)),
        slice(max(int(x1 - margin), 0), min(int(x2 + margin) + 1, width)),
    )


def _mask(side: Instances, size: tuple[int, ...]) -> NDArray[np.bool_]:
    return side.full_masks()[0] if len(side) else np.zeros(size[:2], bool)


def _tinted(crop: Picture, mask: NDArray[np.bool_]) -> Picture:
    panel = crop.copy()
    panel[mask] = (0.5 * crop[mask] + 0.5 * TINT).astype(np.uint8)
    return panel


def _difference(crop: Picture, reference: NDArray[np.bool_], found: NDArray[np.bool_]) -> Picture:
    grey = (0.35 * crop.mean(axis=2, keepdims=True) + 140).clip(0, 255).astype(np.uint8)
    panel = np.repeat(grey, 3, axis=2)
    panel[reference & found] = (0.6 * panel[reference & found]).astype(np.uint8)
    scaled = _scaled(panel)
    for side, colour in ((reference & ~found, ONLY_REFERENCE), (found & ~reference, ONLY_ARTIFACT)):
        # Painted after scaling: averaged with its neighbours, a single wrong pixel would fade.
        scaled[_scaled(side.astype(np.float32)) > 0] = colour
    return scaled


def _scaled(panel: NDArray[Channel]) -> NDArray[Channel]:
    """A panel (h, w, 3) or a map (h, w) at the size that it is shown in."""
    import cv2

    longer = max(panel.shape[:2])
    factor = min(max(longer, MIN_SIDE_PX), MAX_SIDE_PX) / longer
    size = (max(1, round(panel.shape[1] * factor)), max(1, round(panel.shape[0] * factor)))
    # Nearest when enlarging: single wrong pixels must stay visible as such.
    interpolation = cv2.INTER_NEAREST if factor > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(panel, size, interpolation=interpolation), panel.dtype)
