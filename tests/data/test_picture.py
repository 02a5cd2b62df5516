"""Pictures against Pillow, an independent reader: every format, every rotation, everything broken."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgeseg.data.picture import PICTURE_SUFFIXES, check_array, decode_picture, from_array, read_picture
from edgeseg.data.picture_header import FORMATS, read_header
from edgeseg.errors import SourceError


def photo(mode: str = "RGB", size: tuple[int, int] = (37, 23)) -> Image.Image:
    """A picture that differs from each of its rotations, with soft gradients that JPEG keeps."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([255 * x / max(width - 1, 1), 255 * y / max(height - 1, 1), np.full_like(x, 60)], axis=-1)
    return Image.fromarray(rgb.round().astype(np.uint8)).convert(mode)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def needs_opencv_with(kind: str) -> None:
    """Skip where the installed OpenCV was built without a format (GIF came with 4.11)."""
    if kind in ("GIF", "AVIF") and f" {kind}: " not in cv2.getBuildInformation():
        pytest.skip(f"OpenCV {cv2.__version__} here has no {kind}")


def pillow_rgb(data: bytes) -> NDArray[np.int64]:
    image: Image.Image = Image.open(io.BytesIO(data))
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(np.int64)


def distance(picture: NDArray[Any], expected: NDArray[Any]) -> int:
    assert picture.shape == expected.shape
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    return int(np.abs(picture.astype(np.int64) - expected).max())


LOSSLESS = [
    (mode, kind)
    for mode, kinds in {
        "1": "PNG TIFF BMP GIF PPM",
        "L": "PNG TIFF BMP GIF PPM JPEG2000",
        "P": "PNG TIFF BMP GIF",
        "LA": "PNG TIFF",
        "RGB": "PNG TIFF BMP PPM JPEG2000",
        "RGBA": "PNG TIFF",
        "CMYK": "TIFF",
    }.items()
    for kind in kinds.split()
]


@pytest.mark.parametrize(("mode", "kind"), LOSSLESS, ids=[f"{mode}-{kind}" for mode, kind in LOSSLESS])
def test_decode_picture_equals_pillow_when_lossless(mode: str, kind: str) -> None:
    needs_opencv_with(kind)
    options = {"irreversible": False} if kind == "JPEG2000" else {}
    data = encode(photo(mode), kind, **options)
    assert distance(decode_picture(data, "x"), pillow_rgb(data)) == 0


@pytest.mark.parametrize(
    ("kind", "mode", "options", "tolerance"),
    [
        ("JPEG", "RGB", {"quality": 95}, 2),
        ("JPEG", "RGB", {"quality": 90, "progressive": True}, 2),
        ("JPEG", "L", {"quality": 90}, 2),
        ("JPEG", "CMYK", {"quality": 95}, 2),
        ("WEBP", "RGB", {"quality": 90}, 3),
        ("WEBP", "RGB", {"lossless": True}, 0),
        ("WEBP", "RGBA", {"lossless": True}, 0),
        ("AVIF", "RGB", {"quality": 90}, 3),
    ],
    ids=["jpeg", "progressive", "grey-jpeg", "cmyk-jpeg", "webp", "webp-lossless", "webp-alpha", "avif"],
)
def test_decode_picture_is_close_to_pillow_when_lossy(
    kind: str, mode: str, options: dict[str, Any], tolerance: int
) -> None:
    needs_opencv_with(kind)
    data = encode(photo(mode), kind, **options)
    assert distance(decode_picture(data, "x"), pillow_rgb(data)) <= tolerance


def test_decode_picture_inverts_cmyk_when_jpeg_has_no_adobe_marker() -> None:
    """Pillow reads both ways of CMYK JPEG as inverted; so does OpenCV."""
    data = encode(photo("CMYK"), "JPEG", quality=95)
    at = data.index(b"\xff\xee")
    stripped = data[:at] + data[at + 2 + struct.unpack_from(">H", data, at + 2)[0] :]
    assert b"Adobe" in data and b"Adobe" not in stripped
    assert distance(decode_picture(stripped, "x"), pillow_rgb(stripped)) <= 2
    assert distance(decode_picture(data, "x"), np.asarray(photo()).astype(np.int64)) <= 12


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_picture_turns_upright_as_pillow_does(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photo(), kind, exif=exif, lossless=True)
    assert distance(decode_picture(data, "x"), pillow_rgb(data)) <= 2
    assert decode_picture(data, "x").shape == ((23, 37, 3) if orientation < 5 else (37, 23, 3))


def test_decode_picture_refuses_avif_when_rotated() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with pytest.raises(SourceError, match="rotation, which OpenCV ignores"):
        decode_picture(encode(photo(), "AVIF", exif=exif), "x")


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_decode_picture_drops_alpha_instead_of_compositing(kind: str) -> None:
    image = photo("RGBA")
    image.putalpha(40)
    data = encode(image, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert distance(decode_picture(data, "x"), np.asarray(photo()).astype(np.int64)) == 0


def test_decode_picture_drops_alpha_when_tiff_is_big_endian() -> None:
    """A TIFF written by hand: RGBA, unassociated alpha, Motorola byte order."""
    fields = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 4, 0), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 0)]
    fields += [(277, 3, 1, 4), (278, 3, 1, 1), (279, 4, 1, 4), (338, 3, 1, 2)]
    after = 8 + 2 + 12 * len(fields) + 4
    values = {258: after, 273: after + 8}
    directory = b"".join(
        struct.pack(">HHI", tag, kind, count)
        + (struct.pack(">I", values.get(tag, value)) if kind == 4 or count > 2 else struct.pack(">HH", value, 0))
        for tag, kind, count, value in fields
    )
    data = b"MM\0*" + struct.pack(">IH", 8, len(fields)) + directory + bytes(4) + struct.pack(">4H", 8, 8, 8, 8)
    data += bytes([200, 100, 50, 10])
    assert np.asarray(Image.open(io.BytesIO(data))).tolist() == [[[200, 100, 50, 10]]]
    assert decode_picture(data, "x").tolist() == [[[200, 100, 50]]]


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "colour"])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_decode_picture_keeps_the_high_byte_of_16_bits(suffix: str, channels: int) -> None:
    values = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    stored = values if channels == 1 else np.dstack([values] * 3)
    picture = decode_picture(cv2.imencode(suffix, stored)[1].tobytes(), "x")
    expected = np.dstack([values >> 8] * 3).astype(np.int64)
    assert distance(picture, expected) <= (1 if (suffix, channels) == (".tiff", 3) else 0)


def test_decode_picture_takes_the_first_frame_of_an_animation() -> None:
    needs_opencv_with("GIF")
    first, second = photo("P"), photo("P").transpose(Image.Transpose.ROTATE_180)
    data = encode(first, "GIF", save_all=True, append_images=[second])
    assert distance(decode_picture(data, "x"), np.asarray(first.convert("RGB")).astype(np.int64)) == 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM"])
def test_decode_picture_reads_a_single_pixel(kind: str) -> None:
    needs_opencv_with(kind)
    assert decode_picture(encode(Image.new("L", (1, 1), 7), kind), "x").tolist() == [[[7, 7, 7]]]


HEADERS = [("JPEG", {}), ("PNG", {}), ("BMP", {}), ("WEBP", {}), ("WEBP", {"lossless": True}), ("TIFF", {})]
HEADERS += [("GIF", {}), ("AVIF", {}), ("JPEG2000", {}), ("PPM", {})]


@pytest.mark.parametrize(("kind", "options"), HEADERS, ids=[f"{k}{'-lossless' * bool(o)}" for k, o in HEADERS])
def test_read_header_gives_the_size_of_any_format(kind: str, options: dict[str, Any]) -> None:
    header = read_header(encode(photo(size=(301, 270)), kind, **options), "x")
    assert (header.width, header.height, header.complete) == (301, 270, True)


def test_read_header_gives_the_canvas_when_webp_is_extended() -> None:
    data = encode(photo("RGBA", (301, 270)), "WEBP", exif=b"Exif\0\0" + bytes(8))
    assert data[12:16] == b"VP8X"
    header = read_header(data, "x")
    assert (header.width, header.height) == (301, 270)


@pytest.mark.parametrize("kind", ["JPEG", "PROGRESSIVE", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.97], ids=["start", "half", "nearly-all"])
def test_decode_picture_refuses_a_cut_off_file(kind: str, kept: float) -> None:
    image = photo(size=(400, 300)).convert("P" if kind == "GIF" else "RGB")
    data = encode(image, "JPEG", progressive=True) if kind == "PROGRESSIVE" else encode(image, kind)
    with pytest.raises(SourceError, match=r"^cut\.x: "):
        decode_picture(data[: int(len(data) * kept)], "cut.x")


def test_decode_picture_refuses_a_cut_off_jpeg_when_its_thumbnail_has_an_end_mark() -> None:
    thumbnail = encode(photo(), "JPEG")
    exif = b"Exif\0\0" + thumbnail
    data = encode(photo(size=(400, 300)), "JPEG", exif=exif)
    assert read_header(data, "x").complete
    assert not read_header(data[:-100], "x").complete
    with pytest.raises(SourceError, match="ends before its end mark"):
        decode_picture(data[:-100], "x")


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"tail" * 100], ids=["zeros", "other"])
def test_decode_picture_accepts_bytes_after_the_end_of_a_jpeg(tail: bytes) -> None:
    data = encode(photo(), "JPEG")
    assert np.array_equal(decode_picture(data + tail, "x"), decode_picture(data, "x"))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (b"hello, I am no picture\n", "text"),
        (b"<!DOCTYPE html><html>404", "an HTML"),
        (b"%PDF-1.7", "a PDF"),
        (b"\0\0\0\x18ftypheic", "a HEIC picture"),
        (b"\0\0\0\x18ftypisom", "MP4"),
        (bytes(100), "an unknown format"),
        (b"\xff\xd8\xff", "JPEG file whose header is damaged"),
        (b"II*\0\xff\xff\xff\xff", "TIFF file whose header is damaged"),
        (b"P6\nwide high\n255\n", "PNM file whose header is damaged"),
    ],
    ids=["empty", "text", "html", "pdf", "heic", "mp4", "zeros", "jpeg-start", "tiff-start", "pnm-words"],
)
def test_decode_picture_says_what_it_found(data: bytes, found: str) -> None:
    with pytest.raises(SourceError, match=found) as caught:
        decode_picture(data, "holiday.jpg")
    assert caught.value.message.startswith("holiday.jpg: ")


def test_every_prefix_of_every_format_is_a_source_error_or_a_picture() -> None:
    for kind in ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM"):
        data = encode(photo(), kind)
        for end in range(0, min(len(data), 400)):
            with pytest.raises(SourceError):
                # Without a single pixel allowed, nothing is decoded: the header parsers alone must hold.
                decode_picture(data[:end], "x", max_pixels=0)


def test_decode_picture_refuses_a_bomb_before_decoding() -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    with pytest.raises(SourceError, match=r"30000x30000 pixels, expected at most 200000000 pixels"):
        decode_picture(bomb, "x")


def test_decode_picture_takes_exactly_the_limit_of_pixels() -> None:
    data = encode(photo(size=(20, 10)), "PNG")
    assert decode_picture(data, "x", max_pixels=200).shape == (10, 20, 3)
    with pytest.raises(SourceError, match="at most 199 pixels"):
        decode_picture(data, "x", max_pixels=199)


def test_read_picture_reads_any_file_name(tmp_path: Path) -> None:
    path = tmp_path / "straße 東京 [1].jpg"
    path.write_bytes(encode(photo(), "PNG"))
    assert distance(read_picture(path), np.asarray(photo()).astype(np.int64)) == 0


def test_read_picture_names_the_file_when_it_is_absent_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.jpg: cannot be read: No such file"):
        read_picture(tmp_path / "gone.jpg")
    with pytest.raises(SourceError, match="cannot be read: Is a directory"):
        read_picture(tmp_path)


def test_read_picture_refuses_a_file_that_no_picture_can_fill(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    path.write_bytes(encode(photo(), "PNG"))
    os.truncate(path, 2 << 30)
    with pytest.raises(SourceError, match="2147483648 bytes, expected at most"):
        read_picture(path)


@pytest.mark.parametrize(("name", "shape"), [("bus.jpg", (1080, 810, 3)), ("zidane.jpg", (720, 1280, 3))])
def test_read_picture_equals_pillow_on_photos(shared: Path, name: str, shape: tuple[int, ...]) -> None:
    path = shared / "media" / name
    picture = read_picture(path)
    assert picture.shape == shape
    assert distance(picture, pillow_rgb(path.read_bytes())) <= 3


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3), (5, 4, 4), (3, 7, 3)], ids=str)
def test_from_array_gives_rgb(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    picture = from_array(array, "x")
    assert picture.shape == (*shape[:2], 3)
    first = np.atleast_1d(array[2, 3])
    assert picture[2, 3].tolist() == (list(first[:3]) if len(first) > 1 else [first[0]] * 3)


def test_from_array_copies_only_when_it_must() -> None:
    array = np.zeros((4, 5, 3), np.uint8)
    assert np.shares_memory(from_array(array, "x"), array)
    assert from_array(array[:, ::-1], "x").flags.c_contiguous


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr", "HSV"])
def test_from_array_takes_pillow_images_as_pillow_converts_them(mode: str) -> None:
    image = photo(mode)
    assert np.array_equal(from_array(image, "x"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("array", "remedy"),
    [
        (np.zeros((4, 5, 3), np.float32), r"\(array \* 255\)"),
        (np.zeros((4, 5), np.uint16), "array >> 8"),
        (np.zeros((4, 5), np.bool_), r"array\.astype"),
        (np.zeros((3, 40, 50), np.uint8), "move the channels last"),
        (np.zeros((2, 4, 5, 3), np.uint8), "list of pictures"),
        (np.zeros((4, 5, 2), np.uint8), "expected uint8"),
        (np.zeros(7, np.uint8), "expected uint8"),
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (Image.new("I;16", (3, 3)), "mode 'I;16'"),
        (Image.new("F", (3, 3)), "mode 'F'"),
    ],
    ids=["float", "uint16", "bool", "channels-first", "batch", "two-channels", "flat", "empty", "pil-16", "pil-float"],
)
def test_check_array_refuses_with_a_remedy(array: Any, remedy: str) -> None:
    with pytest.raises(SourceError, match=remedy):
        check_array(array, "array:0")


def test_suffixes_belong_to_one_format_each() -> None:
    assert len(PICTURE_SUFFIXES) == len(set(PICTURE_SUFFIXES)) == sum(len(f.suffixes) for f in FORMATS.values())
    assert {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"} <= set(PICTURE_SUFFIXES)
