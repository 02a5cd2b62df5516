"""COCO instances json to an index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from edgeseg import rle
from edgeseg.data.index import Box, Given, Index, IndexBuilder, posix
from edgeseg.data.notes import Notes
from edgeseg.data.picture_size import picture_size
from edgeseg.data.rasterise import Floats
from edgeseg.errors import ContractError, SourceError

LISTS = ("images", "annotations", "categories")

CHECK_HINT = "`edgeseg data check` lists all that is wrong in a data set"

_LEAST_NUMBERS = 6
"""Of a ring: three points. pycocotools would take a list of four numbers for a box."""

_PROBES = 20
"""Pictures that are looked for in a folder before it is given up: a subset of a set may lack its first ones."""


def read_coco(data: bytes, path: Path, images: Path | None = None, *, strict: bool = True) -> Index:
    """The index of a COCO instances json.

    Classes are the categories in the order of their ids. What is left out or worked out is in the notes.

    Args:
        data: the content.
        path: the file, for messages and to look for pictures whose size the json does not state.
        images: folder of the pictures; None where it is looked for.
        strict: refuse what cannot be read; else an annotation or picture is left out, with a note that names it.

    Raises:
        SourceError: no COCO instances, or something in it that cannot be read; names the row.
    """
    content = _content(data, path)
    names = _by_id(content["categories"], "categories", "name", path)
    ids = sorted(names)
    files = _by_id(content["images"], "images", "file_name", path)
    rows_of = _grouped(content["annotations"], files, path)
    notes = Notes()
    notes.count("annotations of pictures that the file does not list: left out", len(rows_of.pop(None, [])))
    builder = IndexBuilder([names[key] for key in ids], ids)
    reader = _Reader(builder, {key: number for number, key in enumerate(ids)}, notes, path, strict)
    sizes = _Sizes(path, images, files, notes)
    for row in content["images"]:
        try:
            size = sizes.of(row)
        except SourceError as error:
            if strict:
                raise
            notes.count(f"picture file left out: {error.message}")
            continue
        builder.picture(posix(row["file_name"]), row["id"], size)
        reader.add_all(rows_of.get(row["id"], ()), size)
    if not _unique([row.get("id") for rows in rows_of.values() for row in rows]):
        notes.count("set of annotation ids that are absent, not above 0 or not unique: numbered anew")
    return builder.build(notes.said())


def find_images(annotations: Path, names: Sequence[str], images: Path | None = None) -> Path:
    """The folder of a COCO set's pictures.

    Args:
        annotations: the json.
        names: the pictures' file names in it.
        images: the folder, where it is known; no other is tried.

    Raises:
        SourceError: none of the first pictures is in any of the folders; names all that were tried.
    """
    folder, stem = annotations.parent, annotations.stem
    tried = [images] if images else [
        folder, folder / "images", folder.parent / "images" / stem, folder.parent / "images", folder.parent / stem
    ]  # fmt: skip
    for place in tried:
        if not names or any((place / name).is_file() for name in names[:_PROBES]):
            return place
    raise SourceError(
        f"{annotations}: its pictures (such as {names[0]}) are in none of " + ", ".join(str(place) for place in tried),
        hint="name their folder: --images DIR, or in a card data.val: {annotations: ..., images: ...}",
    )


class _Sizes:
    """Sizes of pictures as (height, width): the json's, else that of the file."""

    def __init__(self, path: Path, images: Path | None, files: Mapping[int, str], notes: Notes) -> None:
        self._path, self._images, self._files, self._notes = path, images, files, notes
        self._root: Path | None = None

    def of(self, row: Mapping[str, Any]) -> tuple[int, int]:
        size = row.get("height"), row.get("width")
        if all(isinstance(side, int) and side > 0 for side in size):
            return size  # type: ignore[return-value]
        if size != (None, None):
            raise SourceError(
                f"{self._path}: image {row['id']}: height and width {size}, expected whole numbers above 0",
                hint=CHECK_HINT,
            )
        if self._root is None:
            self._root = find_images(self._path, list(self._files.values()), self._images)
        self._notes.count("pictures without height and width: read from the picture file")
        return picture_size(self._root / row["file_name"])


class _Reader:
    """Adds annotations to a builder."""

    def __init__(
        self, builder: IndexBuilder, class_ids: Mapping[int, int], notes: Notes, path: Path, strict: bool
    ) -> None:
        self._builder, self._class_ids, self._notes, self._path = builder, class_ids, notes, path
        self._strict = strict

    def add_all(self, rows: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> None:
        for row in rows:
            try:
                self._add(row, size)
            except SourceError as error:
                if self._strict:
                    raise
                self._notes.count(f"annotation left out: {error.message}")

    def _add(self, row: Mapping[str, Any], size: tuple[int, int]) -> None:
        category = row.get("category_id")
        class_id = self._class_ids.get(category) if isinstance(category, int) else None
        if class_id is None:
            self._refuse(row, f"category_id {category!r}, expected the id of one of the categories")
        mask, given = row.get("segmentation"), self._given(row)
        if isinstance(mask, dict):
            self._builder.mask(class_id, self._rle(row, mask, size), given)
        elif isinstance(mask, list) and mask:
            rings = self._rings(row, mask)
            height, width = size
            if any(ring.min() < -1 or (ring.max(axis=0) > (width + 1, height + 1)).any() for ring in rings):
                self._notes.count("annotations that reach more than 1 px out of their picture: kept, cut in the mask")
            self._builder.polygons(class_id, rings, given)
        else:
            self._refuse(row, "no segmentation, expected polygons or run lengths: a box alone is no mask")

    def _given(self, row: Mapping[str, Any]) -> Given:
        for name in ("bbox", "area"):
            if row.get(name) is None:
                self._notes.count(f"annotations without {name}: worked out from the mask")
        box, area, number = row.get("bbox"), row.get("area"), row.get("id")
        xywh: Box | None = None
        try:
            if box is not None:
                x, y, width, height = (float(value) for value in box)
                xywh = (x, y, width, height)
            area = None if area is None else float(area)
        except (TypeError, ValueError):
            self._refuse(row, f"bbox {box!r}, area {area!r}, expected four numbers and one")
        if not all(map(isfinite, (*(xywh or ()), area or 0.0))):
            self._refuse(row, f"bbox {box!r}, area {area!r}, expected finite numbers")
        return Given(number if isinstance(number, int) else None, xywh, area, bool(row.get("iscrowd")))

    def _rle(self, row: Mapping[str, Any], mask: Mapping[str, Any], size: tuple[int, int]) -> rle.Rle:
        try:
            compressed = rle.compress(mask)
        except (ContractError, KeyError, TypeError, ValueError, OverflowError) as error:
            self._refuse(row, f"run lengths that cannot be read: {error}")
        if compressed["size"] != list(size):
            self._refuse(row, f"run lengths for the size {compressed['size']}, expected the picture's {list(size)}")
        return compressed

    def _rings(self, row: Mapping[str, Any], parts: list[Any]) -> list[Floats]:
        rings = []
        for part in parts:
            try:
                numbers = np.array(part, np.float64)
            except (TypeError, ValueError):
                self._refuse(row, "a polygon with something that is no number")
            if numbers.ndim != 1 or numbers.size % 2 or not np.isfinite(numbers).all():
                self._refuse(row, f"a polygon of shape {numbers.shape}, expected finite numbers x1, y1, x2, y2 ...")
            if numbers.size >= _LEAST_NUMBERS:
                rings.append(numbers.reshape(-1, 2))
        if not rings:
            self._refuse(row, "no polygon of at least three points")
        self._notes.count("polygon parts of fewer than three points: left out", len(parts) - len(rings))
        return rings

    def _refuse(self, row: Mapping[str, Any], message: str) -> NoReturn:
        raise SourceError(f"{self._path}: annotation {row.get('id')}: {message}", hint=CHECK_HINT)


def _content(data: bytes, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: no JSON that can be read: {error}") from error
    if isinstance(content, dict) and all(isinstance(content.get(name), list) for name in LISTS):
        return content
    raise SourceError(
        f"{path}: {describe_json(content)}, expected COCO instances: an object with the lists {', '.join(LISTS)}",
        hint="`edgeseg data convert` reads LabelMe, VIA and mask PNGs",
    )


def describe_json(content: Any) -> str:
    """What a JSON that is no COCO set seems to be."""
    if isinstance(content, list):
        return "a list, as a file of results is"
    keys: Mapping[str, Any] = content if isinstance(content, dict) else {}
    for key, meaning in _SIGNS.items():
        if key in keys:
            return meaning
    return "an object with " + (", ".join(list(keys)[:5]) or "nothing in it")


_SIGNS = {
    "shapes": "a LabelMe file",
    "_via_img_metadata": "a VIA project",
    "project": "a VIA 3 project",
    "annotations": "annotations without pictures or categories",
}
"""A key to what it tells of a JSON object."""


def _by_id(rows: list[Any], what: str, key: str, path: Path) -> dict[int, str]:
    """Text by id."""
    found: dict[int, str] = {}
    for number, row in enumerate(rows):
        fine = isinstance(row, dict) and type(row.get("id")) is int and isinstance(row.get(key), str)
        if not fine:
            raise SourceError(f"{path}: {what}[{number}]: expected a whole number `id` and a text `{key}`")
        if row["id"] in found:
            raise SourceError(f"{path}: {what}[{number}]: the id {row['id']} is there before", hint=CHECK_HINT)
        found[row["id"]] = row[key]
    return found


def _grouped(rows: list[Any], files: Mapping[int, str], path: Path) -> dict[int | None, list[dict[str, Any]]]:
    """Annotations by image id; under None those of pictures that are not there."""
    groups: dict[int | None, list[dict[str, Any]]] = {}
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or type(row.get("image_id")) is not int:
            raise SourceError(f"{path}: annotations[{number}]: expected an object with a whole number `image_id`")
        groups.setdefault(row["image_id"] if row["image_id"] in files else None, []).append(row)
    return groups


def _unique(ids: list[Any]) -> bool:
    return all(isinstance(value, int) and value > 0 for value in ids) and len(set(ids)) == len(ids)
