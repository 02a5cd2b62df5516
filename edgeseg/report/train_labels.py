"""What the labels of a training set are like: objects by class, their sizes, and where they lie."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.dataset import Dataset
from edgeseg.report.words import counted

Floats = NDArray[np.float64]

CELLS = 24
"""Cells of a heat map along each side."""

SHADES = 10
"""Tints of a heat map."""

SIZE_EDGES_PX = (0, 8, 16, 32, 64, 128, 256, 512)
"""Of the square root of a box's area at the network's input; the finest level has a point every 8 px."""


def label_statistics(dataset: Dataset, image_size: tuple[int, int]) -> dict[str, Any]:
    """Counts and heat maps of a training set, without crowds, which are not trained on.

    Args:
        dataset: the training set.
        image_size: (height, width) px of the network's input.
    """
    arrays = dataset.arrays
    per_picture = np.diff(arrays.first_annotation)
    chosen = np.zeros(len(arrays.paths), bool)
    chosen[dataset.chosen] = True
    kept = np.repeat(chosen, per_picture) & ~arrays.crowds
    picture = np.repeat(np.arange(len(arrays.paths)), per_picture)[kept]
    sizes = arrays.sizes[picture].astype(np.float64)
    xywh = arrays.xywh[kept]
    shown = np.array(image_size, np.float64) / np.maximum(sizes, 1)
    sides_px = np.sqrt(np.maximum(xywh[:, 2] * xywh[:, 3], 0)) * shown.min(axis=1, initial=np.inf)
    share = xywh / np.maximum(sizes[:, [1, 0, 1, 0]], 1)
    labelled = len(np.unique(picture))
    return {
        "counted": f"{counted(int(kept.sum()), 'object')} in {counted(len(dataset), 'picture')}",
        "crowds": int((np.repeat(chosen, per_picture) & arrays.crowds).sum()),
        "without": len(dataset) - labelled,
        "classes": _classes(dataset.names, arrays.class_ids[kept]),
        "sizes": _sizes(sides_px),
        "maps": [
            {"title": "Box centres", "x": "across the picture", "y": "down the picture", "arrow": "↓"}
            | _heat(share[:, 0] + share[:, 2] / 2, share[:, 1] + share[:, 3] / 2),
            # Large boxes at the top, as numbers rise.
            {
                "title": "Box sizes",
                "x": "width, share of the picture",
                "y": "height, share of the picture",
                "arrow": "↑",
            }
            | _heat(share[:, 2], 1 - share[:, 3]),
        ],
    }


def _classes(names: tuple[str, ...], class_ids: NDArray[np.int32]) -> list[dict[str, Any]]:
    """The most frequent class first."""
    counts = np.bincount(class_ids, minlength=len(names)).tolist()
    rows = [{"name": name, "count": count} for name, count in zip(names, counts, strict=True)]
    return _with_widths(sorted(rows, key=lambda row: -row["count"]))


def _sizes(sides_px: Floats) -> list[dict[str, Any]]:
    counts, _ = np.histogram(sides_px, bins=[*SIZE_EDGES_PX, np.inf])
    names = [f"{low} to {high}" for low, high in pairwise(SIZE_EDGES_PX)] + [f"{SIZE_EDGES_PX[-1]} or more"]
    return _with_widths([{"name": name, "count": count} for name, count in zip(names, counts.tolist(), strict=True)])


def _with_widths(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Counts with a bar's width in percent of the largest."""
    largest = max((row["count"] for row in rows), default=0) or 1
    return [{**row, "width": round(100 * row["count"] / largest, 1)} for row in rows]


def _heat(x: Floats, y: Floats) -> dict[str, Any]:
    """A heat map of points in 0..1: for each tint the cells that have it, as one SVG path."""
    places = [np.clip((values * CELLS).astype(np.int64), 0, CELLS - 1) for values in (y, x)]
    counts = np.bincount(places[0] * CELLS + places[1], minlength=CELLS * CELLS).reshape(CELLS, CELLS)
    # A root: few objects in a cell must still be told from none.
    shades = np.ceil(SHADES * np.sqrt(counts / max(int(counts.max()), 1))).astype(np.int64)
    paths = []
    for shade in range(1, SHADES + 1):
        cells = "".join(f"M{column} {row}h1v1h-1z" for row, column in np.argwhere(shades == shade).tolist())
        if cells:
            paths.append({"opacity": round(shade / SHADES, 2), "cells": cells})
    return {"paths": paths, "side": CELLS, "most": int(counts.max())}
