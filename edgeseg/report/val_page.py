"""A validation as one HTML page that needs nothing else: AP first, then what explains it, with drawn pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import edgeseg
from edgeseg.data.dataset import Dataset
from edgeseg.metrics import confusion
from edgeseg.metrics.curves import Curves
from edgeseg.report.template import render_page
from edgeseg.report.val_json import known_sha256
from edgeseg.report.val_worst import drawn_worst
from edgeseg.report.words import counted_objects, fact_rows
from edgeseg.validate import MIN_PICTURES, Metrics, Retention, iou_histogram

MEASURES = (
    ("AP", "AP", "mean over IoU 0.50 to 0.95 and all classes"),
    ("AP50", "AP50", "at IoU 0.50"),
    ("AP75", "AP75", "at IoU 0.75"),
    ("APsmall", "AP, small", "objects below 32 × 32 px"),
    ("APmedium", "AP, medium", "from 32 × 32 to 96 × 96 px"),
    ("APlarge", "AP, large", "above 96 × 96 px"),
    ("AR1", "AR1", "mean recall with 1 detection a picture"),
    ("AR10", "AR10", "with 10 detections a picture"),
    ("AR100", "AR100", "with 100 detections a picture"),
    ("ARsmall", "AR, small", "of small objects"),
    ("ARmedium", "AR, medium", "of medium objects"),
    ("ARlarge", "AR, large", "of large objects"),
)
"""Name in COCOeval's summary, name on the page, and what it is."""

CURVE_SCORES = (0.05, 0.25, 0.5, 0.75)
"""Scores whose precision, recall and F1 stand in the table beside the curves."""

CLASSES_OPEN = 24
"""A table of more classes is folded."""

LISTED = 8
"""Classes or pairs of them in a list of the worst."""

ABSENT = "–"


def render_val(metrics: Metrics, dataset: Dataset, retained: tuple[Retention, ...] = ()) -> str:
    """The page for a validation.

    Args:
        metrics: from `edgeseg.validate.validate`.
        dataset: what it ran on; its worst pictures are read and drawn.
        retained: retention against a reference, where one was asked.

    Raises:
        EnvironmentMissingError: jinja2 is not installed.
        SourceError: one of the worst pictures cannot be read.
    """
    classes = _class_rows(metrics)
    return render_page(
        "val.html",
        metrics=metrics,
        name=Path(metrics.model).name,
        sha256=known_sha256(metrics.model),
        dataset=dataset,
        ap={"box": _share(metrics.box.map), "mask": _share(metrics.seg.map)},
        measures=_measures(metrics),
        counted=counted_objects(metrics.objects, metrics.crowds),
        retained=[_retention_row(one) for one in retained],
        references=dict.fromkeys((one.reference, one.reference_sha256) for one in retained),
        few_pictures=metrics.pictures < MIN_PICTURES,
        min_pictures=MIN_PICTURES,
        classes=classes,
        classes_open=len(classes) <= CLASSES_OPEN,
        weakest=_weakest(metrics),
        curves=_curves(metrics.curves),
        mistakes=_mistakes(metrics),
        matrix=_matrix(metrics),
        score=confusion.SCORE,
        match_iou=confusion.MATCH_IOU,
        bins=_bins(metrics),
        worst=drawn_worst(metrics, dataset),
        speed=[(step, f"{spent:.1f} ms") for step, spent in metrics.speed.items()],
        wall=f"{metrics.detections.seconds:.1f} s",
        environment=list(fact_rows(metrics.environment)),
        version=edgeseg.__version__,
    )


def _share(value: float) -> str:
    """Four decimals, as the terminal and COCO's own summary round; a dash where nothing was there to measure."""
    return f"{value:.4f}" if math.isfinite(value) else ABSENT


def _measures(metrics: Metrics) -> list[dict[str, str]]:
    return [
        {"label": label, "about": about, "box": _share(metrics.box.stats[key]), "mask": _share(metrics.seg.stats[key])}
        for key, label, about in MEASURES
    ]


def _retention_row(one: Retention) -> dict[str, Any]:
    def percent(value: float) -> str:
        return f"{100 * value:.2f}" if math.isfinite(value) else ABSENT

    return {"kind": one.kind, **{key: percent(getattr(one, key)) for key in ("value", "low", "high")}}


def _class_rows(metrics: Metrics) -> list[dict[str, Any]]:
    """Classes by name, whatever its case."""
    rows = [
        {
            "name": name,
            "objects": int(objects),
            "box": _share(float(metrics.box.maps[index])),
            "mask": _share(float(metrics.seg.maps[index])),
            "mask50": _share(float(metrics.seg.ap50s[index])),
        }
        for index, (name, objects) in enumerate(zip(metrics.names, metrics.matches.objects.sum(axis=1), strict=True))
    ]
    return sorted(rows, key=lambda row: str(row["name"]).casefold())


def _weakest(metrics: Metrics) -> list[dict[str, Any]]:
    """The classes with the lowest mask AP, among those that have objects."""
    objects = metrics.matches.objects.sum(axis=1)
    order = sorted(np.flatnonzero(objects).tolist(), key=lambda index: float(metrics.seg.maps[index]))
    return [
        {"name": metrics.names[index], "mask": _share(float(metrics.seg.maps[index])), "objects": int(objects[index])}
        for index in order[:LISTED]
    ]


def _curves(curves: Curves) -> dict[str, Any]:
    """Lines in percent of the plot, y downwards, and a table of some of their points."""
    series = (("Precision", curves.precision), ("Recall", curves.recall), ("F1", curves.f1))
    places = {int(np.abs(curves.thresholds - score).argmin()) for score in CURVE_SCORES} | {curves.best}
    return {
        "lines": [{"name": name, "points": _points(curves.thresholds, values)} for name, values in series],
        "best": {"score": f"{curves.thresholds[curves.best]:.2f}", "f1": f"{curves.f1[curves.best]:.3f}"},
        "x": round(100 * float(curves.thresholds[curves.best]), 1),
        "y": round(100 * float(curves.f1[curves.best]), 1),
        "rows": [
            {
                "score": f"{curves.thresholds[place]:.2f}",
                "values": [f"{values[place]:.3f}" for _, values in series],
                "best": place == curves.best,
            }
            for place in sorted(places)
        ],
    }


def _points(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    return " ".join(f"{100 * a:.1f},{100 * (1 - b):.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))


def _mistakes(metrics: Metrics) -> list[dict[str, Any]]:
    """The most frequent mistakes of each kind, in words with counts."""
    table = metrics.confusion.table
    swapped = table[:-1, :-1] - np.diag(np.diag(table[:-1, :-1]))
    objects = table[:-1].sum(axis=1)
    names = metrics.names
    pairs = ((*(int(part) for part in np.unravel_index(place, swapped.shape)),) for place in _largest(swapped.ravel()))
    return [
        {
            "title": "Taken for another class",
            "total": int(swapped.sum()),
            "rows": [(f"{names[a]} for {names[b]}", str(swapped[a, b])) for a, b in pairs],
        },
        {
            "title": "Missed",
            "total": int(table[:-1, -1].sum()),
            "rows": [(names[i], f"{table[i, -1]} of {objects[i]}") for i in _largest(table[:-1, -1])],
        },
        {
            "title": "Found where nothing is",
            "total": int(table[-1, :-1].sum()),
            "rows": [(names[i], str(table[-1, i])) for i in _largest(table[-1, :-1])],
        },
    ]


def _largest(counts: NDArray[np.int64]) -> Iterator[int]:
    """Places of the largest counts above 0, largest first."""
    order = np.argsort(-counts, kind="stable")[:LISTED]
    return (place for place in order.tolist() if counts[place])


def _matrix(metrics: Metrics) -> dict[str, Any]:
    """The confusion matrix of the classes that occur in it; a cell is a count and its tint, 0..50 for all of a row."""
    table = metrics.confusion.table
    occurs = np.flatnonzero((table.sum(axis=0) + table.sum(axis=1))[:-1])
    # Background first: beside 80 classes its column, the missed objects, would be scrolled out of sight.
    shown = [len(table) - 1, *occurs.tolist()]
    part = table[np.ix_(shown, shown)]
    heat = np.rint(50 * part / np.maximum(part.sum(axis=1, keepdims=True), 1)).astype(int)
    names = ["nothing", *(metrics.names[index] for index in occurs)]
    return {
        "names": names,
        "left_out": len(metrics.names) - len(occurs),
        "rows": [
            (name, list(zip(counts, shares, strict=True)))
            for name, counts, shares in zip(names, part.tolist(), heat.tolist(), strict=True)
        ],
    }


def _bins(metrics: Metrics) -> dict[str, Any]:
    """The mask IoU histogram, best bin first; widths in percent of the largest bin."""
    counts, edges = iou_histogram(metrics)
    values = [iou for picture in metrics.confusion.pictures for iou in picture.mask_ious]
    largest = max(int(counts.max(initial=0)), 1)
    rows = [
        {"low": f"{low:.2f}", "high": f"{high:.2f}", "count": count, "width": round(100 * count / largest, 1)}
        for low, high, count in zip(edges[:-1], edges[1:], counts.tolist(), strict=True)
    ]
    return {"rows": rows[::-1], "total": len(values), "median": f"{np.median(values):.3f}" if values else ABSENT}
