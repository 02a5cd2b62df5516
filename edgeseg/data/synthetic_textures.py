"""Surfaces of synthetic pictures: two colours mixed by a pattern, a cluttered background, the camera's flaws.

Colours are float32 RGB, 0..255. Objects and backgrounds draw from the same colours and patterns, and a background
is calmer than an object: the shape alone tells an object's class.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[np.float32]
"""(H, W, 3) float32 RGB, 0..255."""
Pattern = NDArray[np.float32]
"""(H, W) float32, 0..1: how much of the second colour."""

STRIPES_ACROSS = (3.0, 14.0)
"""Periods of stripes and checks along a surface's longer side."""

OBJECT_CONTRAST = (0.1, 0.3)
BACKGROUND_CONTRAST = (0.03, 0.15)
"""Range of the difference in brightness, 0..1, between the two colours of a surface. A background as strong as
its objects hides them from a small network for many more steps."""

CLUTTER_LINES, CLUTTER_SPOTS = 9, 24
"""Most lines and spots on a background."""

SPOT_PART = 0.02
"""Largest radius of a spot as a part of the picture's side: its diameter is a third of the smallest object's."""


def plain(rng: np.random.Generator, height: int, width: int) -> Pattern:
    """The first colour with a trace of the second."""
    return np.full((height, width), rng.uniform(0, 0.2), np.float32)


def noise(rng: np.random.Generator, height: int, width: int) -> Pattern:
    """Clouds: smooth noise of three scales, each half as strong as the coarser one."""
    import cv2

    cells = rng.uniform(2, 6)
    total = np.zeros((height, width), np.float32)
    for octave in range(3):
        count = round(cells * 2**octave)
        grid = rng.random((count + 2, count + 2), np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 0.5**octave
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - low) / max(high - low, 1e-6), np.float32)


def gradient(rng: np.random.Generator, height: int, width: int) -> Pattern:
    """From one colour to the other, across at any angle."""
    along = _along(rng.uniform(0, 2 * np.pi), height, width)
    return np.asarray((along + 1) / 2, np.float32)


def stripes(rng: np.random.Generator, height: int, width: int) -> Pattern:
    """Soft stripes at any angle."""
    return _soft_wave(_along(rng.uniform(0, np.pi), height, width), rng.uniform(*STRIPES_ACROSS))


def checks(rng: np.random.Generator, height: int, width: int) -> Pattern:
    """A soft chequerboard at any angle."""
    angle, periods = rng.uniform(0, np.pi / 2), rng.uniform(*STRIPES_ACROSS) / 2
    across = _soft_wave(_along(angle, height, width), periods)
    down = _soft_wave(_along(angle + np.pi / 2, height, width), periods)
    return across + down - 2 * across * down


PATTERNS: Mapping[str, Callable[[np.random.Generator, int, int], Pattern]] = {
    function.__name__: function for function in (plain, noise, gradient, stripes, checks)
}
"""Name to what draws a pattern of a height and width in px."""


def surface(
    rng: np.random.Generator, height: int, width: int, contrast: tuple[float, float] = OBJECT_CONTRAST
) -> Canvas:
    """A surface of a random pattern in two related colours, in brightness apart by an amount of that range."""
    names = list(PATTERNS)
    pattern = PATTERNS[names[int(rng.integers(len(names)))]](rng, height, width)[..., None]
    hue, saturation, value = rng.random(), rng.uniform(0.1, 0.9), rng.uniform(0.25, 0.95)
    first = _rgb(hue, saturation, value)
    # A change of brightness alone keeps the surface one thing to the eye; of hue makes it two at times.
    step = rng.uniform(*contrast) * (1 if value < 0.6 else -1)
    spread = contrast[1] / OBJECT_CONTRAST[1]
    second = _rgb(hue + rng.normal(0, 0.06) * spread, saturation + rng.normal(0, 0.15) * spread, value + step)
    mixed: Canvas = first + (second - first) * pattern
    return mixed


def background(rng: np.random.Generator, size: int) -> Canvas:
    """A square surface with lines and spots on it, all too small or too thin for an object."""
    import cv2

    canvas = np.ascontiguousarray(surface(rng, size, size, BACKGROUND_CONTRAST))
    if rng.random() < 0.5:
        blend = noise(rng, size, size)[..., None]
        canvas += (surface(rng, size, size, BACKGROUND_CONTRAST) - canvas) * blend * np.float32(rng.uniform(0.4, 1))
    for _ in range(int(rng.integers(CLUTTER_LINES + 1))):
        start, end = (tuple(rng.integers(0, size, 2).tolist()) for _ in range(2))
        width = int(rng.integers(1, max(2, size // 100) + 1))
        cv2.line(canvas, start, end, _shade(rng, canvas), width, cv2.LINE_8)
    for _ in range(int(rng.integers(CLUTTER_SPOTS + 1))):
        centre = tuple(rng.integers(0, size, 2).tolist())
        cv2.circle(canvas, centre, int(rng.integers(1, max(1, int(SPOT_PART * size)) + 1)), _shade(rng, canvas), -1)
    return canvas


def photographed(rng: np.random.Generator, canvas: Canvas) -> NDArray[np.uint8]:
    """The scene as a picture: uneven light, a lens slightly out of focus, sensor noise.

    The blur is below a pixel, so that an object's mask stays true to its edge.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    import cv2

    height, width = canvas.shape[:2]
    light = 1 + rng.uniform(0, 0.3) * _along(rng.uniform(0, 2 * np.pi), height, width)
    lit = canvas * (light * np.float32(rng.uniform(0.8, 1.15)))[..., None]
    blurred = cv2.GaussianBlur(lit, (0, 0), rng.uniform(0.2, 0.9))
    noisy = blurred + rng.standard_normal(canvas.shape, np.float32) * np.float32(rng.uniform(0, 9))
    return np.asarray(noisy.clip(0, 255).round(), np.uint8)


def shading(rng: np.random.Generator, height: int, width: int) -> Pattern:
    """A factor on brightness, 0.75..1.25, that falls off across an object."""
    return 1 + np.float32(rng.uniform(0, 0.25)) * _along(rng.uniform(0, 2 * np.pi), height, width)


def _along(angle: float, height: int, width: int) -> Pattern:
    """Where each pixel lies along a direction: -1 at the first corner reached, 1 at the last."""
    x = np.linspace(-1, 1, width, dtype=np.float32)[None] * np.float32(np.cos(angle) * width)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(np.sin(angle) * height)
    reach = abs(np.cos(angle)) * width + abs(np.sin(angle)) * height
    return np.asarray((x + y) / np.float32(reach), np.float32)


def _soft_wave(along: Pattern, periods: float) -> Pattern:
    return np.asarray(1 / (1 + np.exp(-6 * np.sin(along * np.float32(periods * np.pi)))), np.float32)


def _shade(rng: np.random.Generator, canvas: Canvas) -> tuple[float, ...]:
    """A colour near that of some place of the canvas."""
    row, column = rng.integers(0, canvas.shape[0]), rng.integers(0, canvas.shape[1])
    return tuple((canvas[row, column] + rng.normal(0, 45, 3)).clip(0, 255).tolist())


def _rgb(hue: float, saturation: float, value: float) -> NDArray[np.float32]:
    rgb = colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return np.array(rgb, np.float32) * 255
