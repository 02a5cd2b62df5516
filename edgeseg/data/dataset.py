"""An open data set: pictures with annotated masks, whatever format they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.index import Index
from edgeseg.data.rasterise import decimals, rasterise
from edgeseg.errors import ContractError
from edgeseg.rle import Rle


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """One object of a picture.

    Attributes:
        id: unique in the set, above 0.
        class_id: index into the set's names.
        rings: polygon parts, (K, 2) float32 x, y in px of the picture; () where the mask is an RLE.
        rle: the mask where it is no polygon: crowds, mask PNGs.
        xyxy: the box as annotated (COCO), else the extent of the mask, px.
        area: as annotated (COCO), else counted, square px.
        crowd: one mask for several objects.
    """

    id: int
    class_id: int
    rings: tuple[NDArray[np.float32], ...]
    rle: Rle | None
    xyxy: tuple[float, float, float, float]
    area: float
    crowd: bool

    def to_rle(self, size: tuple[int, int]) -> Rle:
        """The mask, to the bit what pycocotools' `annToRLE` gives; parts are united.

        Args:
            size: (height, width) of the picture, px.

        Raises:
            ContractError: the mask is an RLE of another size.
        """
        if self.rle is None:
            return rasterise(self.rings, size)
        if self.rle["size"] != list(size):
            raise ContractError(f"annotation {self.id}: a mask of {self.rle['size']}, expected the size {list(size)}")
        return self.rle


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One picture.

    Attributes:
        path: its file, which need not exist.
        image_id: unique in the set.
        size: (height, width), px, upright.
        annotations: its objects.
    """

    path: Path
    image_id: int
    size: tuple[int, int]
    annotations: tuple[Annotation, ...]


class Dataset(Sequence[Sample]):
    """Samples, made from flat arrays when they are asked for.

    Args:
        arrays: the content.
        root: folder that the pictures' paths start from.
        source: what was opened.
        kind: ``coco`` or ``yolo-seg``; of a set that is being converted also the other formats' names.
        chosen: which of its pictures these are; None means all.
    """

    def __init__(
        self, arrays: Index, root: Path, source: Path, kind: str, chosen: NDArray[np.int64] | None = None
    ) -> None:
        self.arrays = arrays
        self.root = root
        self.source = source
        self.kind = kind
        self._chosen = np.arange(len(arrays.paths)) if chosen is None else chosen
        self.sha256 = arrays.sha256 if chosen is None else _with(arrays.sha256, chosen)
        """Hex, of classes, picture names, sizes and annotations; not of where they lie, nor of the pixels."""

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by class id."""
        return self.arrays.names

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The source's category id of each class id; the class ids themselves where it has none."""
        return self.arrays.category_ids

    @property
    def notes(self) -> tuple[str, ...]:
        """What reading had to decide, with counts; empty for a clean set."""
        return self.arrays.notes

    @property
    def chosen(self) -> NDArray[np.int64]:
        """(N,) which pictures of `arrays` these are."""
        return self._chosen

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, key: int) -> Sample: ...

    @overload
    def __getitem__(self, key: slice) -> Dataset: ...

    def __getitem__(self, key: int | slice) -> Sample | Dataset:
        """The sample at a place, or the set of those in a slice."""
        if isinstance(key, slice):
            return self.subset(range(*key.indices(len(self))))
        return self._sample(int(self._chosen[key]))

    def __iter__(self) -> Iterator[Sample]:
        """Each sample in turn."""
        return (self._sample(at) for at in self._chosen.tolist())

    def subset(self, places: Sequence[int]) -> Dataset:
        """The set of the samples at `places`, in that order."""
        chosen = self._chosen[np.asarray(places, np.int64)]
        return Dataset(self.arrays, self.root, self.source, self.kind, chosen)

    def to_coco(self) -> dict[str, Any]:
        """A COCO instances dictionary; image, annotation and category ids are those of this set."""
        return {
            "info": {"description": f"{self.source.name}, as read by edgeseg"},
            "images": [self._image_row(at) for at in self._chosen.tolist()],
            "annotations": [row for at in self._chosen.tolist() for row in self._annotation_rows(at)],
            "categories": [
                {"id": category, "name": name} for category, name in zip(self.category_ids, self.names, strict=True)
            ],
        }

    def _sample(self, at: int) -> Sample:
        arrays = self.arrays
        height, width = arrays.sizes[at].tolist()
        annotations = tuple(self._annotation(number, (height, width)) for number in self._numbers(at))
        return Sample(self.root / arrays.paths[at], int(arrays.image_ids[at]), (height, width), annotations)

    def _numbers(self, at: int) -> range:
        return range(int(self.arrays.first_annotation[at]), int(self.arrays.first_annotation[at + 1]))

    def _annotation(self, number: int, size: tuple[int, int]) -> Annotation:
        arrays = self.arrays
        first, last = (int(value) for value in arrays.first_ring[number : number + 2])
        bounds = arrays.first_point[first : last + 1].tolist()
        x, y, width, height = arrays.xywh[number].tolist()
        return Annotation(
            id=int(arrays.ids[number]),
            class_id=int(arrays.class_ids[number]),
            rings=tuple(arrays.points[a:b] for a, b in pairwise(bounds)),
            rle=self._rle(number, size),
            xyxy=(x, y, x + width, y + height),
            area=float(arrays.areas[number]),
            crowd=bool(arrays.crowds[number]),
        )

    def _rle(self, number: int, size: tuple[int, int]) -> Rle | None:
        first, last = self.arrays.first_byte[number : number + 2]
        if first == last:
            return None
        return {"size": list(size), "counts": str(self.arrays.counts[first:last].tobytes(), "ascii")}

    def _image_row(self, at: int) -> dict[str, Any]:
        height, width = self.arrays.sizes[at].tolist()
        image_id = int(self.arrays.image_ids[at])
        return {"id": image_id, "file_name": self.arrays.paths[at], "height": height, "width": width}

    def _annotation_rows(self, at: int) -> Iterator[dict[str, Any]]:
        height, width = self.arrays.sizes[at].tolist()
        for number in self._numbers(at):
            annotation = self._annotation(number, (height, width))
            yield {
                "id": annotation.id,
                "image_id": int(self.arrays.image_ids[at]),
                "category_id": self.category_ids[annotation.class_id],
                "segmentation": annotation.rle or [decimals(ring).ravel().tolist() for ring in annotation.rings],
                "bbox": self.arrays.xywh[number].tolist(),
                "area": annotation.area,
                "iscrowd": int(annotation.crowd),
            }


def _with(sha256: str, chosen: NDArray[np.int64]) -> str:
    return hashlib.sha256(sha256.encode() + np.ascontiguousarray(chosen).tobytes()).hexdigest()
