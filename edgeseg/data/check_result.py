"""What a check of a data set found: contents, problems, and both as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.data.check_problems import Problem
from edgeseg.data.check_scan import Part

SIZE_EDGES_PX = (0, 8, 16, 32, 64, 128, 256, 512)
"""Object sizes, square root of the area, are counted between these; the last range is open. COCO's small objects
end at 32, its medium ones at 96."""


@dataclass(frozen=True, slots=True)
class PartSummary:
    """What is in a part.

    Attributes:
        name: of the part.
        pictures: number of pictures that it names.
        unlabelled: those of them without a label.
        crowds: labels that stand for several objects each.
        labels: number of labels of each class, by class id, crowds among them.
        pictures_with: number of pictures that have the class, by class id.
        sizes: number of labels in each range of `SIZE_EDGES_PX`; only of pictures whose size is known.
    """

    name: str
    pictures: int
    unlabelled: int
    crowds: int
    labels: tuple[int, ...]
    pictures_with: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def objects(self) -> int:
        """Labels of one object each, which is what `edgeseg val` counts."""
        return sum(self.labels) - self.crowds


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of a check.

    Attributes:
        source: what was checked.
        kind: ``coco`` or ``yolo-seg``.
        names: class names by class id.
        parts: what is in each part.
        problems: all that were found.
        decoded: whether pictures were decoded, or only their headers read.
        scanned: pictures and labels of each part, for drawing.
    """

    source: Path
    kind: str
    names: tuple[str, ...]
    parts: tuple[PartSummary, ...]
    problems: tuple[Problem, ...]
    decoded: bool
    scanned: tuple[Part, ...]

    @property
    def errors(self) -> int:
        """Number of problems that are errors."""
        return sum(problem.severity == "error" for problem in self.problems)

    @property
    def warnings(self) -> int:
        """Number of problems that are warnings."""
        return len(self.problems) - self.errors

    def to_json(self) -> dict[str, Any]:
        """All but the scanned pictures, with class counts by name where names are unique, else by class id."""
        unique = len(set(self.names)) == len(self.names)
        keys = self.names if unique else tuple(str(index) for index in range(len(self.names)))
        return {
            "source": str(self.source),
            "kind": self.kind,
            "names": list(self.names),
            "decoded": self.decoded,
            "errors": self.errors,
            "warnings": self.warnings,
            "size_edges_px": list(SIZE_EDGES_PX),
            "parts": [
                {
                    **asdict(part),
                    "objects": part.objects,
                    "labels": dict(zip(keys, part.labels, strict=True)),
                    "pictures_with": dict(zip(keys, part.pictures_with, strict=True)),
                }
                for part in self.parts
            ],
            "problems": [{**asdict(problem), "severity": problem.severity} for problem in self.problems],
        }


def summarise(part: Part, classes: int, areas: list[float]) -> PartSummary:
    """What is in a part.

    Args:
        part: as scanned.
        classes: number of classes.
        areas: of its labels' masks, square px.
    """
    labels, pictures_with = Counter[int](), Counter[int]()
    for picture in part.pictures:
        ids = [label.class_id for label in picture.labels]
        labels.update(ids)
        pictures_with.update(set(ids))
    sizes, _ = np.histogram(np.sqrt(areas), [*SIZE_EDGES_PX, np.inf])
    return PartSummary(
        part.name,
        len(part.pictures),
        sum(not picture.labels for picture in part.pictures),
        sum(label.crowd and label.class_id >= 0 for picture in part.pictures for label in picture.labels),
        tuple(labels[index] for index in range(classes)),
        tuple(pictures_with[index] for index in range(classes)),
        tuple(sizes.tolist()),
    )


def unused_classes(part: PartSummary, names: tuple[str, ...]) -> Iterator[Problem]:
    """One problem for all classes without a label in the part."""
    missing = [name for name, number in zip(names, part.labels, strict=True) if not number]
    if missing:
        message = f"{len(missing)} of {len(names)} classes have no object: {', '.join(missing)}"
        yield Problem("unused_class", part.name, part.name, message)
