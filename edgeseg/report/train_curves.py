"""Curves of a training, worked out for the template: lines and ticks in percent of a plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from edgeseg.report.numbers import number
from edgeseg.report.pareto import ticks
from edgeseg.train.callbacks import LOSSES, Epoch

Measure = Callable[[Epoch], float]

LOSS_NAMES = {"box": "Box", "cls": "Class", "dfl": "Distribution of box sides", "mask": "Mask"}
"""Titles of the parts of the loss."""

SCORE_NAMES = {"mask_ap": "Mask AP", "mask_ap50": "Mask AP50", "box_ap": "Box AP", "box_ap50": "Box AP50"}
"""Lines of the plot of scores, in the order of its legend."""

HEADROOM = 0.08
"""Space above the largest value, as a share of the range."""


def loss_plots(epochs: Sequence[Epoch]) -> list[dict[str, Any]]:
    """One plot for each part of the loss: their sizes differ, and so may their turns."""
    return [_plot(LOSS_NAMES[part], epochs, {LOSS_NAMES[part]: _loss(part)}, zero=False) for part in LOSSES]


def score_plot(epochs: Sequence[Epoch]) -> dict[str, Any]:
    """Box and mask AP and AP50, with a mark at the best epoch's mask AP; without lines where nothing was validated."""
    validated = [epoch for epoch in epochs if epoch.scores]
    lines = {title: _score(name) for name, title in SCORE_NAMES.items()}
    plot = _plot("Average precision", validated, lines, zero=True)
    best = next((epoch for epoch in reversed(validated) if epoch.best), None)
    if best is not None and math.isfinite(best.scores["mask_ap"]):
        x, y = plot["place"](best.epoch, best.scores["mask_ap"])
        plot["mark"] = {"x": x, "y": y, "epoch": best.epoch}
    return plot


def pace_plots(epochs: Sequence[Epoch]) -> list[dict[str, Any]]:
    """Learning rate and speed."""
    return [
        _plot("Learning rate", epochs, {"Learning rate": lambda epoch: epoch.learning_rate}, zero=True),
        _plot("Images per second", epochs, {"Images per second": lambda epoch: epoch.images_per_second}, zero=True),
    ]


def _loss(part: str) -> Measure:
    return lambda epoch: epoch.losses[part]


def _score(name: str) -> Measure:
    return lambda epoch: epoch.scores[name]


def _plot(title: str, epochs: Sequence[Epoch], measures: dict[str, Measure], *, zero: bool) -> dict[str, Any]:
    """A plot over epochs; values that are not finite are left out.

    Args:
        title: above it.
        epochs: those that have all measures.
        measures: name of each line to its value.
        zero: whether the y axis starts at 0; else it fits the values.
    """
    values = {name: [(epoch.epoch, measure(epoch)) for epoch in epochs] for name, measure in measures.items()}
    finite = {name: [(x, y) for x, y in line if math.isfinite(y)] for name, line in values.items()}
    heights = [y for line in finite.values() for _, y in line]
    low, high = _range(heights, zero=zero)
    first, last = _ends([epoch.epoch for epoch in epochs])

    def place(x: float, y: float) -> tuple[float, float]:
        return round(100 * (x - first) / (last - first), 2), round(100 * (y - low) / (high - low), 2)

    return {
        "title": title,
        "lines": [
            {"name": name, "points": _points([place(*at) for at in line]), "single": len(line) == 1}
            for name, line in finite.items()
        ],
        "rows": [(place(first, value)[1], number(round(value, 9))) for value in ticks(low, high)],
        "columns": [(place(value, low)[0], f"{value:g}") for value in ticks(first, last) if value == int(value)],
        "mark": None,
        "place": place,
        "empty": not heights,
    }


def _range(heights: list[float], *, zero: bool) -> tuple[float, float]:
    if not heights:
        return 0.0, 1.0
    low, high = (0.0 if zero else min(heights)), max(heights)
    # All alike, or all zero: a line through the middle of some range is still a line.
    spread = high - low or abs(high) or 1.0
    return (low if zero else low - HEADROOM * spread), high + HEADROOM * spread


def _ends(epochs: list[int]) -> tuple[int, int]:
    if not epochs:
        return 0, 1
    return epochs[0], max(epochs[-1], epochs[0] + 1)


def _points(places: list[tuple[float, float]]) -> str:
    """For an SVG polyline, y downwards; a single point twice, which with round ends is drawn as a dot."""
    return " ".join(f"{x:g},{100 - y:g}" for x, y in (places * 2 if len(places) == 1 else places))
