"""Pictures as RGB arrays, the same for every command: (H, W, 3) uint8, upright, without alpha.

What comes out, by what goes in:

- Grey is repeated into three channels, a palette looked up, CMYK converted, EXIF rotation undone (of a WebP only
  by a recent OpenCV: 5.0 does, 4.9 does not).
- Alpha is dropped, not composited: that is what training pipelines do, and what the network has seen.
- 16-bit samples keep their high byte (``>> 8``), as PNG's own reduction to 8 bits does. OpenCV rounds those of
  a colour TIFF instead, which differs by one level at most.
- Of an animation or a file of several pages the first picture.

OpenCV before 4.11 decodes a JPEG that was cut off and leaves the rest grey. A picture without its end mark
(JPEG's EOI, PNG's IEND, WebP's length) is therefore refused before decoding; the other formats' decoders refuse
it themselves. Damage inside the pixel data of a JPEG that leaves its structure whole cannot be told from content.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.picture_header import FORMATS, alpha_flag, read_header
from edgeseg.errors import SourceError

Picture = NDArray[np.uint8]

MAX_PIXELS = 200_000_000
"""Largest picture that is decoded: 600 MB of RGB. The largest phone cameras make 200-megapixel pictures."""

PICTURE_SUFFIXES = tuple(sorted(suffix for format_ in FORMATS.values() for suffix in format_.suffixes))
"""File suffixes that count as pictures in a folder, lower case."""

_BYTES_PER_PIXEL = 8
"""Of the largest uncompressed kind, 16-bit RGBA: a longer file cannot hold a picture within the limit."""

_HEADER_BYTES = 1 << 20

_IMAGE_MODES = ("RGB", "RGBA", "RGBX", "L", "1", "P", "PA", "LA", "CMYK", "YCbCr", "LAB", "HSV")
"""Pillow modes with 8 bits or fewer a channel; its conversion of the others clips instead of scaling."""


def read_picture(path: Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in a file.

    Args:
        path: a file of a format in `FORMATS`, told from its bytes and not from its suffix.
        max_pixels: refuse more than this, before decoding.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous.

    Raises:
        SourceError: the file cannot be read, is no supported picture, is broken or too large.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            limit = max_pixels * _BYTES_PER_PIXEL + _HEADER_BYTES
            if size > limit:
                raise SourceError(f"{path}: {size} bytes, expected at most {limit} for {max_pixels} pixels")
            data = file.read()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    return decode_picture(data, str(path), max_pixels)


def decode_picture(data: bytes, where: str, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in encoded bytes.

    Args:
        data: a whole file.
        where: what to call it in an error.
        max_pixels: refuse more than this, before decoding.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous.

    Raises:
        SourceError: no supported picture, a broken or a too large one.
    """
    import cv2

    header = read_header(data, where)
    found = f"{where}: a {header.format} of {header.width}x{header.height} pixels"
    if header.width * header.height > max_pixels:
        raise SourceError(f"{found}, expected at most {max_pixels} pixels", hint="scale it down or cut it into tiles")
    if not header.complete:
        raise SourceError(f"{found} that ends before its end mark", hint="copy or download the file again")
    if header.format == "TIFF":
        data = _keep_colours_under_alpha(data)
    elif header.format == "AVIF":
        _refuse_rotation(data, found)
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise SourceError(f"{found} that OpenCV {cv2.__version__} cannot decode: {error}") from error
    if bgr is None:
        raise SourceError(
            f"{found} that OpenCV {cv2.__version__} cannot decode",
            hint="the file is damaged, or of a kind that this build of OpenCV lacks; try it as a PNG of 8 or 16 bits",
        )
    return _uint8(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def from_array(array: Any, where: str) -> Picture:
    """The picture in an array or Pillow image of the user. **Three channels are RGB**, not OpenCV's BGR.

    Args:
        array: uint8 of shape (H, W) or (H, W, 1) grey, (H, W, 3) RGB or (H, W, 4) RGBA, whose alpha is dropped; or
            a Pillow image, whose pixels are taken as they are: apply `ImageOps.exif_transpose` yourself.
        where: what to call it in an error.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous; the same memory as `array` where it already is that.

    Raises:
        SourceError: another dtype, shape or mode.
    """
    check_array(array, where)
    if is_image(array) and array.mode != "RGB":
        array = array.convert("RGB")
    pixels = np.asarray(array)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels[..., :3])


def check_array(array: Any, where: str) -> None:
    """Raise `SourceError` where `from_array` cannot take `array`; costs no copy.

    Raises:
        SourceError: naming the dtype, shape or mode that was found, and how to make it fit.
    """
    if is_image(array):
        if array.mode not in _IMAGE_MODES:
            raise SourceError(
                f"{where}: a Pillow image of mode {array.mode!r}, expected one of {', '.join(_IMAGE_MODES)}",
                hint="scale it to 8 bits as a NumPy array",
            )
        shape: tuple[int, ...] = (array.height, array.width)
        dtype = np.dtype(np.uint8)
    else:
        pixels = np.asarray(array)
        shape, dtype = pixels.shape, pixels.dtype
    problem = f"{where}: an array of shape {shape} and dtype {dtype}, expected uint8 (H, W, 3) RGB"
    if dtype != np.uint8:
        raise SourceError(problem, hint=_DTYPE_HINTS.get(dtype.kind, "convert it to uint8"))
    if len(shape) == 4:
        raise SourceError(problem, hint="pass a batch as a list of pictures: list(batch)")
    channels = shape[2] if len(shape) == 3 else 1
    if len(shape) not in (2, 3) or channels not in (1, 3, 4):
        channels_first = len(shape) == 3 and shape[0] in (1, 3, 4)
        hint = "move the channels last: array.transpose(1, 2, 0)" if channels_first else "also (H, W) and (H, W, 4)"
        raise SourceError(problem, hint=hint)
    if 0 in shape:
        raise SourceError(problem, hint="it has no pixels")


def is_image(value: Any) -> bool:
    """Whether this is a Pillow image, told without importing Pillow."""
    return hasattr(value, "__array_interface__") and hasattr(value, "mode") and hasattr(value, "convert")


_DTYPE_HINTS = {
    "f": "scale it to 0..255: (array * 255).round().astype(np.uint8) for values in 0..1",
    "u": "keep the high byte of 16 bits: (array >> 8).astype(np.uint8)",
    "i": "array.astype(np.uint8) where the values are in 0..255",
    "b": "array.astype(np.uint8) * 255",
}
"""Remedy by numpy dtype kind."""


def _keep_colours_under_alpha(data: bytes) -> bytes:
    """The same TIFF, its alpha said to be premultiplied, so that libtiff does not multiply the colours by it."""
    at = alpha_flag(data)
    if at is None:
        return data
    return data[:at] + (b"\1\0" if data[:2] == b"II" else b"\0\1") + data[at + 2 :]


def _refuse_rotation(data: bytes, found: str) -> None:
    """Refuse a rotated or mirrored AVIF: OpenCV would give it lying on its side."""
    head = data[: data.find(b"mdat")]
    if b"irot" in head or b"imir" in head:
        raise SourceError(f"{found} with a rotation, which OpenCV ignores", hint="save it upright, or as a JPEG")


def _uint8(array: Any) -> Picture:
    pixels: Picture = array
    return pixels
