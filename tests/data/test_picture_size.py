"""The upright size from a header is that of the decoded picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseg.data.picture import read_picture
from edgeseg.data.picture_size import FIRST_BYTES, picture_size
from edgeseg.errors import SourceError


def photo(size: tuple[int, int] = (37, 23)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff"])
def test_picture_size_is_that_of_the_upright_picture(kind: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{kind}"
    photo().save(path, exif=exif)
    assert picture_size(path) == read_picture(path).shape[:2] == ((23, 37) if orientation < 5 else (37, 23))


@pytest.mark.parametrize("kind", ["jpg", "webp", "tiff"])
def test_picture_size_is_found_when_much_comes_before_it(kind: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"a.{kind}"
    photo((300, 200)).save(path, exif=exif, icc_profile=bytes(3 * FIRST_BYTES), lossless=True)
    assert path.stat().st_size > 2 * FIRST_BYTES
    assert picture_size(path) == read_picture(path).shape[:2] == (300, 200)


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff\xe0"], ids=["empty", "text", "cut JPEG"])
def test_picture_size_names_the_file_when_it_is_no_picture(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.jpg"):
        picture_size(path)


def test_picture_size_names_the_file_when_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.jpg: cannot be read: No such file"):
        picture_size(tmp_path / "a.jpg")
