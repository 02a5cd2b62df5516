"""Decoded pictures at training size, kept in shared memory, on disk or nowhere. All three give the same bytes."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import multiprocessing
import shutil
from math import prod
from pathlib import Path
from typing import Protocol

import numpy as np

from edgeseg.data.dataset import Dataset
from edgeseg.data.index_cache import CACHE_VARIABLE, cache_folder
from edgeseg.data.letterbox import geometry
from edgeseg.data.picture import Picture, read_picture
from edgeseg.data.picture_size import picture_size
from edgeseg.errors import OutputError, SourceError
from edgeseg.files import make_folder, replacing

logger = logging.getLogger(__name__)

_VERSION = "1"
"""Of how pictures are decoded and resized; part of every key on disk."""


class PictureReader:
    """Decodes and resizes the pictures of a data set.

    Args:
        dataset: N pictures.
        size: (height, width) of the letterbox that they are to fit, px.
    """

    def __init__(self, dataset: Dataset, size: tuple[int, int]) -> None:
        self._dataset = dataset
        self.size = size
        self.sizes: list[tuple[int, int]] = [
            (height, width) for height, width in dataset.arrays.sizes[dataset.chosen].tolist()
        ]
        """(height, width) px of the N pictures, as annotated."""
        self.resized = [geometry(picture, size).resized for picture in self.sizes]
        """(height, width) px that they have in the letterbox."""

    def path(self, place: int) -> Path:
        """A picture's file."""
        return self._dataset.root / self._dataset.arrays.paths[int(self._dataset.chosen[place])]

    def read(self, place: int) -> Picture:
        """A picture as `letterbox` resizes it, without padding: (h, w, 3) uint8 RGB.

        Raises:
            SourceError: the file cannot be read or is broken, or has another size than its annotations are for.
        """
        import cv2

        picture = read_picture(self.path(place))
        self._check_size(place, (picture.shape[0], picture.shape[1]))
        height, width = self.resized[place]
        if (height, width) == picture.shape[:2]:
            return picture
        return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)

    def check(self, place: int) -> None:
        """Look at the beginning of a picture's file only.

        Raises:
            SourceError: as for `read`, where that can be told from the header.
        """
        self._check_size(place, picture_size(self.path(place)))

    def _check_size(self, place: int, found: tuple[int, int]) -> None:
        expected = self.sizes[place]
        if found != expected:
            raise SourceError(
                f"{self.path(place)}: {found[1]}x{found[0]} pixels, expected the {expected[1]}x{expected[0]} that its "
                "annotations are for"
            )


class PictureStore(Protocol):
    """Where pictures are kept."""

    def prepare(self, place: int) -> None:
        """Make sure that a picture can be given, from any thread; raises `SourceError` where it cannot."""

    def get(self, place: int) -> Picture:
        """The picture, which nobody may write to; raises `SourceError` where it has become unreadable."""


class NoStore:
    """Pictures are decoded each time.

    Args:
        reader: of the pictures.
        strict: decode every picture when it is prepared, and not its header alone.
    """

    def __init__(self, reader: PictureReader, *, strict: bool) -> None:
        self._reader, self._strict = reader, strict

    def prepare(self, place: int) -> None:
        """Check that the picture can be read."""
        if self._strict:
            self._reader.read(place)
        else:
            self._reader.check(place)

    def get(self, place: int) -> Picture:
        """Decode it."""
        return self._reader.read(place)


class SharedStore:
    """Pictures in memory that worker processes share, whether they are forked or spawned; freed with the last one.

    Args:
        reader: of the pictures.
    """

    def __init__(self, reader: PictureReader) -> None:
        self._reader = reader
        self._first = np.concatenate([[0], np.cumsum(byte_counts(reader))])
        self._bytes = multiprocessing.RawArray(ctypes.c_uint8, max(int(self._first[-1]), 1))
        self._there = multiprocessing.RawArray(ctypes.c_bool, max(len(reader.sizes), 1))

    def prepare(self, place: int) -> None:
        """Decode the picture into its place."""
        self._view(place)[...] = self._reader.read(place)
        self._there[place] = True

    def get(self, place: int) -> Picture:
        """The picture in its place; decoded where it was not prepared."""
        if not self._there[place]:
            return self._reader.read(place)
        view = self._view(place)
        view.flags.writeable = False
        return view

    def _view(self, place: int) -> Picture:
        shape = (*self._reader.resized[place], 3)
        # Made anew each time: an array that is kept would be copied, not shared, into a spawned process.
        return np.frombuffer(memoryview(self._bytes), np.uint8, prod(shape), int(self._first[place])).reshape(shape)


class DiskStore:
    """Pictures as `.npy` files in edgeseg's cache folder, found by path, bytes and time of change of their files.

    Args:
        reader: of the pictures.

    Raises:
        OutputError: there is no cache folder, or too little room in it.
    """

    def __init__(self, reader: PictureReader) -> None:
        folder = cache_folder()
        if folder is None:
            raise OutputError("cache: disk: there is no home folder", hint=f"name one: {CACHE_VARIABLE}=DIR")
        self._reader = reader
        self._folder = make_folder(folder / "pictures")
        missing = sum(count for place, count in enumerate(byte_counts(reader).tolist()) if not self._is_there(place))
        free = shutil.disk_usage(self._folder).free
        if missing > free:
            raise OutputError(
                f"{self._folder}: {missing / 1e9:.1f} GB of decoded pictures, but only {free / 1e9:.1f} GB are free",
                hint=f"train with cache: off, or name another folder: {CACHE_VARIABLE}=DIR",
            )

    def prepare(self, place: int) -> None:
        """Keep the picture, unless it is kept already."""
        if self._kept(place) is None:
            picture = self._reader.read(place)
            with replacing(self._entry(place)) as temporary, temporary.open("wb") as file:
                np.save(file, picture)

    def get(self, place: int) -> Picture:
        """The kept picture; decoded where there is none."""
        kept = self._kept(place)
        return self._reader.read(place) if kept is None else kept

    def _is_there(self, place: int) -> bool:
        try:
            return self._entry(place).is_file()
        except SourceError:
            return True

    def _kept(self, place: int) -> Picture | None:
        path = self._entry(place)
        try:
            picture = np.load(path, allow_pickle=False)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError) as error:
            logger.debug("%s: a broken entry, ignored: %r", path, error)
            return None
        fits = picture.dtype == np.uint8 and picture.shape == (*self._reader.resized[place], 3)
        return np.asarray(picture, np.uint8) if fits else None

    def _entry(self, place: int) -> Path:
        path = self._reader.path(place).absolute()
        try:
            status = path.stat()
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
        facts = (_VERSION, path, status.st_size, status.st_mtime_ns, *self._reader.size)
        name = hashlib.sha256("\0".join(map(str, facts)).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return self._folder / name[:2] / f"{name}.npy"


def byte_counts(reader: PictureReader) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(N,) bytes of each picture as it is kept."""
    return np.array([height * width * 3 for height, width in reader.resized], np.int64)
