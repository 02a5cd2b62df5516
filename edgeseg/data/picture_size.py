"""The upright size of a picture file, from its first bytes.

`edgeseg.data.picture` turns pictures upright by their EXIF orientation, so labels that are parts of the width and
height are parts of the upright ones.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

from edgeseg.data.picture_header import Header, read_header
from edgeseg.errors import SourceError

FIRST_BYTES = 1 << 14
"""Enough for most headers; a file whose header is longer is read whole."""

_ORIENTATION = 274
"""EXIF tag; values 5 to 8 are those that swap width and height (CIPA DC-008, section 4.6.4)."""

_EXIF = {"JPEG": re.compile(rb"Exif\0\0(?=II\*\0|MM\0\*)"), "PNG": re.compile(rb"eXIf(?=II\*\0|MM\0\*)"),
         "WebP": re.compile(rb"EXIF.{4}(?:Exif\0\0)?(?=II\*\0|MM\0\*)", re.DOTALL)}  # fmt: skip
"""What stands before the TIFF block of EXIF, by format."""

_WEBP_HAS_EXIF = 0x08
"""Flag in byte 20 of an extended WebP, whose EXIF comes after the pixels (RFC 9649, section 2.7)."""


def picture_size(path: Path | str) -> tuple[int, int]:
    """(height, width) of the upright picture, px, without decoding it.

    EXIF after the pixels of a PNG is not looked for.

    Raises:
        SourceError: the file cannot be read or is no supported picture.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(FIRST_BYTES)
            try:
                header = read_header(data, str(path))
                if not _needs_all(header, data):
                    return _upright(header, data)
            except SourceError:
                if len(data) < FIRST_BYTES:
                    raise
            data += file.read()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    return _upright(read_header(data, str(path)), data)


def _needs_all(header: Header, data: bytes) -> bool:
    if len(data) < FIRST_BYTES:
        return False
    return header.format == "TIFF" or (
        header.format == "WebP" and data[12:16] == b"VP8X" and bool(data[20] & _WEBP_HAS_EXIF)
    )


def _upright(header: Header, data: bytes) -> tuple[int, int]:
    if _orientation(header.format, data) >= 5:
        return header.width, header.height
    return header.height, header.width


def _orientation(format_: str, data: bytes) -> int:
    """1 to 8; 1, which is upright, where nothing says otherwise."""
    if format_ == "TIFF":
        return _in_tiff(data)
    found = _EXIF[format_].search(data) if format_ in _EXIF else None
    return _in_tiff(data[found.end() :]) if found else 1


def _in_tiff(data: bytes) -> int:
    order = "<" if data[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(order + "HHIH", data, at)
            if tag == _ORIENTATION:
                return int(value)
    except struct.error:
        return 1
    return 1
