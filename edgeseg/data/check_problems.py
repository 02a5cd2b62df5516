"""What can be wrong with a data set, and how bad it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Kind:
    """A kind of problem.

    Attributes:
        severity: an error makes a number or a training run wrong; a warning is worth a look.
        title: what it is, for a heading.
        advice: what it does, and what to do about it.
    """

    severity: Severity
    title: str
    advice: str


KINDS: Mapping[str, Kind] = {
    "leakage": Kind(
        "error",
        "Pictures in more than one part",
        "Accuracy is measured on what was trained on. Keep each picture in one part: edgeseg data split does.",
    ),
    "part_empty": Kind(
        "error", "Parts without pictures or labels", "Correct the path, or put the pictures and labels there."
    ),
    "picture_missing": Kind("error", "Missing pictures", "Put the file there, or take the picture out of the set."),
    "picture_broken": Kind(
        "error", "Pictures that cannot be read", "Copy the file again from where it came, or convert it to JPEG or PNG."
    ),
    "picture_size": Kind(
        "error",
        "Pictures of another size than annotated",
        "Every mask of the picture is in the wrong place. Annotate the file as it is, upright.",
    ),
    "malformed": Kind("error", "Annotations that cannot be read", "Write the line or the object as the format has it."),
    "unknown_class": Kind("error", "Unknown classes", "Add the class to the names, or correct the annotation."),
    "no_mask": Kind(
        "error", "Objects without a mask", "A box alone teaches no mask: draw the outline, or take the object out."
    ),
    "degenerate": Kind("error", "Outlines that enclose nothing", "Draw the outline again, or take the object out."),
    "outside": Kind(
        "error", "Outlines outside the picture", "Is the label that of another picture, or in pixels in place of 0..1?"
    ),
    "duplicate_id": Kind("error", "Ids that are used twice", "Number pictures and categories uniquely."),
    "annotation_id": Kind(
        "warning", "Annotation ids that are used twice", "edgeseg numbers them anew; other readers lose annotations."
    ),
    "unknown_picture": Kind(
        "warning", "Annotations of pictures that are not listed", "They are left out: is a picture missing?"
    ),
    "degenerate_part": Kind(
        "warning", "Parts of objects that enclose nothing", "They are left out of the mask. Remove them."
    ),
    "beyond_edge": Kind(
        "warning", "Outlines that reach out of the picture", "They are cut at its edge. Many of them hint at a size."
    ),
    "crossing": Kind(
        "warning",
        "Outlines that cross themselves",
        "A region that is enclosed twice is left out of the mask. A few tiny ones do no harm.",
    ),
    "box_mismatch": Kind("warning", "Boxes that do not fit their mask", "Make the box from the mask."),
    "tiny": Kind(
        "warning", "Tiny objects", "Below 16 square pixels a mask is a handful of pixels, which few networks see."
    ),
    "duplicate_picture": Kind(
        "warning", "Pictures that are there twice", "The same bytes under two names count twice: remove one."
    ),
    "duplicate_label": Kind("warning", "Objects that are annotated twice", "Remove all but one."),
    "orphan_label": Kind("warning", "Label files without a picture", "They are ignored: is a picture missing?"),
    "unused_class": Kind("warning", "Classes without an object", "Nothing can be learned or measured of them."),
    "no_labels": Kind(
        "warning",
        "Pictures without labels",
        "They count as empty: good as background, bad where objects were forgotten.",
    ),
}
"""Every kind, the worst first."""


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        kind: of `KINDS`.
        part: of the data set.
        where: file and line, or file and id.
        message: what is wrong there, and what was expected.
        picture: path of the picture, empty where none is meant.
    """

    kind: str
    part: str
    where: str
    message: str
    picture: str = ""

    @property
    def severity(self) -> Severity:
        """That of its kind."""
        return KINDS[self.kind].severity


def grouped(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """Problems by kind, the kinds in the order of `KINDS`; only those that occur."""
    groups: dict[str, list[Problem]] = {kind: [] for kind in KINDS}
    for problem in problems:
        groups[problem.kind].append(problem)
    return {kind: members for kind, members in groups.items() if members}
