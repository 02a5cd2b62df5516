"""A data set as training reads it: decoded once where there is room, without what is broken."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np

from edgeseg import rle
from edgeseg.data.dataset import Annotation, Dataset
from edgeseg.data.free_memory import free_memory, room_to_share
from edgeseg.data.labelled import Labelled, Parts
from edgeseg.data.letterbox import geometry
from edgeseg.data.picture import Picture
from edgeseg.data.picture_store import DiskStore, NoStore, PictureReader, PictureStore, SharedStore, byte_counts
from edgeseg.errors import OutputError, SourceError
from edgeseg.polygons import trace

logger = logging.getLogger(__name__)

Cache = Literal["auto", "ram", "disk", "off"]

_SHARE_OF_FREE = 0.5
"""Of the free memory that ``auto`` may take: the rest is for the network, its workers and other programs."""

_PAD_VALUE = 114


class LabelledSet:
    """Pictures and polygons of a data set at training size. Call `prepare` before workers are started.

    It may be copied to worker processes, forked or spawned; pictures in memory are not copied.

    Args:
        dataset: what to read; crowds are left out of it.
        size: (height, width) of the training pictures, px.
        cache: where decoded pictures are kept: ``ram``, ``disk``, ``off``, or ``auto``: in memory where all of them
            fit in half of what is free, else nowhere.
        strict: refuse broken pictures instead of leaving them out.
        processes: how many on this machine each keep a set of their own: they share what is free.
    """

    def __init__(
        self,
        dataset: Dataset,
        size: tuple[int, int],
        cache: Cache = "auto",
        *,
        strict: bool = False,
        processes: int = 1,
    ) -> None:
        self._all = dataset
        self._reader = PictureReader(dataset, size)
        self._cache: Cache = cache
        self._strict = strict
        self._processes = processes
        self._places = np.arange(len(dataset))
        self._store: PictureStore = NoStore(self._reader, strict=strict)
        self._traced: dict[int, Parts] = {}
        self._warned: set[int] = set()

    def __len__(self) -> int:
        return len(self._places)

    @property
    def dataset(self) -> Dataset:
        """The samples that are read: picture i here is sample i there."""
        return self._all.subset(self._places.tolist())

    def name(self, index: int) -> str:
        """Which picture that is, for messages."""
        return str(self.path(index))

    def path(self, index: int) -> Path:
        """The file of a picture."""
        return self._reader.path(int(self._places[index]))

    def prepare(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Fill the cache, or look at each file's header where there is none, and leave out what is broken.

        Without a cache only `strict` decodes every picture now; else one whose header is fine and whose pixels are
        broken is found when it is loaded first.

        Args:
            progress: called with the number of pictures that are done and that of all.

        Raises:
            SourceError: strict and a picture is broken (lists all), or none is left.
            OutputError: no room for the cache that is asked for.
        """
        self._store = self._choose_store()
        broken: dict[int, str] = {}
        total = len(self._all)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for place, problem in enumerate(pool.map(self._problem, range(total))):
                if problem:
                    broken[place] = problem
                progress(place + 1, total)
        if broken and (self._strict or len(broken) == total):
            raise SourceError(
                f"{self._all.source}: {len(broken)} of {total} pictures cannot be used:\n" + "\n".join(broken.values()),
                hint="replace them or take them out; training without `strict` leaves them out",
            )
        for problem in broken.values():
            logger.warning("left out: %s", problem)
        self._places = np.array([place for place in range(total) if place not in broken], np.int64)

    def load(self, index: int) -> Labelled:
        """A picture, its long side at training size and without padding, and its objects in px of it.

        A picture that `prepare` could not see to be broken becomes a grey one without objects, with a warning.

        Args:
            index: 0 to the length - 1.

        Raises:
            SourceError: strict, and the picture cannot be read.
        """
        place = int(self._places[index])
        try:
            picture = self._store.get(place)
        except SourceError as error:
            if self._strict:
                raise
            return self._stand_in(place, error)
        sample = self._all[place]
        scale_y, scale_x = geometry(sample.size, self._reader.size).scale_yx
        scale = np.array([scale_x, scale_y], np.float32)
        annotations = [annotation for annotation in sample.annotations if not annotation.crowd]
        outlines = [(annotation.class_id, self._parts(annotation)) for annotation in annotations]
        objects = [(class_id, tuple(ring * scale for ring in parts)) for class_id, parts in outlines if parts]
        class_ids = np.array([class_id for class_id, _ in objects], np.int64)
        return Labelled(picture, class_ids, tuple(parts for _, parts in objects))

    def _parts(self, annotation: Annotation) -> Parts:
        """The outline in px of the picture's file; none for a mask without a pixel."""
        if annotation.rle is None:
            return annotation.rings
        if annotation.id not in self._traced:
            bitmap, (top, left) = rle.decode_cropped(annotation.rle)
            self._traced[annotation.id] = tuple(ring + np.array([left, top], np.float32) for ring in trace(bitmap))
        return self._traced[annotation.id]

    def _problem(self, place: int) -> str:
        """What is wrong with a picture, empty where it is fine; it is kept, and its run lengths are outlined."""
        try:
            self._store.prepare(place)
        except SourceError as error:
            return error.message
        if len(self._all.arrays.counts):
            for annotation in self._all[place].annotations:
                if not annotation.crowd:
                    self._parts(annotation)
        return ""

    def _stand_in(self, place: int, error: SourceError) -> Labelled:
        if place not in self._warned:
            self._warned.add(place)
            logger.warning("a grey picture without objects takes its place: %s", error.message)
        picture: Picture = np.full((*self._reader.resized[place], 3), _PAD_VALUE, np.uint8)
        return Labelled(picture, np.zeros(0, np.int64), ())

    def _choose_store(self) -> PictureStore:
        kind, total = self._cache, int(byte_counts(self._reader).sum()) * self._processes
        room = room_to_share()
        if kind == "auto":
            free = free_memory()
            fits = free is not None and total <= min(free * _SHARE_OF_FREE, room)
            kind = "ram" if fits else "off"
            known = "an unknown amount" if free is None else f"{free / 1e9:.1f} GB"
            logger.info("cache: %s: pictures take %.1f GB of memory, %s is free", kind, total / 1e9, known)
        elif kind == "ram" and total > room:
            raise OutputError(
                f"cache: ram: pictures take {total / 1e9:.1f} GB, but processes can share {room / 1e9:.1f} GB only",
                hint="train with cache: disk or off; a container is given more with --shm-size",
            )
        return _STORES[kind](self._reader, self._strict)


_STORES: Mapping[str, Callable[[PictureReader, bool], PictureStore]] = {
    "ram": lambda reader, strict: SharedStore(reader),
    "disk": lambda reader, strict: DiskStore(reader),
    "off": lambda reader, strict: NoStore(reader, strict=strict),
}
