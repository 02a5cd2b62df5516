"""One synthetic picture: objects placed one over another, painted, and the mask of what is left to see of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.synthetic_shapes import SHAPES, Coverage, coverage, rotated
from edgeseg.data.synthetic_textures import Canvas, background, photographed, shading, surface
from edgeseg.instances import CroppedMask

SIZE_PARTS = (0.12, 0.6)
"""Smallest and largest diameter of an object as a part of the picture's side; smaller ones are more frequent."""

VISIBLE_PART = 0.4
"""Least part of an object that must be seen, of all its pixels also beyond the picture's edge."""

BEYOND_EDGE = 0.35
"""Most of an object's radius that may lie beyond the picture's edge on each side."""

TRIES = 20
"""Places that are tried for an object before the picture goes without it."""

MIN_CONTRAST = 75.0
"""Least distance in RGB, 0..441, between an object's mean colour and that of what it covers."""

SHADOW_SHARE = 0.4
"""How many of the objects cast a shadow."""


@dataclass(frozen=True)
class Scene:
    """A picture and what is in it.

    Attributes:
        picture: (size, size, 3) uint8 RGB.
        class_ids: of each object, from the bottom up.
        masks: of each object the pixels that no object above it covers; no two share a pixel.
    """

    picture: NDArray[np.uint8]
    class_ids: tuple[int, ...]
    masks: tuple[CroppedMask, ...]


@dataclass(frozen=True)
class _Object:
    """An object in its place: `share` is cut to the picture, `pixels` counts also what was cut off."""

    class_id: int
    share: NDArray[np.float32]
    window: tuple[slice, slice]
    pixels: int


def draw_scene(rng: np.random.Generator, size: int, classes: tuple[str, ...], max_objects: int) -> Scene:
    """A picture of 1 to `max_objects` objects.

    Args:
        rng: all that is random comes from it.
        size: side of the picture, px.
        classes: names in `SHAPES`; the class ids are their places here.
        max_objects: at most 254, since the owner of each pixel is kept in a byte.
    """
    objects, owner = _place(rng, size, classes, max_objects)
    canvas = background(rng, size)
    for thing in objects:
        _paint(rng, canvas, thing)
    masks = tuple(_cropped(owner == number) for number in range(1, len(objects) + 1))
    return Scene(photographed(rng, canvas), tuple(thing.class_id for thing in objects), masks)


def _place(
    rng: np.random.Generator, size: int, classes: tuple[str, ...], max_objects: int
) -> tuple[list[_Object], NDArray[np.uint8]]:
    """Objects from the bottom up, and the number, from 1, of the object that each pixel shows; 0 for none.

    A place where an object would hide too much of another is refused, and not the hidden object: then nothing
    can be seen that has no annotation.
    """
    objects: list[_Object] = []
    owner = np.zeros((size, size), np.uint8)
    for _ in range(int(rng.integers(1, max_objects + 1))):
        for _ in range(TRIES):
            thing = _object(rng, size, classes)
            covered = owner.copy()
            covered[thing.window][thing.share >= 0.5] = len(objects) + 1
            seen = np.bincount(covered.ravel(), minlength=len(objects) + 2)[1:]
            if all(count >= VISIBLE_PART * one.pixels for count, one in zip(seen, [*objects, thing], strict=True)):
                objects.append(thing)
                owner = covered
                break
    return objects, owner


def _object(rng: np.random.Generator, size: int, classes: tuple[str, ...]) -> _Object:
    class_id = int(rng.integers(len(classes)))
    outline = rotated(SHAPES[classes[class_id]](rng), rng.uniform(0, 2 * np.pi))
    radius = size / 2 * float(np.exp(rng.uniform(*np.log(SIZE_PARTS))))
    margin = radius * (1 - BEYOND_EDGE)
    x, y = rng.uniform(margin, size - margin, 2).tolist()
    return _cut(class_id, coverage(outline, (x, y), radius), size)


def _cut(class_id: int, whole: Coverage, size: int) -> _Object:
    height, width = whole.share.shape
    rows = slice(max(whole.top, 0), min(whole.top + height, size))
    columns = slice(max(whole.left, 0), min(whole.left + width, size))
    share = whole.share[
        rows.start - whole.top : rows.stop - whole.top, columns.start - whole.left : columns.stop - whole.left
    ]
    return _Object(class_id, share, (rows, columns), int(np.count_nonzero(whole.share >= 0.5)))


def _paint(rng: np.random.Generator, canvas: Canvas, thing: _Object) -> None:
    if rng.random() < SHADOW_SHARE:
        _cast_shadow(rng, canvas, thing)
    place = canvas[thing.window]
    inside = thing.share >= 0.5
    height, width = thing.share.shape
    under = place[inside].mean(axis=0)
    for _ in range(TRIES):
        paint = surface(rng, height, width) * shading(rng, height, width)[..., None]
        if np.linalg.norm(paint[inside].mean(axis=0) - under) >= MIN_CONTRAST:
            break
    place += (paint - place) * thing.share[..., None]


def _cast_shadow(rng: np.random.Generator, canvas: Canvas, thing: _Object) -> None:
    """Darken what lies around the object, softly and to one side."""
    import cv2

    size = canvas.shape[0]
    solid = np.zeros((size, size), np.float32)
    solid[thing.window] = thing.share
    x, y = rng.uniform(-0.03, 0.03, 2) * size
    shifted = cv2.warpAffine(solid, np.array([[1, 0, x], [0, 1, y]]), (size, size))
    soft = cv2.GaussianBlur(shifted, (0, 0), 0.015 * size)
    canvas *= (1 - np.float32(rng.uniform(0.2, 0.5)) * soft)[..., None]


def _cropped(mask: NDArray[np.bool_]) -> CroppedMask:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    return CroppedMask(mask[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1].copy(), top, left)
