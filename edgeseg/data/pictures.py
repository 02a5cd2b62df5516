"""The pictures of a data set or a folder, without annotations: for verification and calibration."""

from __future__ import annotations

import random
from pathlib import Path

from edgeseg.data.open import open_dataset
from edgeseg.data.picture import PICTURE_SUFFIXES
from edgeseg.errors import SourceError


def pictures_of(source: Path, images: Path | None = None) -> list[Path]:
    """Paths of the pictures of a folder, sorted, or of a data set, in its order.

    Args:
        source: a folder of pictures, a COCO json, or a YOLO-seg yaml (its `val` split).
        images: folder of a COCO set's pictures, where they are not beside it.

    Raises:
        SourceError: the set cannot be read, or has no pictures.
        UsageError: `images` with a folder or a yaml, which say themselves where the pictures are.
    """
    if source.is_dir() and images is None:
        found = sorted(path for path in source.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    else:
        found = [sample.path for sample in open_dataset(source, images=images)]
    if not found:
        raise SourceError(
            f"{source}: no pictures in it", hint="expected files that end in " + ", ".join(PICTURE_SUFFIXES)
        )
    return found


def drawn(pictures: list[Path], count: int, seed: int) -> list[Path]:
    """At most `count` pictures, the same ones for the same seed, in the set's order."""
    if len(pictures) <= count:
        return pictures
    chosen = sorted(random.Random(seed).sample(range(len(pictures)), count))
    return [pictures[index] for index in chosen]
