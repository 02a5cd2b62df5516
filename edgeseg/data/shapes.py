"""Rectangles, circles and ellipses of annotation tools as rings of points."""

from __future__ import annotations

from math import acos, ceil, pi

import numpy as np

from edgeseg.data.rasterise import Floats

MAX_DEVIATION_PX = 0.05
"""How far a chord may be inside its arc: a quarter of the grid that polygons are rasterised on."""


def rectangle(x1: float, y1: float, x2: float, y2: float) -> Floats:
    """The four corners, (4, 2) x, y, of the rectangle between two opposite ones."""
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float64)


def ellipse(centre: tuple[float, float], radii: tuple[float, float], angle_rad: float = 0.0) -> Floats:
    """An ellipse as a ring, (K, 2) x, y, of at least 12 points, as many as its size needs.

    Args:
        centre: x, y, px.
        radii: along its own two axes, px.
        angle_rad: how far the first axis is turned from x towards y, radians.
    """
    largest = max(*radii, MAX_DEVIATION_PX)
    number = max(12, ceil(pi / acos(1 - MAX_DEVIATION_PX / largest))) if largest > MAX_DEVIATION_PX else 12
    turn = np.arange(number) * (2 * pi / number)
    x, y = radii[0] * np.cos(turn), radii[1] * np.sin(turn)
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.stack([centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos], axis=1)
