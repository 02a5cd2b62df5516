"""YOLO-seg label files to an index."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeseg.data.index import Index, IndexBuilder
from edgeseg.data.notes import Notes
from edgeseg.data.picture_size import picture_size
from edgeseg.data.rasterise import Floats
from edgeseg.data.yolo_yaml import NO_FILE, Listing, YoloYaml, label_path
from edgeseg.errors import SourceError

MARGIN = 0.001
"""How far out of 0..1 a coordinate may be for the rounding of whoever wrote it; it is put on the edge."""

_BOX_WORDS = 5
_LEAST_WORDS = 7
"""A class and three points."""


def read_yolo(source: YoloYaml, listed: Listing, *, strict: bool = True) -> Index:
    """The index of label files, with coordinates in px of the upright pictures.

    Args:
        source: the set's yaml.
        listed: its pictures and label files.
        strict: refuse what cannot be read; else a line or picture is left out, with a note that names it.

    Raises:
        SourceError: a picture or label file that cannot be read; names file and line.
    """
    notes = Notes()
    builder = IndexBuilder(source.names)
    ids = _image_ids(listed.pictures)
    reader = _Reader(builder, notes, len(source.names), strict)
    for image_id, picture, label_stamp in zip(ids, listed.pictures, listed.label_stamps, strict=True):
        try:
            size = picture_size(picture)
        except SourceError as error:
            if strict:
                raise
            notes.count(f"picture file left out: {error.message}")
            continue
        builder.picture(_beneath(picture, source.root), image_id, size)
        if label_stamp == NO_FILE:
            notes.count("pictures without a label file: taken as background")
        else:
            reader.read(Path(label_path(picture)), size)
    return builder.build(notes.said())


class _Reader:
    """Adds the lines of label files to a builder."""

    def __init__(self, builder: IndexBuilder, notes: Notes, classes: int, strict: bool) -> None:
        self._builder, self._notes, self._classes, self._strict = builder, notes, classes, strict

    def read(self, path: Path, size: tuple[int, int]) -> None:
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
        sides = np.array([size[1], size[0]], np.float64)
        for number, line in enumerate(lines, start=1):
            words = line.split()
            if words:
                self._add(words, f"{path}:{number}", sides)

    def _add(self, words: list[bytes], where: str, sides: Floats) -> None:
        try:
            class_id, ring = self._line(words, where)
        except SourceError as error:
            if self._strict:
                raise
            self._notes.count(f"label line left out: {error.message}")
        else:
            self._builder.polygons(class_id, [ring * sides])

    def _line(self, words: list[bytes], where: str) -> tuple[int, Floats]:
        """Class id and (K, 2) points in 0..1."""
        try:
            numbers = [float(word) for word in words]
        except ValueError as error:
            raise _mistake(where, f"{error}, expected a class id and numbers") from error
        if not math.isfinite(sum(numbers)):
            raise _mistake(where, "a number that is not finite")
        class_id = int(numbers[0])
        if class_id != numbers[0] or not 0 <= class_id < self._classes:
            raise _mistake(where, f"class {words[0].decode()}, expected 0..{self._classes - 1}")
        problem = _count_problem(len(words))
        if problem:
            raise _mistake(where, *problem)
        low, high = min(numbers[1:]), max(numbers[1:])
        if low < 0 or high > 1:
            if low < -MARGIN or high > 1 + MARGIN:
                worst = low if low < -MARGIN else high
                raise _mistake(
                    where, f"a coordinate of {worst:g}, expected 0..1", "are these pixels? divide by the size"
                )
            self._notes.count(f"labels with coordinates out of 0..1 by up to {MARGIN:g}: put on the edge")
            numbers = [min(max(number, 0.0), 1.0) for number in numbers]
        return class_id, np.array(numbers[1:]).reshape(-1, 2)


def _count_problem(words: int) -> tuple[str, str] | None:
    """What is wrong with a line of so many words, and the remedy."""
    if words == _BOX_WORDS:
        return "a box (class, centre, size), which has no mask", "expected an outline: class x1 y1 x2 y2 x3 y3 ..."
    if words % 2 == 0:
        return f"{words - 1} numbers after the class, expected pairs x y", "is there a score at the end of the line?"
    if words < _LEAST_WORDS:
        return f"an outline of {words // 2} points, expected at least 3", "remove the line, or draw the outline again"
    return None


def _mistake(where: str, message: str, hint: str = "") -> SourceError:
    return SourceError(f"{where}: {message}", hint=hint or "`edgeseg data check` lists all that is wrong in a data set")


def _image_ids(pictures: Sequence[str]) -> Sequence[int]:
    """The numbers that the file names are, as in COCO, where all are and none comes twice; else 1, 2, 3 ..."""
    stems = [picture.rpartition(os.sep)[2].rpartition(".")[0] for picture in pictures]
    # Eighteen digits fit 64 bits.
    if all(stem.isascii() and stem.isdecimal() and len(stem) <= 18 for stem in stems):
        ids = [int(stem) for stem in stems]
        if len(set(ids)) == len(ids):
            return ids
    return range(1, len(pictures) + 1)


def _beneath(picture: str, root: Path) -> str:
    """A path as seen from the root, whole where it is not in it."""
    prefix = f"{root}{os.sep}"
    return picture.removeprefix(prefix).replace(os.sep, "/")
