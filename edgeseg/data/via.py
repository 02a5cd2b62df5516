"""A json of the VGG Image Annotator, version 1 or 2, as a data set.

Both its projects and its exported annotations (https://www.robots.ox.ac.uk/~vgg/software/via/) are read. Angles of
ellipses are radians.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.data.coco import find_images
from edgeseg.data.convert_options import ConvertOptions
from edgeseg.data.dataset import Dataset
from edgeseg.data.index import IndexBuilder, posix
from edgeseg.data.notes import Notes
from edgeseg.data.picture_size import picture_size
from edgeseg.data.rasterise import Floats
from edgeseg.data.shapes import ellipse, rectangle
from edgeseg.errors import SourceError, UsageError, did_you_mean

Region = tuple[Mapping[str, Any], Mapping[str, Any]]
"""Shape attributes and region attributes."""


def open_via(path: Path, options: ConvertOptions) -> dict[str, Dataset]:
    """The set in a VIA json; the class of a region is one of its attributes.

    Raises:
        SourceError: no VIA json, a region that cannot be read, or pictures that are not there.
        UsageError: which attribute is the class is not clear, or a class is none of those that were given.
    """
    rows = _rows(path)
    regions = {name: _regions(row, path) for name, row in rows.items()}
    attribute = _attribute(regions, options, path)
    classes = {_class_of(attributes, attribute) for found in regions.values() for _, attributes in found}
    names = options.classes or tuple(sorted(classes - {""}))
    if attribute:
        for name in sorted(classes.difference(names) - {""}):
            raise UsageError(f"{path}: {attribute} {name!r} is no --class", hint=did_you_mean(name, names))
    root = find_images(path, list(rows), options.images)
    notes, builder = Notes(), IndexBuilder(names)
    for number, (name, found) in enumerate(regions.items(), start=1):
        builder.picture(posix(name), number, picture_size(root / name))
        for shape, attributes in found:
            name_of_class = _class_of(attributes, attribute) if attribute else names[0]
            ring = _ring(shape, f"{path}: {name}", notes)
            if not name_of_class:
                notes.count(f"regions without {attribute}: left out")
            elif ring is not None:
                builder.polygons(names.index(name_of_class), [ring])
    return {options.part_of(path): Dataset(builder.build(notes.said()), root, path, "via")}


def _rows(path: Path) -> dict[str, Mapping[str, Any]]:
    """A row for each picture, by file name."""
    try:
        content = json.loads(path.read_bytes())
        if "_via_img_metadata" in content:
            content = content["_via_img_metadata"]
        rows = list(content.values())
        if rows and all("regions" in row for row in rows):
            return {row["filename"]: row for row in rows}
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{path}: no VIA json that can be read: {error!r}") from error
    raise SourceError(f"{path}: no VIA json, expected a project or annotations of version 1 or 2 with `regions`")


def _regions(row: Mapping[str, Any], path: Path) -> list[Region]:
    # Version 1 numbers the regions in an object, version 2 has a list.
    found = row["regions"]
    try:
        return [
            (region["shape_attributes"], region["region_attributes"])
            for region in (found.values() if isinstance(found, dict) else found)
        ]
    except (KeyError, TypeError) as error:
        raise SourceError(f"{path}: {row['filename']}: a region that cannot be read: {error!r}") from error


def _attribute(regions: Mapping[str, list[Region]], options: ConvertOptions, path: Path) -> str:
    """The attribute that holds the class; empty where one class was given for all."""
    there = {key for found in regions.values() for _, attributes in found for key in attributes}
    if options.attribute:
        if options.attribute not in there:
            raise UsageError(f"{path}: no attribute {options.attribute!r}", hint=did_you_mean(options.attribute, there))
        return options.attribute
    if len(options.classes) == 1:
        return ""
    if len(there) == 1:
        return there.pop()
    hint = f"name it: --attribute, one of {', '.join(sorted(there))}" if there else "name the one class: --class NAME"
    raise UsageError(f"{path}: {len(there)} region attributes, expected one that holds the class", hint=hint)


def _class_of(attributes: Mapping[str, Any], attribute: str) -> str:
    value = attributes.get(attribute, "")
    if isinstance(value, dict):
        # A checkbox: what is ticked.
        value = "+".join(sorted(key for key, ticked in value.items() if ticked))
    return str(value).strip()


def _ring(shape: Mapping[str, Any], where: str, notes: Notes) -> Floats | None:
    kind = shape.get("name")
    make = _RINGS.get(str(kind))
    if make is None:
        notes.count(f"regions of type {kind}, which have no area: left out")
        return None
    try:
        ring: Floats = make(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{where}: a {kind} that cannot be read: {error!r}") from error
    if len(ring) < 3:
        notes.count("polygons of fewer than three points: left out")
        return None
    return ring


def _numbers(shape: Mapping[str, Any], *keys: str) -> list[float]:
    numbers = [float(shape[key]) for key in keys]
    if not all(map(isfinite, numbers)):
        raise ValueError(f"{keys}: {numbers}, expected finite numbers")
    return numbers


def _polygon(shape: Mapping[str, Any]) -> Floats:
    points = np.array([shape["all_points_x"], shape["all_points_y"]], np.float64).T
    if not np.isfinite(points).all():
        raise ValueError("points that are not finite")
    return points


def _rectangle(shape: Mapping[str, Any]) -> Floats:
    x, y, width, height = _numbers(shape, "x", "y", "width", "height")
    return rectangle(x, y, x + width, y + height)


def _circle(shape: Mapping[str, Any]) -> Floats:
    x, y, radius = _numbers(shape, "cx", "cy", "r")
    return ellipse((x, y), (radius, radius))


def _ellipse(shape: Mapping[str, Any]) -> Floats:
    x, y, first, second = _numbers(shape, "cx", "cy", "rx", "ry")
    return ellipse((x, y), (first, second), float(shape.get("theta", 0)))


_RINGS = {"polygon": _polygon, "rect": _rectangle, "circle": _circle, "ellipse": _ellipse}
"""Shapes with an area; points and lines have none."""
