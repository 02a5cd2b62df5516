"""The outlines of synthetic objects, and how much of each pixel an outline covers.

An outline is a list of rings, (K, 2) float64 x, y, inside the circle of radius 1 around the origin; a point is
inside where an odd number of rings goes around it, so that a second ring inside the first is a hole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.float64]
Outline = list[Ring]

CURVE_POINTS = 128
"""Points of a closed curve: within 0.03 % of its radius, below 0.05 px on the largest objects of a 640 px picture."""

SUPERSAMPLING = 4
"""Sub-pixels along each side of a pixel when its coverage is counted: 17 levels of edge."""


@dataclass(frozen=True)
class Coverage:
    """How much of each pixel an object covers, before anything hides it.

    Attributes:
        share: (h, w) float32, 0..1, of a window that may reach out of the picture.
        top: row of the window's first row in the picture, px; may be negative.
        left: column of the window's first column, px; may be negative.
    """

    share: NDArray[np.float32]
    top: int
    left: int


def circle(rng: np.random.Generator) -> Outline:
    """A round disc."""
    return [_curve(np.ones(CURVE_POINTS))]


def ellipse(rng: np.random.Generator) -> Outline:
    """A disc whose shorter axis is 40 to 65 % of the longer one: not to be taken for a circle."""
    return [_curve(np.ones(CURVE_POINTS)) * [1, rng.uniform(0.4, 0.65)]]


def triangle(rng: np.random.Generator) -> Outline:
    """Three corners, up to 15 degrees from even spacing."""
    return [_on_circle(np.arange(3) * (2 * np.pi / 3) + rng.uniform(-np.pi / 12, np.pi / 12, 3))]


def square(rng: np.random.Generator) -> Outline:
    """Four equal sides."""
    return [_on_circle(np.arange(4) * (np.pi / 2))]


def star(rng: np.random.Generator) -> Outline:
    """Five points, the notches 38 % (a pentagram's) to 52 % of the way out."""
    return [_on_circle(np.arange(10) * (np.pi / 5)) * np.where(np.arange(10) % 2, rng.uniform(0.38, 0.52), 1)[:, None]]


def ring(rng: np.random.Generator) -> Outline:
    """A disc with a round hole of 45 to 65 % of its diameter."""
    disc = _curve(np.ones(CURVE_POINTS))
    return [disc, disc * rng.uniform(0.45, 0.65)]


def crescent(rng: np.random.Generator) -> Outline:
    """A disc less another one of 80 to 95 % of its size that lies to its right."""
    radius, distance = rng.uniform(0.8, 0.95), rng.uniform(0.45, 0.6)
    horn = np.arccos((1 + distance**2 - radius**2) / (2 * distance))
    inner_horn = np.arctan2(np.sin(horn), np.cos(horn) - distance)
    outer = _on_circle(np.linspace(horn, 2 * np.pi - horn, CURVE_POINTS))
    inner = _on_circle(np.linspace(2 * np.pi - inner_horn, inner_horn, CURVE_POINTS)) * radius + [distance, 0]
    return [np.concatenate([outer, inner[1:-1]])]


def blob(rng: np.random.Generator) -> Outline:
    """A smooth closed curve with two to four unequal lobes."""
    angles = _angles()
    radius = np.ones(CURVE_POINTS)
    for lobes in (2, 3, 4):
        radius += rng.uniform(0.08, 0.2) * np.cos(lobes * angles + rng.uniform(0, 2 * np.pi))
    return [_curve(radius / radius.max())]


SHAPES: Mapping[str, Callable[[np.random.Generator], Outline]] = {
    function.__name__: function for function in (circle, ellipse, triangle, square, star, ring, crescent, blob)
}
"""Class name to what draws an outline of it."""


def rotated(outline: Outline, angle: float) -> Outline:
    """The outline turned by `angle` in radians."""
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return [points @ turn for points in outline]


def coverage(outline: Outline, centre: tuple[float, float], radius: float) -> Coverage:
    """How much of each pixel the outline covers when it is enlarged to `radius` px around `centre` x, y px."""
    import cv2

    placed = [points * radius + centre for points in outline]
    low = np.floor(np.concatenate(placed).min(axis=0)).astype(int) - 1
    high = np.ceil(np.concatenate(placed).max(axis=0)).astype(int) + 1
    width, height = (high - low).tolist()
    fine = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), np.float32)
    # Half a sub-pixel off: OpenCV's integer coordinates name the centres of pixels.
    corners = [np.round((points - low) * SUPERSAMPLING - 0.5).astype(np.int32) for points in placed]
    cv2.fillPoly(fine, corners, 1)
    blocks = fine.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING)
    return Coverage(blocks.mean(axis=(1, 3), dtype=np.float32), int(low[1]), int(low[0]))


def _angles() -> NDArray[np.float64]:
    return np.linspace(0, 2 * np.pi, CURVE_POINTS, endpoint=False)


def _on_circle(angles: NDArray[np.floating[Any]]) -> Ring:
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _curve(radius: NDArray[np.float64]) -> Ring:
    return _on_circle(_angles()) * radius[:, None]
