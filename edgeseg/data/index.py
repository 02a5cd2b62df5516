"""A whole data set as flat arrays: quick to keep, to load and to look something up in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg import rle
from edgeseg.data.rasterise import Floats, Ints, rasterise, ring_areas, snapped
from edgeseg.rle import Rle

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """N pictures, A annotations in the order of their pictures, R rings and P points in that of the annotations.

    Attributes:
        names: class names by class id.
        category_ids: the source's category id of each class id.
        paths: N picture paths, with ``/``, from the set's root folder, or absolute.
        notes: what reading had to decide.
        sha256: of all the rest.
        image_ids: (N,) int64.
        sizes: (N, 2) int64 height, width, px.
        first_annotation: (N + 1,) int64, where each picture's annotations begin.
        ids: (A,) int64, unique and above 0, since pycocotools takes a match with annotation 0 for none.
        class_ids: (A,) int32.
        crowds: (A,) bool.
        areas: (A,) float64, square px.
        xywh: (A, 4) float64, px.
        first_ring: (A + 1,) int64.
        first_point: (R + 1,) int64.
        points: (P, 2) float32 x, y, px.
        first_byte: (A + 1,) int64; no bytes for an annotation that has rings.
        counts: uint8, compressed run lengths of all masks, one after another.
    """

    names: tuple[str, ...]
    category_ids: tuple[int, ...]
    paths: tuple[str, ...]
    notes: tuple[str, ...]
    sha256: str
    image_ids: Ints
    sizes: Ints
    first_annotation: Ints
    ids: Ints
    class_ids: NDArray[np.int32]
    crowds: NDArray[np.bool_]
    areas: Floats
    xywh: Floats
    first_ring: Ints
    first_point: Ints
    points: NDArray[np.float32]
    first_byte: Ints
    counts: NDArray[np.uint8]


WORDS = ("names", "category_ids", "paths", "notes", "sha256")
ARRAYS = tuple(name for name in Index.__slots__ if name not in WORDS)


@dataclass(frozen=True, slots=True)
class Given:
    """What a source says of an annotation; None is worked out from the mask.

    Attributes:
        annotation_id: above 0.
        xywh: the box, px.
        area: square px.
        crowd: one mask for several objects.
    """

    annotation_id: int | None = None
    xywh: Box | None = None
    area: float | None = None
    crowd: bool = False


_NOTHING_GIVEN = Given()


@dataclass(slots=True)
class IndexBuilder:
    """Collects pictures and their annotations, one picture after another."""

    names: Sequence[str]
    category_ids: Sequence[int] | None = None
    _paths: list[str] = field(default_factory=list)
    _image_ids: list[int] = field(default_factory=list)
    _sizes: list[tuple[int, int]] = field(default_factory=list)
    _first_annotation: list[int] = field(default_factory=list)
    _class_ids: list[int] = field(default_factory=list)
    _given: list[Given] = field(default_factory=list)
    _first_ring: list[int] = field(default_factory=lambda: [0])
    _rings: list[Floats] = field(default_factory=list)
    _masks: list[str] = field(default_factory=list)

    def picture(self, path: str, image_id: int, size: tuple[int, int]) -> None:
        """Begin a picture: annotations from here on are of it.

        Args:
            path: from the set's root, or absolute.
            image_id: unique.
            size: (height, width), px.
        """
        self._paths.append(path)
        self._image_ids.append(image_id)
        self._sizes.append(size)
        self._first_annotation.append(len(self._class_ids))

    def polygons(self, class_id: int, rings: Sequence[Floats], given: Given = _NOTHING_GIVEN) -> None:
        """Add an annotation of at least one ring, each (K, 2) x, y in px, K at least 3."""
        self._rings.extend(rings)
        self._add(class_id, "", given)

    def mask(self, class_id: int, mask: Rle, given: Given = _NOTHING_GIVEN) -> None:
        """Add an annotation that is a compressed mask of the picture's size."""
        self._add(class_id, mask["counts"], given)

    def build(self, notes: Sequence[str] = ()) -> Index:
        """All that was added, with what was not given worked out."""
        self._number_annotations()
        first_annotation = np.array([*self._first_annotation, len(self._class_ids)], np.int64)
        sizes = np.array(self._sizes, np.int64).reshape(-1, 2)
        first_ring = np.array(self._first_ring, np.int64)
        points = np.concatenate(self._rings) if self._rings else np.zeros((0, 2))
        first_point = np.cumsum([0, *(len(ring) for ring in self._rings)], dtype=np.int64)
        sizes_of = np.repeat(sizes, np.diff(first_annotation), axis=0)
        arrays: dict[str, Any] = {
            "image_ids": np.array(self._image_ids, np.int64),
            "sizes": sizes,
            "first_annotation": first_annotation,
            "ids": np.array([given.annotation_id for given in self._given], np.int64),
            "class_ids": np.array(self._class_ids, np.int32),
            "crowds": np.array([given.crowd for given in self._given], bool),
            "areas": self._areas(points, first_point, first_ring, sizes_of),
            "xywh": self._boxes(points, first_point, first_ring, sizes_of),
            "first_ring": first_ring,
            "first_point": first_point,
            "points": snapped(points),
            "first_byte": np.cumsum([0, *(len(mask) for mask in self._masks)], dtype=np.int64),
            "counts": np.frombuffer("".join(self._masks).encode("ascii"), np.uint8),
        }
        words = (tuple(self.names), tuple(self.category_ids or range(len(self.names))), tuple(self._paths))
        return Index(*words, tuple(notes), _sha256(words, arrays), **arrays)

    def _add(self, class_id: int, mask: str, given: Given) -> None:
        self._class_ids.append(class_id)
        self._masks.append(mask)
        self._given.append(given)
        self._first_ring.append(len(self._rings))

    def _number_annotations(self) -> None:
        """From 1, unless all have numbers of their own that can be kept."""
        ids = {given.annotation_id for given in self._given}
        if len(ids) == len(self._given) and all(number is not None and number > 0 for number in ids):
            return
        self._given = [
            Given(number, given.xywh, given.area, given.crowd) for number, given in enumerate(self._given, start=1)
        ]

    def _areas(self, points: Floats, first_point: Ints, first_ring: Ints, sizes: Ints) -> Floats:
        areas = np.array([np.nan if given.area is None else given.area for given in self._given], float)
        wanted, rings = np.isnan(areas), np.diff(first_ring)
        single = np.flatnonzero(wanted & (rings == 1))
        areas[single] = _areas_of_single_rings(points, first_point, first_ring[single], sizes[single])
        for at in np.flatnonzero(wanted & (rings != 1)).tolist():
            areas[at] = rle.area(self._mask_of(at, sizes))
        return areas

    def _boxes(self, points: Floats, first_point: Ints, first_ring: Ints, sizes: Ints) -> Floats:
        boxes = np.array([given.xywh or (np.nan,) * 4 for given in self._given], float).reshape(-1, 4)
        starts = first_point[first_ring[:-1]]
        polygons = np.flatnonzero(np.diff(first_ring) > 0)
        if len(polygons):
            low = np.minimum.reduceat(points, starts[polygons])
            high = np.maximum.reduceat(points, starts[polygons])
            found = np.concatenate([low, high - low], axis=1)
            boxes[polygons] = np.where(np.isnan(boxes[polygons]), found, boxes[polygons])
        for at in np.flatnonzero(np.isnan(boxes[:, 0])).tolist():
            boxes[at] = rle.to_bbox(self._mask_of(at, sizes))
        return boxes

    def _mask_of(self, at: int, sizes: Ints) -> Rle:
        height, width = sizes[at].tolist()
        if self._masks[at]:
            return {"size": [height, width], "counts": self._masks[at]}
        return rasterise(self._rings[self._first_ring[at] : self._first_ring[at + 1]], (height, width))


def posix(path: PurePath | str) -> str:
    """A path with ``/``, as `Index.paths` has it."""
    return PurePath(path).as_posix()


def _areas_of_single_rings(points: Floats, first_point: Ints, rings: Ints, sizes: Ints) -> Floats:
    lengths = first_point[rings + 1] - first_point[rings]
    first = np.concatenate([[0], np.cumsum(lengths)])
    chosen = np.repeat(first_point[rings] - first[:-1], lengths) + np.arange(first[-1])
    return ring_areas(points[chosen], first, sizes).astype(float)


def _sha256(words: tuple[object, ...], arrays: dict[str, Any]) -> str:
    digest = hashlib.sha256(repr(words).encode("utf-8", "surrogateescape"))
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
