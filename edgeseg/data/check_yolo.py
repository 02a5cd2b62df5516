"""A YOLO-seg data set, read leniently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from edgeseg.data.check_labels import Label
from edgeseg.data.check_scan import Part, Scan, ScannedPicture, beside, short, twice
from edgeseg.data.picture import PICTURE_SUFFIXES
from edgeseg.errors import SourceError

PARTS = ("train", "val", "test")

BOX_WORDS, LEAST_WORDS = 5, 7
"""Words of a line that holds a box, and of the shortest outline: a class and three points."""


def scan_yolo(path: Path) -> Scan:
    """Read a YOLO-seg yaml, its pictures and labels, and all that is wrong in them.

    Raises:
        SourceError: no YAML, or without names or parts.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise SourceError(f"{path}: no YAML that can be read: {error}") from error
    if not isinstance(content, dict) or not any(content.get(name) for name in PARTS):
        raise SourceError(f"{path}: no YOLO-seg data set file, expected names and one of {', '.join(PARTS)}")
    names = _names(content.get("names"), path)
    root = path.parent / str(content.get("path") or ".")
    parts = [_part(name, content[name], root, path, names) for name in PARTS if content.get(name)]
    return Scan(path, "yolo-seg", names, parts)


def _names(value: Any, path: Path) -> tuple[str, ...]:
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict) or not value or sorted(value, key=str) != sorted(range(len(value)), key=str):
        raise SourceError(f"{path}: names {short(value)}, expected a list, or a map with the keys 0, 1, 2 and so on")
    return tuple(str(value[index]) for index in range(len(value)))


def _part(name: str, entries: Any, root: Path, source: Path, names: tuple[str, ...]) -> Part:
    part = Part(name)
    paths: list[tuple[str, Path]] = []
    for entry in entries if isinstance(entries, list) else [entries]:
        place = root / str(entry)
        if place.is_dir():
            found = sorted(file for file in place.rglob("*") if file.suffix.lower() in PICTURE_SUFFIXES)
            paths += [(beside(file, source.parent), file) for file in found]
            _report_orphans(part, place, found, source.parent)
        elif place.suffix == ".txt" and place.is_file():
            for number, line in enumerate(place.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
                if line.strip():
                    paths.append((f"{beside(place, source.parent)}:{number}", place.parent / line.strip()))
        else:
            part.report("part_missing", str(source), f"{name}: {place} is neither a folder nor a list of pictures")
    for place_in_list, file in twice([file for _, file in paths]):
        part.report("duplicate_picture", paths[place_in_list][0], "the same file is listed before", str(file))
    for file in dict.fromkeys(file for _, file in paths):
        labels = _labels(part, file, source.parent, len(names))
        part.pictures.append(ScannedPicture(file, beside(file, source.parent), labels=labels, normalised=True))
    return part


def label_path(picture: Path) -> Path:
    """Where the labels of a picture are: in `labels` for the last `images` of its folders, else beside it."""
    folders = list(picture.parts[:-1])
    if "images" in folders:
        last = len(folders) - 1 - folders[::-1].index("images")
        folders[last] = "labels"
    return Path(*folders, picture.stem + ".txt")


def _labels(part: Part, picture: Path, folder: Path, classes: int) -> list[Label]:
    path = label_path(picture)
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
        ring = np.array(words[1:], float).reshape(-1, 2)
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
    return None


def _report_orphans(part: Part, pictures: Path, found: list[Path], folder: Path) -> None:
    labels = label_path(pictures / "any").parent
    if labels == pictures or not labels.is_dir():
        return
    known = {label_path(file) for file in found}
    for path in sorted(labels.rglob("*.txt")):
        if path not in known:
            part.report("orphan_label", beside(path, folder), f"no picture of that name in {pictures}")
