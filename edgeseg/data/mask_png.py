"""Mask PNGs as Pascal VOC has them, one value or colour an instance, as a data set.

What a pixel belongs to is its palette index, its grey value (8 or 16 bits) or its colour. Background is 0 or black.
Pascal's void, the border around objects, is palette index 255 and the colour (224, 224, 192); it belongs to nothing.
A grey 255 is an instance: many tools write one object as 255.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeseg import rle
from edgeseg.data.convert_options import ConvertOptions
from edgeseg.data.dataset import Dataset
from edgeseg.data.index import IndexBuilder, posix
from edgeseg.data.notes import Notes
from edgeseg.data.picture import PICTURE_SUFFIXES, read_picture
from edgeseg.data.picture_header import read_header
from edgeseg.data.picture_size import picture_size
from edgeseg.errors import SourceError, UsageError
from edgeseg.instances import CroppedMask

Values = NDArray[np.int64]

OBJECTS, CLASSES, PICTURES, LISTS = "SegmentationObject", "SegmentationClass", "JPEGImages", "ImageSets/Segmentation"
"""Folders of Pascal VOC (host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html, section 3)."""

CLASS_FILE = "class_names.txt"
"""One name a line for class 0 (the background), 1, 2 ...: LabelMe's export writes it beside the folders."""

VOC20 = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""Classes 1 to 20 of Pascal VOC, which ``--class voc20`` stands for."""

VOID_INDEX = 255
VOID_COLOUR = (224 << 16) + (224 << 8) + 192

_PALETTE, _GREY = 3, 0
"""PNG colour types (RFC 2083, section 4.1.1)."""


def open_masks(folder: Path, options: ConvertOptions) -> dict[str, Dataset]:
    """The set in a folder with `SegmentationObject`, or in a folder of mask PNGs.

    Classes are those of the pixels in `SegmentationClass`; without that folder all objects are of one class.

    Raises:
        SourceError: no masks, a mask that cannot be read, a picture that is not there.
        UsageError: the classes have no names.
    """
    masks = folder / OBJECTS if (folder / OBJECTS).is_dir() else folder
    top = masks.parent if masks.name == OBJECTS else masks
    classes = top / CLASSES if (top / CLASSES).is_dir() else None
    names = _names(top, classes, options)
    places = [options.images] if options.images else [top / PICTURES, top / "images", masks]
    parts = {}
    for part, files in _parts(masks, top, options):
        notes, builder = Notes(), IndexBuilder(names)
        for number, file in enumerate(files, start=1):
            picture = _picture(file, places)
            builder.picture(posix(picture.absolute()), number, picture_size(picture))
            _add(builder, file, classes, notes, picture_size(picture))
        parts[part] = Dataset(builder.build(notes.said()), top.absolute(), folder, "masks")
    return parts


def _parts(masks: Path, top: Path, options: ConvertOptions) -> Iterator[tuple[str, list[Path]]]:
    lists = {file.stem: file for file in sorted((top / LISTS).glob("*.txt")) if file.stem in ("train", "val", "test")}
    if lists:
        for part in options.splits or tuple(lists):
            if part not in lists:
                raise UsageError(f"{top}: no split {part!r}", hint=f"it has {', '.join(lists)}")
            stems = lists[part].read_text(encoding="utf-8").split()
            yield part, [masks / f"{stem}.png" for stem in stems]
        return
    files = sorted(masks.glob("*.png"))
    if not files:
        raise SourceError(f"{masks}: no mask PNGs in it, expected one for each picture")
    yield options.part_of(top), files


def _names(top: Path, classes: Path | None, options: ConvertOptions) -> tuple[str, ...]:
    if options.classes:
        return VOC20 if options.classes == ("voc20",) else options.classes
    file = top / CLASS_FILE
    if classes is not None and file.is_file():
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        # LabelMe lists what is ignored (-1) before the background.
        return tuple(lines[lines.index("__ignore__") + 2 :] if "__ignore__" in lines else lines[1:])
    if classes is None:
        raise UsageError(f"{top}: no folder {CLASSES}, and no class of all objects", hint="name it: --class NAME")
    raise UsageError(
        f"{top}: {CLASSES} numbers its classes, and no {CLASS_FILE} names them",
        hint="name those from 1 on: --class NAME --class NAME ..., or --class voc20 for those of Pascal VOC",
    )


def _picture(mask: Path, places: Sequence[Path]) -> Path:
    """The picture of a mask: of the same stem, and not the mask itself."""
    for place in places:
        for suffix in PICTURE_SUFFIXES:
            picture = place / (mask.stem + suffix)
            if picture != mask and picture.is_file():
                return picture
    raise SourceError(
        f"{mask}: no picture {mask.stem}.* in any of " + ", ".join(str(place) for place in places),
        hint="name the pictures' folder: --images DIR",
    )


def _add(builder: IndexBuilder, file: Path, classes: Path | None, notes: Notes, size: tuple[int, int]) -> None:
    values = read_values(file)
    if values.shape != size:
        raise SourceError(f"{file}: a mask of (height, width) {values.shape}, expected its picture's {size}")
    class_map = None if classes is None else _class_map(classes / file.name, size)
    for mask in instances_of(values):
        class_id = 0 if class_map is None else _class_under(mask, class_map)
        if class_id is None:
            notes.count("objects without a class under them: left out")
        elif class_id >= len(builder.names):
            raise UsageError(
                f"{file}: an object of class {class_id + 1}, expected 1..{len(builder.names)}",
                hint=f"the names are {', '.join(builder.names)}; each --class adds one",
            )
        else:
            builder.mask(class_id, rle.encode(mask.bitmap, (mask.top, mask.left), size))


def instances_of(values: Values) -> Iterator[CroppedMask]:
    """A mask for each value above 0, in the order of the values.

    Args:
        values: (H, W) int64.
    """
    inside = np.flatnonzero(values)
    found = values.ravel()[inside]
    order = np.argsort(found, kind="stable")
    _, starts = np.unique(found[order], return_index=True)
    for pixels in np.split(inside[order], starts[1:]) if len(inside) else []:
        rows, columns = np.divmod(pixels, values.shape[1])
        top, left = int(rows.min()), int(columns.min())
        bitmap = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1), bool)
        bitmap[rows - top, columns - left] = True
        yield CroppedMask(bitmap, top, left)


def read_values(path: Path) -> Values:
    """What each pixel of a mask PNG belongs to, (H, W) int64; 0 is background and void.

    Raises:
        SourceError: it cannot be read, or is no PNG.
    """
    import cv2

    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    if read_header(data, str(path)).format != "PNG":
        raise SourceError(f"{path}: no PNG, expected one: other formats change the values", hint="draw the masks anew")
    depth, colour_type = data[24], data[25]
    if colour_type == _PALETTE:
        data = _without_palette(data)
    if colour_type not in (_PALETTE, _GREY):
        red, green, blue = np.moveaxis(read_picture(path).astype(np.int64), 2, 0)
        values = (red << 16) + (green << 8) + blue
        return np.where(values == VOID_COLOUR, 0, values)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 2:
        raise SourceError(f"{path}: a PNG that cannot be decoded")
    values = pixels.astype(np.int64)
    if depth < 8:
        # A decoder stretches the values of 1, 2 and 4 bits to 0..255.
        values //= 255 // (2**depth - 1)
    return np.where(values == VOID_INDEX, 0, values) if colour_type == _PALETTE else values


def voc_colour(index: int) -> tuple[int, int, int]:
    """Red, green and blue of an index in Pascal VOC's palette (VOCcolormap.m of its development kit)."""
    red = green = blue = 0
    for shift in range(7, -1, -1):
        red |= (index & 1) << shift
        green |= (index >> 1 & 1) << shift
        blue |= (index >> 2 & 1) << shift
        index >>= 3
    return red, green, blue


def _class_map(path: Path, size: tuple[int, int]) -> Values:
    """Class number of each pixel, from 1; 0 is background and void."""
    values = read_values(path)
    if values.shape != size:
        raise SourceError(f"{path}: (height, width) {values.shape}, expected the picture's {size}")
    if path.read_bytes()[25] in (_PALETTE, _GREY):
        return values
    numbers = {(r << 16) + (g << 8) + b: number for number, (r, g, b) in enumerate(map(voc_colour, range(256)))}
    colours, places = np.unique(values, return_inverse=True)
    unknown = [colour for colour in colours.tolist() if colour not in numbers]
    if unknown:
        raise SourceError(f"{path}: the colour #{unknown[0]:06x} is none of Pascal VOC's", hint="use a palette PNG")
    return np.array([numbers[colour] for colour in colours.tolist()])[places].reshape(values.shape)


def _class_under(mask: CroppedMask, class_map: Values) -> int | None:
    """Class id that most of the mask's pixels have; None where none has a class."""
    found = class_map[mask.window][mask.bitmap]
    number = np.bincount(found[found > 0]).argmax() if (found > 0).any() else 0
    return int(number) - 1 if number else None


def _without_palette(png: bytes) -> bytes:
    """The same PNG as one of grey values that are the palette's indices; OpenCV gives the colours alone."""
    # IHDR is the first chunk; its data begin at byte 16, and the colour type is at 25.
    header = b"IHDR" + png[16:25] + bytes([_GREY]) + png[26:29]
    start = png[:12] + header + struct.pack(">I", zlib.crc32(header))
    chunks, at = [start], 33
    while at + 8 <= len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind = png[at + 4 : at + 8]
        if re.fullmatch(rb"IDAT|IEND", kind):
            chunks.append(png[at : at + 12 + length])
        at += 12 + length
    return b"".join(chunks)
