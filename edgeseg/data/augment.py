"""Training pictures: mosaic, one warp, copy-paste, mixup, colour; each picture is resampled once.

The numbers are those of the card's `augmentation` section.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgeseg.card.train import Augmentation
from edgeseg.data.clip import clip, is_kept
from edgeseg.data.colour import jitter_colour
from edgeseg.data.copy_paste import paste
from edgeseg.data.labelled import Labelled
from edgeseg.data.letterbox import geometry
from edgeseg.data.mosaic import mosaic
from edgeseg.data.rasterise import Floats
from edgeseg.data.warp import random_warp, scaling, seen, shift, warp_objects, warp_picture

_MIXUP_BETA = 32.0
"""Both parameters of the beta distribution of the share of the first picture: near a half (the published recipe)."""


@dataclass(frozen=True)
class _Turn:
    """What one training picture is made from."""

    load: Callable[[int], Labelled]
    count: int
    size: tuple[int, int]
    rng: np.random.Generator

    def other(self) -> int:
        return int(self.rng.integers(self.count))


class Augmenter:
    """Makes training pictures.

    Args:
        settings: probabilities and ranges.
        pad_value: grey level of what no picture covers.
    """

    def __init__(self, settings: Augmentation, pad_value: int = 114) -> None:
        self._settings = settings
        self._pad_value = pad_value

    def __call__(
        self,
        load: Callable[[int], Labelled],
        index: int,
        count: int,
        size: tuple[int, int],
        rng: np.random.Generator,
        mosaic: bool,
    ) -> Labelled:
        """One training picture, all of it decided by `rng`.

        Objects that hardly can be seen are dropped, as `edgeseg.data.clip.is_kept` says; the others are clipped to
        the picture.

        Args:
            load: gives picture number i without padding; one whose long side fits `size` is not resized by a letterbox.
            index: the picture to begin with.
            count: how many there are to draw others from.
            size: (height, width) of the result, px.
            rng: what to draw with.
            mosaic: whether mosaics are allowed.
        """
        turn = _Turn(load, count, size, rng)
        settings = self._settings
        result = self._warped(turn, index, mosaic)
        if rng.random() < settings.copy_paste:
            result = paste(result, self._warped(turn, turn.other(), mosaic=False))
        if rng.random() < settings.mixup:
            result = _mixed(result, self._warped(turn, turn.other(), mosaic), rng)
        return Labelled(jitter_colour(result.picture, settings, rng), result.class_ids, result.objects)

    def _warped(self, turn: _Turn, index: int, mosaic: bool) -> Labelled:
        """A picture or a mosaic, warped to the size that is wanted."""
        if mosaic and turn.rng.random() < self._settings.mosaic:
            canvas, shares, matrix = self._mosaic(turn, index)
        else:
            canvas, shares, matrix = self._letterboxed(turn, index)
        picture = warp_picture(canvas.picture, matrix, turn.size, self._pad_value)
        # The parts of what was cut off wholly are none, and cannot be warped.
        there = [at for at, parts in enumerate(canvas.objects) if parts]
        height, width = turn.size
        objects, left = clip(warp_objects([canvas.objects[at] for at in there], matrix), (0, 0, width, height))
        kept = np.flatnonzero(is_kept(objects, shares[there] * left))
        class_ids = canvas.class_ids[there][kept]
        return Labelled(picture, class_ids, tuple(objects[at] for at in kept))

    def _mosaic(self, turn: _Turn, index: int) -> tuple[Labelled, Floats, Floats]:
        pictures = [turn.load(at) for at in (index, turn.other(), turn.other(), turn.other())]
        height, width = turn.size
        # Pictures that were cached for another size are scaled in the warp too.
        ratio = min(height / pictures[0].picture.shape[0], width / pictures[0].picture.shape[1])
        canvas = (round(2 * height / ratio), round(2 * width / ratio))
        fit = scaling(2 * width / canvas[1], 2 * height / canvas[0])
        matrix = random_warp(self._settings, (2 * height, 2 * width), turn.size, turn.rng) @ fit
        view = seen(matrix, canvas, turn.size)
        labelled, shares = mosaic(pictures, canvas, view, turn.rng, self._pad_value)
        return labelled, shares, matrix @ shift(*view[:2])

    def _letterboxed(self, turn: _Turn, index: int) -> tuple[Labelled, Floats, Floats]:
        labelled = turn.load(index)
        height, width = labelled.picture.shape[:2]
        place = geometry((height, width), turn.size)
        scale_y, scale_x = place.scale_yx
        fit = shift(place.left, place.top) @ scaling(scale_x, scale_y)
        objects, shares = clip(labelled.objects, (0, 0, width, height))
        canvas = Labelled(labelled.picture, labelled.class_ids, tuple(objects))
        return canvas, shares, random_warp(self._settings, turn.size, turn.size, turn.rng) @ fit


def _mixed(first: Labelled, second: Labelled, rng: np.random.Generator) -> Labelled:
    """Two pictures blended; the objects of both, which then are seen through each other."""
    import cv2

    share = float(rng.beta(_MIXUP_BETA, _MIXUP_BETA))
    picture = cv2.addWeighted(first.picture, share, second.picture, 1 - share, 0)
    class_ids = np.concatenate([first.class_ids, second.class_ids])
    return Labelled(np.asarray(picture, np.uint8), class_ids, (*first.objects, *second.objects))
