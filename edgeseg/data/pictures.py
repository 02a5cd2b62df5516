"""The pictures of a data set, without its annotations: for verification and calibration."""

from __future__ import annotations

import json
import random
from pathlib import Path

import yaml

from edgeseg.data.picture import PICTURE_SUFFIXES
from edgeseg.errors import SourceError


def pictures_of(annotations: Path, images: Path | None = None) -> list[Path]:
    """Paths of a data set's pictures, in its order.

    Args:
        annotations: a COCO json, a YOLO-seg yaml, or a folder of pictures.
        images: folder of a COCO set's pictures; None looks in its own folder, `images/` beside it,
            `../images/<stem>`, `../images` and `../<stem>`.

    Raises:
        SourceError: the set cannot be read, or has no pictures; names all that was tried.
    """
    if annotations.is_dir():
        found = sorted(path for path in annotations.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    elif annotations.suffix == ".json":
        found = _coco(annotations, images)
    else:
        found = _yolo(annotations)
    if not found:
        raise SourceError(f"{annotations}: no pictures in this data set")
    return found


def drawn(pictures: list[Path], count: int, seed: int) -> list[Path]:
    """At most `count` pictures, the same ones for the same seed, in the set's order."""
    if len(pictures) <= count:
        return pictures
    chosen = sorted(random.Random(seed).sample(range(len(pictures)), count))
    return [pictures[index] for index in chosen]


def _coco(annotations: Path, images: Path | None) -> list[Path]:
    try:
        names = [Path(row["file_name"]) for row in json.loads(annotations.read_bytes())["images"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceError(f"{annotations}: no COCO instances file: {error!r}") from error
    if not names:
        return []
    folder, stem = annotations.parent, annotations.stem
    tried = [images] if images else [
        folder, folder / "images", folder.parent / "images" / stem, folder.parent / "images", folder.parent / stem
    ]  # fmt: skip
    for place in tried:
        if (place / names[0]).is_file():
            return [place / name for name in names]
    raise SourceError(
        f"{annotations}: its pictures (such as {names[0]}) are in none of " + ", ".join(str(p) for p in tried),
        hint="name their folder: data.val: {annotations: ..., images: ...}",
    )


def _yolo(path: Path) -> list[Path]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        root = path.parent / str(content.get("path") or ".")
        parts = content.get("val") or content["train"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, AttributeError, RecursionError) as error:
        raise SourceError(f"{path}: no YOLO-seg data set file: {error!r}") from error
    found: list[Path] = []
    for part in parts if isinstance(parts, list) else [parts]:
        place = root / str(part)
        if place.is_dir():
            found += sorted(p for p in place.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
        elif place.suffix == ".txt" and place.is_file():
            found += [place.parent / line.strip() for line in place.read_text().splitlines() if line.strip()]
        else:
            raise SourceError(f"{path}: {place} is neither a folder nor a list of pictures")
    return found
