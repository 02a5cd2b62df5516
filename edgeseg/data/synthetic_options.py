"""What a synthetic data set shall hold, checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeseg.errors import UsageError, did_you_mean

DEFAULT_CLASSES = ("circle", "triangle", "square", "star", "ring")
"""Told apart by shape alone; the ring has a hole."""

PARTS = ("train", "val")

FORMATS = ("coco", "yolo-seg")

PICTURE_FORMATS: Mapping[str, tuple[int, ...]] = {"jpg": (1, 92), "png": (16, 3)}
"""Suffix to OpenCV's encoder flags: JPEG quality (IMWRITE_JPEG_QUALITY) 92 of 100, PNG level 3 of 9."""

SIZE_LIMITS_PX = (64, 4096)
"""Below 64 px the smallest objects are a handful of pixels."""

MAX_OBJECTS = 100


@dataclass(frozen=True)
class SyntheticOptions:
    """What to draw.

    Attributes:
        images: pictures to train on.
        val: pictures to validate on.
        size: side of the square pictures, px.
        classes: names of `edgeseg.data.synthetic_shapes.SHAPES`, in the order of their class ids.
        seed: another one gives other pictures.
        max_objects: most objects in a picture, each of which has at least one.
        format: ``coco`` or ``yolo-seg``.
        pictures: ``jpg`` or ``png``.

    Raises:
        UsageError: a value that cannot be; the hint says which can.
    """

    images: int = 200
    val: int = 50
    size: int = 320
    classes: tuple[str, ...] = DEFAULT_CLASSES
    seed: int = 0
    max_objects: int = 6
    format: str = "coco"
    pictures: str = "jpg"

    def __post_init__(self) -> None:
        from edgeseg.data.synthetic_shapes import SHAPES

        limits = {
            "images": (1, 1_000_000),
            "val": (0, 1_000_000),
            "size": SIZE_LIMITS_PX,
            "seed": (0, 2**63 - 1),
            "max_objects": (1, MAX_OBJECTS),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"synthetic data set: {name} is {value}, expected {low}..{high}")
        for name, known in (("format", FORMATS), ("pictures", PICTURE_FORMATS)):
            if getattr(self, name) not in known:
                word = getattr(self, name)
                raise UsageError(f"synthetic data set: unknown {name} {word!r}", hint=did_you_mean(word, known))
        for word in self.classes:
            if word not in SHAPES:
                raise UsageError(f"synthetic data set: no shape {word!r}", hint=did_you_mean(word, SHAPES))
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise UsageError(f"synthetic data set: classes {self.classes}, expected at least one, each once")
