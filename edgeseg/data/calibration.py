"""Pictures that set the ranges of quantised tensors, through the one letterbox of training and prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeseg.data.letterbox import letterbox, to_input
from edgeseg.data.picture import read_picture
from edgeseg.errors import UsageError
from edgeseg.tensors import Array

LEAST_PICTURES = 16
"""Fewer leave ranges to chance."""

DEFAULT_PICTURES = 256
DEFAULT_SEED = 0
"""Of a draw that nobody asked otherwise; those of a card's `data.calibration`."""


def require_pictures(pictures: Sequence[Path], what: str) -> None:
    """Refuse to set ranges on too few pictures.

    Args:
        pictures: that were given.
        what: is to be quantised, for the message.

    Raises:
        UsageError: there are none, or too few.
    """
    if len(pictures) < LEAST_PICTURES:
        raise UsageError(
            f"{what} needs calibration pictures, at least {LEAST_PICTURES}: there are {len(pictures)}",
            hint="name a data set or a folder of pictures: data.calibration.from in a card, --calibration DATA without",
        )


def calibration_inputs(pictures: Sequence[Path], image_size: tuple[int, int]) -> Iterator[Array]:
    """The network's input for each picture, one at a time.

    Args:
        pictures: files.
        image_size: (height, width) in pixels.

    Yields:
        (1, 3, height, width) float32 RGB, 0..1.

    Raises:
        SourceError: a picture cannot be read.
    """
    for path in pictures:
        yield to_input([letterbox(read_picture(path), image_size)[0]])
