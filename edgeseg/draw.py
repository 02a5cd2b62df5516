"""Instances drawn on a picture: masks, boxes and labels, sized to the picture.

Everything is blended inside the crops of the masks, so memory beyond the result is one crop at a time.
Class names may hold any script that OpenCV 5's own fonts have; OpenCV 4 has ASCII only. Either shows a
character that it lacks as a question mark.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeseg.errors import ContractError
from edgeseg.instances import CroppedMask, Instances

Picture = NDArray[np.uint8]
Color = tuple[int, int, int]

CLASS_COLORS: tuple[Color, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Sky blue, orange, bluish green, yellow, blue, vermilion and reddish purple of the set that colour-blind
readers can tell apart (Okabe and Ito 2008, https://jfly.uni-koeln.de/color/), without its black. Sky blue
comes first, for the many data sets whose first class is a person: it is far from skin."""

GOLDEN_ANGLE = 0.618034
"""Part of the colour circle between two classes after the table: any run of them is spread evenly."""
TONES = ((0.75, 0.95), (0.95, 0.65), (0.45, 1.0))
"""Saturation and value of these further classes, in turn."""

LINE_PART = 0.003
"""Width of a line as a part of the picture's mean side: 2 px at 640 x 640, 15 px at 6000 x 4000."""
LETTERS_PART = 0.019
"""Height of a label's capitals as a part of the picture's mean side: 12 px at 640 x 640."""
MIN_LETTERS_PX = 7
STROKE_PART = 1 / 8
"""Width of a letter's stroke as a part of its height."""
FONT = cv2.FONT_HERSHEY_SIMPLEX
FONT_CAPITALS_PX = 22.0
"""Height of this font's capitals at scale 1."""

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
OUTLINE_WHITE = 0.5
"""Part of white in a mask's outline, so that it shows on another mask of the same class."""
EQUAL_CONTRAST_LUMINANCE = 0.179
"""Black and white stand out alike on this: (L + 0.05)^2 = 1.05 x 0.05, contrast as in WCAG 2.1."""


@dataclass(frozen=True)
class Rectangle:
    """Pixels `left` to `right` and `top` to `bottom`, the latter of each not included."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        """Its pixels."""
        return (self.right - self.left) * (self.bottom - self.top)

    @property
    def window(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def overlaps(self, other: Rectangle) -> bool:
        """Whether the two share a pixel."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def class_color(class_id: int) -> Color:
    """RGB of a class, 0..255 each: the same for the same id always, distinct for at least the first 200."""
    if class_id < len(CLASS_COLORS):
        return CLASS_COLORS[class_id]
    saturation, value = TONES[class_id % len(TONES)]
    red, green, blue = colorsys.hsv_to_rgb(class_id * GOLDEN_ANGLE % 1, saturation, value)
    return (round(red * 255), round(green * 255), round(blue * 255))


def draw_instances(
    picture: Picture,
    instances: Instances,
    *,
    boxes: bool = True,
    masks: bool = True,
    labels: bool | Literal["names"] = True,
    opacity: float = 0.45,
) -> Picture:
    """A copy of the picture with the instances on it, smaller ones above larger ones, labels above all.

    Args:
        picture: (H, W, 3) uint8 RGB, of the instances' `image_size`.
        instances: what to draw; where they have no masks, none are drawn.
        boxes: draw each box, its line inside the box.
        masks: draw each mask: tinted, with an opaque outline inside it.
        labels: draw class name and score at each box; ``names`` leaves out the scores, which annotations have not.
        opacity: of the tint, 0..1.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ContractError: the picture is not as stated or not of the instances' size, or the opacity is outside 0..1.
    """
    if picture.shape != (*instances.image_size, 3) or picture.dtype != np.uint8:
        raise ContractError(
            f"picture to draw on: shape {picture.shape}, dtype {picture.dtype}, "
            f"expected {(*instances.image_size, 3)} uint8"
        )
    if not 0 <= opacity <= 1:
        raise ContractError(f"opacity: {opacity}, expected 0..1")
    canvas = np.array(picture, order="C")
    line = max(1, round(sum(instances.image_size) / 2 * LINE_PART))
    colors = [class_color(class_id) for class_id in instances.class_ids.tolist()]
    rectangles = [_pixels(xyxy, instances.image_size) for xyxy in instances.xyxy]
    sizes = [rectangle.area for rectangle in rectangles]
    for index in sorted(range(len(instances)), key=lambda index: -sizes[index]):
        if masks and instances.masks is not None:
            _draw_mask(canvas, instances.masks[index], colors[index], opacity, line)
        if boxes:
            _draw_box(canvas, rectangles[index], colors[index], line)
    if labels:
        taken: list[Rectangle] = []
        for index in np.argsort(-instances.scores, kind="stable").tolist():
            text = instances.names[int(instances.class_ids[index])]
            if labels != "names":
                text += f" {instances.scores[index]:.2f}"
            patch = _label(text, colors[index], instances.image_size)
            place = _place(patch.shape[:2], rectangles[index], instances.image_size, taken)
            canvas[place.window] = patch
            taken.append(place)
    return canvas


def _pixels(xyxy: NDArray[np.float32], image_size: tuple[int, int]) -> Rectangle:
    """The box in whole pixels, at least one of them, inside the picture."""
    height, width = image_size
    x1, y1, x2, y2 = (round(float(value)) for value in xyxy)
    left, top = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
    return Rectangle(left, top, max(min(x2, width), left + 1), max(min(y2, height), top + 1))


def _draw_mask(canvas: Picture, mask: CroppedMask, color: Color, opacity: float, line: int) -> None:
    if not mask.bitmap.size:
        return
    region = canvas[mask.window]
    inside = mask.bitmap.view(np.uint8)
    levels = np.arange(256)[:, None] * (1 - opacity) + np.array(color) * opacity
    tinted = cv2.LUT(region, np.rint(levels).astype(np.uint8)[None])
    cv2.copyTo(tinted, inside, region)
    size = 2 * line + 1
    core = cv2.erode(inside, np.ones((size, size), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    region[mask.bitmap & (core == 0)] = _mix(color, WHITE, OUTLINE_WHITE)


def _mix(color: Color, other: Color, part: float) -> Color:
    red, green, blue = (round(a * (1 - part) + b * part) for a, b in zip(color, other, strict=True))
    return (red, green, blue)


def _draw_box(canvas: Picture, box: Rectangle, color: Color, line: int) -> None:
    region = canvas[box.window]
    for strip in (region[:line], region[-line:], region[:, :line], region[:, -line:]):
        strip[:] = color


def _label(text: str, color: Color, image_size: tuple[int, int]) -> Picture:
    """A filled patch with the text on it, no larger than the picture: (h, w, 3) uint8 RGB."""
    height, width = image_size
    letters = max(MIN_LETTERS_PX, (height + width) / 2 * LETTERS_PART)
    patch = _typeset(text, letters, color)
    fit = min(height / patch.shape[0], width / patch.shape[1])
    return patch if fit >= 1 else _typeset(text, letters * fit, color)[:height, :width]


def _typeset(text: str, letters: float, color: Color) -> Picture:
    """The text in letters of about that height in px, with a margin."""
    if int(cv2.__version__.split(".")[0]) < 5:
        text = text.encode("ascii", "replace").decode()  # one question mark a character, not one a byte
    scale = letters / FONT_CAPITALS_PX
    thickness = max(1, round(letters * STROKE_PART))
    margin = max(1, round(letters / 4))
    (width, ascent), descent = cv2.getTextSize(text, FONT, scale, thickness)
    patch: Picture = np.full((ascent + descent + 2 * margin, width + 2 * margin, 3), color, np.uint8)
    ink = BLACK if _luminance(color) > EQUAL_CONTRAST_LUMINANCE else WHITE
    cv2.putText(patch, text, (margin, margin + ascent), FONT, scale, ink, thickness, cv2.LINE_AA)
    return patch


def _place(size: tuple[int, int], box: Rectangle, image_size: tuple[int, int], taken: list[Rectangle]) -> Rectangle:
    """Where a label of (height, width) goes: the first place inside the picture that is clear of `taken`.

    In turn: on top of the box, inside it from the top down, under it. Where none is clear, the first that is
    inside the picture.
    """
    (height, width), (rows, columns) = size, image_size
    left = min(box.left, columns - width)
    places = [
        Rectangle(left, top, left + width, top + height)
        for top in (box.top - height, *range(box.top, box.bottom - height, height), box.top, box.bottom)
        if 0 <= top <= rows - height
    ] or [Rectangle(left, 0, left + width, height)]
    return next((place for place in places if not any(place.overlaps(other) for other in taken)), places[0])


def _luminance(color: Color) -> float:
    """Relative luminance, 0..1 (WCAG 2.1, https://www.w3.org/TR/WCAG21/#dfn-relative-luminance)."""
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in np.array(color) / 255]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
