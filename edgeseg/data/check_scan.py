"""A data set read leniently: what can be read of it, and a problem for all that cannot.

`edgeseg.data.open_dataset` stops at a mistake; this goes on after it, so that one run finds all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeseg.data.check_labels import Label
from edgeseg.data.check_problems import Problem
from edgeseg.errors import SourceError, UsageError, did_you_mean


@dataclass(frozen=True, slots=True, eq=False)
class ScannedPicture:
    """A picture that the data set names, and its labels.

    Attributes:
        path: its file.
        where: what names it.
        size: (height, width) that the annotations state, px; None where they state none.
        labels: those that could be read.
        normalised: outlines are in parts of the width and height, not px.
    """

    path: Path
    where: str
    size: tuple[int, int] | None = None
    labels: list[Label] = field(default_factory=list)
    normalised: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part of a data set, such as train.

    Attributes:
        name: the yaml's key, or the stem of a COCO json.
        pictures: in the order of the source.
        problems: what could not be read.
    """

    name: str
    pictures: list[ScannedPicture] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def report(self, kind: str, where: str, message: str, picture: str = "") -> None:
        """Note a problem of this part."""
        self.problems.append(Problem(kind, self.name, where, message, picture))


@dataclass(frozen=True, slots=True)
class Scan:
    """A whole source.

    Attributes:
        source: the file or folder.
        kind: ``coco``, ``yolo-seg`` or ``pictures``.
        names: class names by class id.
        parts: at least one.
    """

    source: Path
    kind: str
    names: tuple[str, ...]
    parts: list[Part]

    def divided(self, split: str | None) -> tuple[list[Part], list[Part]]:
        """The parts that `split` means, all where it is None, and the others.

        Raises:
            UsageError: there is no such part.
        """
        names = [part.name for part in self.parts]
        if split is not None and split not in names:
            raise UsageError(f"{self.source}: no part {split!r}", hint=did_you_mean(split, names))
        chosen = [part for part in self.parts if split in (None, part.name)]
        return chosen, [part for part in self.parts if part not in chosen]


def scan(source: Path, *, images: Path | None = None) -> Scan:
    """Read a COCO json, a YOLO-seg yaml, or a folder of pictures without labels.

    Args:
        source: the file or folder.
        images: folder of a COCO set's pictures; None where it is looked for beside the json.

    Raises:
        SourceError: there is no such file, or nothing of a data set in it.
    """
    if source.is_dir():
        from edgeseg.data.pictures import pictures_of

        part = Part(source.name, [ScannedPicture(path, path.name) for path in pictures_of(source)])
        return Scan(source, "pictures", (), [part])
    if not source.is_file():
        raise SourceError(f"{source}: no such file, expected a COCO json, a YOLO-seg yaml or a folder of pictures")
    if source.suffix.lower() == ".json":
        from edgeseg.data.check_coco import scan_coco

        return scan_coco(source, images)
    if source.suffix.lower() in (".yaml", ".yml"):
        from edgeseg.data.check_yolo import scan_yolo

        return scan_yolo(source)
    raise SourceError(
        f"{source}: expected a data set", hint="supported: a COCO .json, a YOLO-seg .yaml, a folder of pictures"
    )


def short(value: Any, limit: int = 60) -> str:
    """A value of a file as part of a message."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def beside(path: Path, folder: Path) -> str:
    """A path as seen from a folder, whole where it is not in it."""
    whole, start = (Path(os.path.normpath(place.absolute())) for place in (path, folder))
    return str(whole.relative_to(start)) if whole.is_relative_to(start) else str(path)


def twice(values: list[Any]) -> Iterator[tuple[int, Any]]:
    """Place and value of each value that was there before."""
    seen = set()
    for place, value in enumerate(values):
        if value in seen:
            yield place, value
        seen.add(value)
