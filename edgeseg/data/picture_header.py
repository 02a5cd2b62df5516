"""What the bytes of a picture say before anything is decoded: its format, its size, whether its end is there."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgeseg.errors import SourceError

_SIZED_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers SOF0 to SOF15 without DHT, JPG and DAC (ITU-T T.81, table B.1)."""

_BARE_MARKERS = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
"""JPEG markers without a length: a stuffed byte, TEM, RST0 to RST7, SOI (ITU-T T.81, table B.1)."""

_IMAGE_WIDTH, _IMAGE_LENGTH, _EXTRA_SAMPLES = 256, 257, 338
"""TIFF 6.0 tags."""


@dataclass(frozen=True)
class Header:
    """What a header says.

    Attributes:
        format: name in `FORMATS`.
        width: stored pixels a row, before any rotation.
        height: stored rows.
        complete: False where the file's own end mark is missing; True where the format has none to look for.
    """

    format: str
    width: int
    height: int
    complete: bool = True


@dataclass(frozen=True)
class Format:
    """A format that edgeseg reads.

    Attributes:
        magic: matches the first bytes.
        suffixes: the file suffixes it goes by, lower case.
        parse: bytes to (width, height, complete); raises ValueError, IndexError or struct.error where it cannot.
    """

    magic: re.Pattern[bytes]
    suffixes: tuple[str, ...]
    parse: Callable[[bytes], tuple[int, int, bool]]


_TEXT = re.compile(rb"[\t\n\r\x20-\x7e]+")


def read_header(data: bytes, where: str) -> Header:
    """Format and size of an encoded picture, in microseconds.

    Args:
        data: the whole file.
        where: what to call it in an error.

    Raises:
        SourceError: no bytes, not a supported format, or a damaged header.
    """
    name = format_of(data)
    if name is None:
        raise SourceError(
            f"{where}: {describe(data)}, expected a picture",
            hint=f"supported: {', '.join(FORMATS)}; convert other formats to PNG or JPEG first",
        )
    try:
        width, height, complete = FORMATS[name].parse(data)
    except (ValueError, IndexError, struct.error) as error:
        raise SourceError(f"{where}: a {name} file whose header is damaged or cut short") from error
    if width <= 0 or height <= 0:
        raise SourceError(f"{where}: a {name} header that says {width}x{height} pixels, expected at least 1x1")
    return Header(name, width, height, complete)


def format_of(data: bytes) -> str | None:
    """Name in `FORMATS` of the format whose first bytes these are; None where there is none."""
    return next((name for name, format_ in FORMATS.items() if format_.magic.match(data)), None)


def describe(data: bytes) -> str:
    """What bytes that are no supported picture seem to be, in words."""
    if not data:
        return "an empty file"
    for pattern, name in _FOREIGN:
        if pattern.match(data):
            return name
    return "text" if _TEXT.fullmatch(data[:64]) else f"an unknown format (starts with {data[:8]!r})"


def alpha_flag(data: bytes) -> int | None:
    """Offset of a TIFF's ExtraSamples value where it says that alpha is unassociated (2), else None."""
    entries, order = _tiff_entries(data)
    at = entries.get(_EXTRA_SAMPLES)
    if at is None:
        return None
    (count,) = struct.unpack_from(order + "I", data, at + 4)
    (value,) = struct.unpack_from(order + "H", data, at + 8)
    return at + 8 if count == 1 and value == 2 else None


def _jpeg(data: bytes) -> tuple[int, int, bool]:
    at, width, height = 2, 0, 0
    while True:
        at = data.index(b"\xff", at)
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _BARE_MARKERS:
            at += 2
        elif marker == 0xDA:
            # From here on FF D9 can only be the end mark; before, it may belong to an EXIF thumbnail.
            return width, height, data.rfind(b"\xff\xd9", at) > 0
        else:
            if marker in _SIZED_FRAMES:
                height, width = struct.unpack_from(">HH", data, at + 5)
            at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])


def _png(data: bytes) -> tuple[int, int, bool]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height, data.rfind(b"IEND", 16) > 0


def _bmp(data: bytes) -> tuple[int, int, bool]:
    (header_size,) = struct.unpack_from("<I", data, 14)
    # 12 is the OS/2 header with 16-bit sizes; a negative height says that rows go from top to bottom.
    width, height = struct.unpack_from("<HH" if header_size == 12 else "<ii", data, 18)
    return width, abs(height), True


def _gif(data: bytes) -> tuple[int, int, bool]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height, True


def _webp(data: bytes) -> tuple[int, int, bool]:
    complete = len(data) >= 8 + struct.unpack_from("<I", data, 4)[0]
    kind = data[12:16]
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        return 1 + low_w + (high_w << 16), 1 + low_h + (high_h << 16), complete
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), complete
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF, complete


def _tiff(data: bytes) -> tuple[int, int, bool]:
    entries, order = _tiff_entries(data)
    width, height = (_tiff_number(data, entries[tag], order) for tag in (_IMAGE_WIDTH, _IMAGE_LENGTH))
    return width, height, True


def _tiff_entries(data: bytes) -> tuple[dict[int, int], str]:
    """Tag to offset of its 12-byte entry in the first directory, and the struct prefix of the byte order."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    if len(data) < start + 2 + 12 * count:
        raise ValueError("the first directory is cut short")
    offsets = [start + 2 + 12 * i for i in range(count)]
    found = {int(struct.unpack_from(order + "H", data, at)[0]): at for at in offsets}
    if not found.keys() >= {_IMAGE_WIDTH, _IMAGE_LENGTH}:
        raise ValueError("no size in the first directory")
    return found, order


def _tiff_number(data: bytes, at: int, order: str) -> int:
    (kind,) = struct.unpack_from(order + "H", data, at + 2)
    # Type 3 is a 16-bit number, left-justified in the value field; 4 is a 32-bit one.
    return int(struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 8)[0])


def _boxes(name: bytes, data: bytes, skip: int) -> list[tuple[int, int]]:
    """The two 32-bit numbers that follow `skip` bytes after every box `name` ahead of the pixel data."""
    head = data[: data.find(b"mdat")] if b"mdat" in data[: 1 << 16] else data[: 1 << 16]
    found = [struct.unpack_from(">II", data, match.end() + skip) for match in re.finditer(name, head)]
    if not found:
        raise ValueError("no size box")
    return [(int(first), int(second)) for first, second in found]


def _avif(data: bytes) -> tuple[int, int, bool]:
    # A grid has one box for its tiles and one for the whole.
    sizes = _boxes(b"ispe", data, 4)
    return max(width for width, _ in sizes), max(height for _, height in sizes), True


def _jpeg_2000(data: bytes) -> tuple[int, int, bool]:
    height, width = _boxes(b"ihdr", data, 0)[0]
    return width, height, True


def _pnm(data: bytes) -> tuple[int, int, bool]:
    gap = rb"\s+(?:#[^\n]*\n\s*)*"
    match = re.match(rb"P[1-6]" + gap + rb"(\d{1,9})" + gap + rb"(\d{1,9})\s", data)
    if match is None:
        raise ValueError("no size")
    return int(match[1]), int(match[2]), True


FORMATS: Mapping[str, Format] = {
    "JPEG": Format(re.compile(rb"\xff\xd8\xff"), (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), _jpeg),
    "PNG": Format(re.compile(rb"\x89PNG\r\n\x1a\n"), (".png",), _png),
    "WebP": Format(re.compile(rb"RIFF.{4}WEBPVP8[ LX]", re.DOTALL), (".webp",), _webp),
    "BMP": Format(re.compile(rb"BM.{12}[\x0c-\x7c]\0\0\0", re.DOTALL), (".bmp", ".dib"), _bmp),
    "TIFF": Format(re.compile(rb"II\*\0|MM\0\*"), (".tif", ".tiff"), _tiff),
    "GIF": Format(re.compile(rb"GIF8[79]a"), (".gif",), _gif),
    "AVIF": Format(re.compile(rb".{4}ftypavif", re.DOTALL), (".avif",), _avif),
    "JPEG 2000": Format(re.compile(rb"\0\0\0\x0cjP  "), (".jp2",), _jpeg_2000),
    "PNM": Format(re.compile(rb"P[1-6]\s"), (".pbm", ".pgm", ".ppm", ".pnm"), _pnm),
}
"""The supported formats. OpenCV decodes each; how far GIF and AVIF go depends on how it was built."""

_FOREIGN: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb".{4}ftyp(hei[cfmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL), "a HEIC picture"),
    (re.compile(rb".{4}ftypavis", re.DOTALL), "an animated AVIF"),
    (re.compile(rb".{4}ftyp", re.DOTALL), "an MP4 or QuickTime video"),
    (re.compile(rb"\x1aE\xdf\xa3"), "a Matroska or WebM video"),
    (re.compile(rb"RIFF.{4}AVI ", re.DOTALL), "an AVI video"),
    (re.compile(rb"\0\0\0\x0cJXL |\xff\x0a"), "a JPEG XL picture"),
    (re.compile(rb"II\+\0|MM\0\+"), "a BigTIFF picture"),
    (re.compile(rb"%PDF"), "a PDF"),
    (re.compile(rb"PK\x03\x04"), "a ZIP archive"),
    (re.compile(rb"\s*<(\?xml|svg|!doctype|html)", re.IGNORECASE), "an HTML, XML or SVG text"),
)
"""Common things that are no supported picture, so that an error can name them."""
