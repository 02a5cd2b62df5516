"""COCO results of a whole data set in flat arrays, a fifth of the memory that their dictionaries take."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg import rle

Row = dict[str, Any]

RECORD = np.dtype(
    [
        ("image_id", np.int64),
        ("category_id", np.int64),
        *((side, np.float64) for side in ("x", "y", "width", "height")),
        ("score", np.float64),
        *((side, np.int32) for side in ("mask_height", "mask_width")),
        *((side, np.int64) for side in ("start", "end")),
    ]
)
"""One detection: box xywh in px, the mask's picture (height 0 where it has none), its place among the counts."""


class CocoResults:
    """Detections as COCO results: `image_id`, `category_id`, `bbox`, `score` and, with masks, `segmentation` RLE.

    A row is a dictionary that is made when it is asked for. Numbers come back bit by bit as they were put in,
    those of boxes and scores as floats.

    Args:
        rows: the first ones.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._tables: list[NDArray[np.void]] = [np.empty(0, RECORD)]
        self._counts = bytearray()
        self.extend(rows)

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> CocoResults:
        """The same object, or these rows as one."""
        return rows if isinstance(rows, cls) else cls(rows)

    def extend(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put rows at the end.

        Args:
            rows: with `bbox` xywh in px; a `segmentation` is RLE, its counts a string, bytes or run lengths.
        """
        records = [self._record(row) for row in rows]
        self._tables.append(np.array(records, RECORD))

    @property
    def table(self) -> NDArray[np.void]:
        """(N,) `RECORD`s in the order of the rows; a column is ``table["score"]``."""
        if len(self._tables) > 1:
            self._tables = [np.concatenate(self._tables)]
        return self._tables[0]

    def rows(self, indexes: NDArray[np.intp]) -> Iterator[Row]:
        """The rows at some places, in that order."""
        for image_id, category_id, x, y, width, height, score, *mask in self.table[indexes].tolist():
            row = {"image_id": image_id, "category_id": category_id, "bbox": [x, y, width, height], "score": score}
            mask_height, mask_width, start, end = mask
            if mask_height:
                counts = self._counts[start:end].decode("ascii")
                row["segmentation"] = {"size": [mask_height, mask_width], "counts": counts}
            yield row

    def json_parts(self) -> Iterator[str]:
        """The text of a COCO results file, piece by piece: a row a line."""
        yield "["
        for index, row in enumerate(self):
            yield (",\n" if index else "\n") + json.dumps(row)
        yield "\n]\n"

    def __len__(self) -> int:
        return sum(map(len, self._tables))

    def __iter__(self) -> Iterator[Row]:
        step = 4096
        blocks = (np.arange(first, min(first + step, len(self))) for first in range(0, len(self), step))
        return itertools.chain.from_iterable(map(self.rows, blocks))

    def _record(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        start, size = len(self._counts), (0, 0)
        if "segmentation" in row:
            mask = row["segmentation"]
            counts = mask["counts"]
            if not isinstance(counts, str | bytes):
                counts = rle.compress(mask)["counts"]
            self._counts += counts.encode("ascii") if isinstance(counts, str) else counts
            size = tuple(mask["size"])
        return (row["image_id"], row["category_id"], *row["bbox"], row["score"], *size, start, len(self._counts))
