"""A YOLO-seg data set, read leniently."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from edgeseg.data.check_labels import Label
from edgeseg.data.check_scan import Part, Scan, ScannedPicture, beside, short, twice
from edgeseg.data.picture import PICTURE_SUFFIXES
from edgeseg.data.yolo_seg import MARGIN
from edgeseg.data.yolo_yaml import YoloYaml, label_path, read_yaml

BOX_WORDS, LEAST_WORDS = 5, 7
"""Words of a line that holds a box, and of the shortest outline: a class and three points."""


def scan_yolo(path: Path) -> Scan:
    """Read a YOLO-seg yaml, its pictures and labels, and all that is wrong in them.

    Raises:
        SourceError: no YAML, or without names or parts.
    """
    source = read_yaml(path)
    return Scan(path, "yolo-seg", source.names, [_part(name, source) for name in source.splits])


def _part(name: str, source: YoloYaml) -> Part:
    part = Part(name)
    folder = Path(os.path.normpath(source.path.absolute())).parent
    files: list[Path] = []
    for entry in source.splits[name]:
        place = Path(os.path.normpath(source.root / entry))
        before = len(files)
        if place.is_dir():
            files += sorted(file for file in place.rglob("*") if _is_picture(file, place))
            _report_orphans(part, place, set(files[before:]), folder)
        elif place.suffix == ".txt" and place.is_file():
            files += _listed(part, place, source.root, folder)
        if len(files) == before:
            part.report("part_empty", str(source.path), f"{name}: {place} is no folder or list of pictures")
    for file in dict.fromkeys(files):
        labels = _labels(part, file, folder, len(source.names))
        part.pictures.append(ScannedPicture(file, beside(file, folder), labels=labels, normalised=True))
    paths = [Path(label_path(str(file))) for file in files]
    if paths and not any(path.is_file() for path in paths):
        message = f"{name}: none of {len(paths)} pictures has a label file, such as {beside(paths[0], folder)}"
        part.report("part_empty", str(source.path), message)
    return part


def _is_picture(file: Path, folder: Path) -> bool:
    hidden = any(name.startswith(".") for name in file.relative_to(folder).parts)
    return file.suffix.lower() in PICTURE_SUFFIXES and not hidden


def _listed(part: Part, file: Path, root: Path, folder: Path) -> list[Path]:
    """Pictures of a list, whose lines start from its folder or, where the first is not there, from the root."""
    lines = [line.strip() for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
    first = next(filter(None, lines), "")
    base = root if not (file.parent / first).exists() and (root / first).exists() else file.parent
    found = {number: Path(os.path.normpath(base / line)) for number, line in enumerate(lines, start=1) if line}
    numbers = list(found)
    for place, picture in twice(list(found.values())):
        where = f"{beside(file, folder)}:{numbers[place]}"
        part.report("duplicate_picture", where, f"{picture.name} is listed before", str(picture))
    return list(found.values())


def _labels(part: Part, picture: Path, folder: Path, classes: int) -> list[Label]:
    path = Path(label_path(str(picture)))
    if not path.is_file():
        return []
    where = beside(path, folder)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        part.report("malformed", where, f"cannot be read: {error}", str(picture))
        return []
    labels = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        mistake = _mistake(words)
        if mistake:
            kind, message = mistake
            part.report(kind, f"{where}:{number}", message, str(picture))
            continue
        class_id = int(float(words[0]))
        if not 0 <= class_id < classes:
            message = f"class {class_id}, expected 0..{classes - 1}"
            part.report("unknown_class", f"{where}:{number}", message, str(picture))
            class_id = -1
        ring = np.array(words[1:], float).clip(0, 1).reshape(-1, 2)
        labels.append(Label(f"{where}:{number}", class_id, (ring,)))
    return labels


def _mistake(words: list[str]) -> tuple[str, str] | None:
    """Kind and message of what keeps a line from being read."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return "malformed", f"{short(' '.join(words))}, expected a class and numbers"
    if not np.isfinite(values).all() or values[0] != int(values[0]):
        return "malformed", f"{short(' '.join(words))}, expected a whole class number and finite coordinates"
    if len(words) == BOX_WORDS:
        return "no_mask", "a box (class, centre, size), expected an outline: class x1 y1 x2 y2 x3 y3 ..."
    if len(words) % 2 == 0:
        return "malformed", f"{len(words) - 1} coordinates, expected pairs of x, y"
    if len(words) < LEAST_WORDS:
        return "degenerate", f"an outline of {len(words) // 2} points, expected at least 3"
    worst = max(values[1:], key=lambda value: abs(value - 0.5))
    if abs(worst - 0.5) > 0.5 + MARGIN:
        return "outside", f"a coordinate of {worst:g}, expected 0..1"
    return None


def _report_orphans(part: Part, pictures: Path, found: set[Path], folder: Path) -> None:
    labels = Path(label_path(str(pictures / "any.jpg"))).parent
    if labels == pictures or not labels.is_dir():
        return
    known = {label_path(str(file)) for file in found}
    for path in sorted(labels.rglob("*.txt")):
        if str(path) not in known:
            part.report("orphan_label", beside(path, folder), f"no picture of that name in {beside(pictures, folder)}")
