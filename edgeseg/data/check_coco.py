"""A COCO instances json, read leniently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.data.check_labels import Label, Ring
from edgeseg.data.check_scan import Part, Scan, ScannedPicture, short, twice
from edgeseg.data.coco import LISTS, find_images
from edgeseg.errors import SourceError

if TYPE_CHECKING:
    from typing import TypeGuard


class _BadRowError(Exception):
    """A row that cannot be read: the kind of problem, and what was expected."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def scan_coco(path: Path, images: Path | None) -> Scan:
    """Read a COCO json and all that is wrong in it.

    Raises:
        SourceError: no JSON, none of a COCO set's lists, or not one picture can be found.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(f"{path}: no JSON that can be read: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in LISTS):
        raise SourceError(f"{path}: no COCO instances file, expected an object with the lists {', '.join(LISTS)}")
    part = Part(path.stem)
    class_ids, names = _categories(part, content["categories"])
    pictures = _pictures(part, content["images"], path, images)
    for number, row in enumerate(content["annotations"]):
        _annotation(part, row, number, class_ids, pictures)
    ids = [row.get("id") for row in content["annotations"] if isinstance(row, dict)]
    for _, value in twice([value for value in ids if isinstance(value, int)]):
        part.report("annotation_id", f"annotation {value}", "an annotation before it has the same id")
    part.pictures.extend(pictures.values())
    return Scan(path, "coco", names, [part])


def _categories(part: Part, rows: list[Any]) -> tuple[dict[int, int], tuple[str, ...]]:
    """Class id of each category id, and the names by class id: in the order of the category ids."""
    found: dict[int, str] = {}
    for number, row in enumerate(rows):
        where = f"categories[{number}]"
        if not isinstance(row, dict) or not _is_id(row.get("id")) or not isinstance(row.get("name"), str):
            part.report("malformed", where, f"{short(row)}, expected an object with an integer id and a name")
        elif row["id"] in found:
            part.report("duplicate_id", where, f"category {row['id']} is there before, as {found[row['id']]!r}")
        else:
            found[row["id"]] = row["name"]
    ordered = sorted(found)
    return {category: index for index, category in enumerate(ordered)}, tuple(found[key] for key in ordered)


def _pictures(part: Part, rows: list[Any], path: Path, images: Path | None) -> dict[int, ScannedPicture]:
    """Pictures by image id."""
    good: dict[int, dict[str, Any]] = {}
    for number, row in enumerate(rows):
        where = f"images[{number}]"
        if not isinstance(row, dict) or not _is_id(row.get("id")) or not isinstance(row.get("file_name"), str):
            part.report("malformed", where, f"{short(row)}, expected an object with an integer id and a file_name")
        elif row["id"] in good:
            part.report("duplicate_id", where, f"image {row['id']} is there before", row["file_name"])
        else:
            good[row["id"]] = row
    names = [row["file_name"] for row in good.values()]
    folder = find_images(path, names, images)
    pictures = {}
    for key, row in good.items():
        height, width = row.get("height"), row.get("width")
        size = (int(height), int(width)) if _is_side(height) and _is_side(width) else None
        if size is None and (height, width) != (None, None):
            message = f"height {short(height)}, width {short(width)}, expected whole numbers"
            part.report("malformed", f"image {key}", message, row["file_name"])
        pictures[key] = ScannedPicture(folder / row["file_name"], f"image {key}", size)
    for place, name in twice(names):
        part.report("duplicate_picture", f"images[{place}]", "the same file is listed before", str(folder / name))
    return pictures


def _annotation(
    part: Part, row: Any, number: int, class_ids: dict[int, int], pictures: dict[int, ScannedPicture]
) -> None:
    named = isinstance(row, dict) and _is_id(row.get("id"))
    where = f"annotation {row['id']}" if named else f"annotations[{number}]"
    picture = None
    try:
        if not named:
            raise _BadRowError("malformed", f"{short(row)}, expected an object with an integer id")
        if not _is_id(row.get("image_id")):
            raise _BadRowError("malformed", f"image_id {short(row.get('image_id'))}, expected the id of an image")
        picture = pictures.get(row["image_id"])
        if picture is None:
            raise _BadRowError("unknown_picture", f"there is no image {row['image_id']}")
        picture.labels.append(_label(row, where, class_ids))
        if picture.labels[-1].class_id < 0:
            raise _BadRowError("unknown_class", f"category_id {short(row.get('category_id'))} is no category's id")
    except _BadRowError as error:
        part.report(error.kind, where, str(error), str(picture.path) if picture else "")


def _label(row: dict[str, Any], where: str, class_ids: dict[int, int]) -> Label:
    category = row.get("category_id")
    class_id = class_ids.get(category, -1) if isinstance(category, int) else -1
    xywh = None
    if row.get("bbox") is not None:
        numbers = _numbers(row["bbox"], "bbox")
        if len(numbers) != 4:
            raise _BadRowError("malformed", f"bbox of {len(numbers)} numbers, expected x, y, width, height")
        xywh = (numbers[0], numbers[1], numbers[2], numbers[3])
    mask = row.get("segmentation")
    crowd = bool(row.get("iscrowd"))
    if isinstance(mask, dict):
        return Label(where, class_id, rle=mask, xywh=xywh, crowd=crowd)
    if not mask:
        raise _BadRowError("no_mask", "no segmentation, expected polygons or run lengths")
    if not isinstance(mask, list):
        raise _BadRowError("malformed", f"segmentation {short(mask)}, expected a list of polygons or run lengths")
    return Label(where, class_id, tuple(_ring(values) for values in mask), xywh=xywh, crowd=crowd)


def _ring(values: Any) -> Ring:
    numbers = _numbers(values, "polygon")
    if len(numbers) % 2 or not numbers:
        raise _BadRowError("malformed", f"polygon of {len(numbers)} numbers, expected pairs of x, y")
    return np.array(numbers).reshape(-1, 2)


def _numbers(values: Any, what: str) -> list[float]:
    if not isinstance(values, list):
        raise _BadRowError("malformed", f"{what} {short(values)}, expected a list of numbers")
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError) as error:
        raise _BadRowError("malformed", f"{what} {short(values)}, expected numbers") from error
    if not np.isfinite(numbers).all():
        raise _BadRowError("malformed", f"{what} {short(values)}, expected finite numbers")
    return numbers


def _is_side(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_id(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
