"""A folder of LabelMe json files, one a picture, as a data set.

The format is that of LabelMe 3 to 5, https://github.com/wkentaro/labelme, as its files show it.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from math import dist
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg import rle
from edgeseg.data.convert_options import ConvertOptions
from edgeseg.data.dataset import Dataset
from edgeseg.data.index import IndexBuilder, posix
from edgeseg.data.notes import Notes
from edgeseg.data.picture_size import picture_size
from edgeseg.data.rasterise import Floats, rasterise
from edgeseg.data.shapes import ellipse, rectangle
from edgeseg.errors import SourceError, UsageError, did_you_mean
from edgeseg.rle import Rle

AREAS = ("polygon", "rectangle", "circle", "mask")
"""Shape types that have an area; all others (points and lines) are left out, and counted."""


def open_labelme(folder: Path, options: ConvertOptions) -> dict[str, Dataset]:
    """The set in a folder and those below it. Shapes of one label and one group id are parts of one object.

    Raises:
        SourceError: no LabelMe files, a file that cannot be read, or a picture that is not there.
        UsageError: a label that is not one of the classes that were given.
    """
    notes = Notes()
    files = {path: content for path, content in _contents(folder, notes) if content["shapes"] is not None}
    if not files:
        raise SourceError(f"{folder}: no LabelMe files in it, expected .json files with `shapes`")
    labels = {str(shape.get("label")) for content in files.values() for shape in content["shapes"]}
    names = options.classes or tuple(sorted(labels))
    for label in sorted(labels.difference(names)):
        raise UsageError(f"{folder}: the label {label!r} is no --class", hint=did_you_mean(label, names))
    builder = IndexBuilder(names)
    for number, (path, content) in enumerate(files.items(), start=1):
        picture = _picture(path, content, options.images)
        size = picture_size(picture)
        stated = content.get("imageHeight"), content.get("imageWidth")
        if stated not in (size, (None, None)):
            raise SourceError(f"{path}: drawn on a picture of (height, width) {stated}, but {picture} is of {size}")
        builder.picture(posix(picture.relative_to(folder) if folder in picture.parents else picture), number, size)
        for (label, _), shapes in _objects(content["shapes"]).items():
            _add(builder, names.index(label), list(_areas(shapes, size, path, notes)), size)
    return {options.part_of(folder): Dataset(builder.build(notes.said()), folder, folder, "labelme")}


def _contents(folder: Path, notes: Notes) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.rglob("*.json")):
        try:
            content = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{path}: no JSON that can be read: {error}") from error
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            notes.count("json files without shapes: left out")
            continue
        content.pop("imageData", None)
        yield path, content


def _picture(path: Path, content: Mapping[str, Any], images: Path | None) -> Path:
    named = str(content.get("imagePath") or "").replace("\\", "/")
    tried = [images / Path(named).name] if images else [path.parent / named, path.parent / Path(named).name]
    for picture in tried:
        if named and picture.is_file():
            return picture
    raise SourceError(
        f"{path}: its picture is none of {', '.join(str(place) for place in dict.fromkeys(tried))}",
        hint="name its folder: --images DIR; a picture that is only embedded as imageData is not read",
    )


def _objects(shapes: list[dict[str, Any]]) -> dict[tuple[str, Any], list[dict[str, Any]]]:
    """Shapes by object: label, and group id or, without one, a number of their own."""
    objects: dict[tuple[str, Any], list[dict[str, Any]]] = {}
    for number, shape in enumerate(shapes):
        group = shape.get("group_id")
        objects.setdefault((str(shape.get("label")), ("alone", number) if group is None else group), []).append(shape)
    return objects


def _areas(shapes: list[dict[str, Any]], size: tuple[int, int], path: Path, notes: Notes) -> Iterator[Floats | Rle]:
    for shape in shapes:
        kind = shape.get("shape_type") or "polygon"
        if kind not in AREAS:
            notes.count(f"shapes of type {kind}, which have no area: left out")
            continue
        try:
            points = np.array(shape["points"], np.float64).reshape(-1, 2)
            if not np.isfinite(points).all():
                raise ValueError("points that are not finite")
            area = _mask(shape, points, size) if kind == "mask" else _ring(kind, points)
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise SourceError(f"{path}: a {kind} that cannot be read: {error!r}") from error
        if area is None:
            notes.count("polygons of fewer than three points: left out")
        else:
            yield area


def _ring(kind: str, points: Floats) -> Floats | None:
    if kind == "rectangle" and len(points) == 2:
        return rectangle(*points.ravel().tolist())
    if kind == "circle":
        centre, edge = points.tolist()
        radius = dist(centre, edge)
        return ellipse((centre[0], centre[1]), (radius, radius))
    return points if len(points) >= 3 else None


def _mask(shape: Mapping[str, Any], points: Floats, size: tuple[int, int]) -> Rle:
    """A PNG of the box between two points, both inside."""
    import cv2

    data = np.frombuffer(base64.b64decode(shape["mask"], validate=True), np.uint8)
    crop = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    if crop is None:
        raise ValueError("its `mask` is no PNG")
    left, top = (int(value) for value in points[0].round())
    if left < 0 or top < 0:
        raise ValueError(f"its box begins at {left}, {top}, expected a place in the picture")
    return rle.encode(np.asarray(crop, np.uint8)[: size[0] - top, : size[1] - left], (top, left), size)


def _add(builder: IndexBuilder, class_id: int, areas: list[Floats | Rle], size: tuple[int, int]) -> None:
    rings = [area for area in areas if isinstance(area, np.ndarray)]
    if rings and len(rings) == len(areas):
        builder.polygons(class_id, rings)
    elif areas:
        masks = [rasterise([area], size) if isinstance(area, np.ndarray) else area for area in areas]
        union = np.logical_or.reduce([rle.decode(mask) for mask in masks])
        builder.mask(class_id, rle.encode(union, (0, 0), size))
