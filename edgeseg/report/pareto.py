"""The Pareto picture of a build: what accuracy, time and size cost each other, as one SVG file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

from edgeseg.benchmark import BenchmarkResult, ModelSpeed
from edgeseg.report.numbers import number

PANEL_WIDTH, PANEL_HEIGHT = 440, 340
"""Size of one plot with its axes, in SVG units."""

LEFT, RIGHT, TOP, BOTTOM = 58, 18, 34, 48
"""Margins around the area of the points."""

LINE_HEIGHT, LETTER = 15, 6.6
"""Height of a label and width of a letter at a font size of 12, near enough to keep labels apart."""

STYLE = """
svg { --paper: #fff; --ink: #1c1f23; --soft: #5b636d; --line: #d9dde2; --bar: #3d6ea8; }
@media (prefers-color-scheme: dark) {
  svg { --paper: #15181c; --ink: #e4e7eb; --soft: #9aa4af; --line: #343a42; --bar: #7aa7dd; }
}
text { font: 12px system-ui, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif; fill: var(--ink); }
.title { font-size: 14px; font-weight: 650; } .soft { fill: var(--soft); } .end { text-anchor: end; }
.middle { text-anchor: middle; }
.name { paint-order: stroke; stroke: var(--paper); stroke-width: 3; }
.paper { fill: var(--paper); } .grid { stroke: var(--line); } .lead { stroke: var(--soft); stroke-width: 0.75; }
.front { fill: none; stroke: var(--bar); stroke-width: 1.75; stroke-linejoin: round; }
.point { fill: var(--paper); stroke: var(--soft); stroke-width: 1.75; } .best { fill: var(--bar); stroke: var(--bar); }
.failed { fill: var(--paper); stroke: var(--soft); stroke-dasharray: 2 2; }
"""
"""The colours of the HTML reports; the background is the picture's own, in light and in dark."""


@dataclass(frozen=True)
class Point:
    """A model in a plot.

    Attributes:
        name: its label.
        x: the cost, smaller is better.
        y: the other number.
        eligible: whether it may be on the front: its gates are met.
    """

    name: str
    x: float
    y: float
    eligible: bool = True


@dataclass(frozen=True)
class Panel:
    """One plot.

    Attributes:
        key: its name in `benchmark.json`.
        title: above it.
        x_label: below its x axis.
        points: at least one.
        y_up: whether a larger y is better.
    """

    key: str
    title: str
    x_label: str
    points: tuple[Point, ...]
    y_up: bool


def front(points: Sequence[Point], *, y_up: bool) -> list[Point]:
    """The points that no other one beats, by rising x.

    A point is beaten by one that is as good in both numbers and better in one; equal points beat each other not.

    Args:
        points: of which only the eligible count.
        y_up: whether a larger y is better; a smaller x always is.
    """
    sign = 1.0 if y_up else -1.0
    running = [point for point in points if point.eligible]

    def beaten(point: Point) -> bool:
        mine = (-point.x, sign * point.y)
        others = [(-other.x, sign * other.y) for other in running]
        return any(other != mine and other[0] >= mine[0] and other[1] >= mine[1] for other in others)

    return sorted((point for point in running if not beaten(point)), key=lambda point: (point.x, point.y))


def panels_of(result: BenchmarkResult) -> tuple[Panel, ...]:
    """AP against time and against size of the models with an AP; time against size where none has one."""
    judged = [model for model in result.models if model.accuracy is not None]
    if not judged:
        points = tuple(_point(model, model.latency().p50, model.megabytes) for model in result.models)
        time_size = Panel("ms_mb", "Size (MB) against time", "median milliseconds a run", points, y_up=False)
        return (time_size,) if points else ()
    against_time = tuple(_point(model, model.latency().p50, _ap(model)) for model in judged)
    against_size = tuple(_point(model, model.megabytes, _ap(model)) for model in judged)
    return (
        Panel("ap_ms", "Mask AP against time", "median milliseconds a run", against_time, y_up=True),
        Panel("ap_mb", "Mask AP against size", "MB", against_size, y_up=True),
    )


def pareto_svg(result: BenchmarkResult) -> str:
    """The picture, one panel beside the other; a result with no model gives an empty one."""
    panels = panels_of(result)
    notes = _notes(result, panels)
    width = PANEL_WIDTH * max(len(panels), 1)
    height = PANEL_HEIGHT + LINE_HEIGHT * (len(notes) + 1)
    drawn = [f'<g transform="translate({PANEL_WIDTH * i} 0)">{_panel(panel)}</g>' for i, panel in enumerate(panels)]
    texts = [_text(LEFT, PANEL_HEIGHT + LINE_HEIGHT * (i + 0.5), note, "soft") for i, note in enumerate(notes)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'role="img" aria-label="{escape("; ".join(notes), {chr(34): "&quot;"})}">',
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{width}" height="{height}"/>',
            *drawn,
            *texts,
            "</svg>\n",
        ]
    )


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from `low` to `high`: steps of 1, 2 or 5 times a power of ten, about `about` of them."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _point(model: ModelSpeed, x: float, y: float) -> Point:
    return Point(model.name, x, y, model.subject.outcome == "passed")


def _ap(model: ModelSpeed) -> float:
    return math.nan if model.accuracy is None else model.accuracy.mask_ap


def _notes(result: BenchmarkResult, panels: tuple[Panel, ...]) -> list[str]:
    """What stands below the plots: the fronts by name, and which points need a word."""
    notes = [
        f"Pareto front, {panel.title[0].lower() + panel.title[1:]}: "
        + (", ".join(point.name for point in front(panel.points, y_up=panel.y_up)) or "none")
        for panel in panels
    ]
    shown = {point.name for panel in panels for point in panel.points}
    absent = [model.name for model in result.models if model.name not in shown]
    failed = [f"{model.name} ({model.subject.outcome})" for model in result.models if model.subject.outcome != "passed"]
    notes += [f"No AP known: {', '.join(absent)}"] if absent else []
    notes += [f"Dashed, never on the front: {', '.join(failed)}"] if failed else []
    return notes or ["No model could be timed"]


@dataclass(frozen=True)
class _Scale:
    """From a number to a place on an axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(frozen=True)
class _Box:
    """A part of a plot that is taken."""

    left: float
    top: float
    right: float
    bottom: float

    def covers(self, other: _Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def _scales(panel: Panel) -> tuple[_Scale, _Scale]:
    """Costs start at 0, so that lengths are honest; AP does not, since all of it lies in a narrow band."""
    x_high = max(point.x for point in panel.points) * 1.12 or 1.0
    values = [point.y for point in panel.points]
    y_low, y_high = 0.0, max(values) * 1.12 or 1.0
    if panel.y_up:
        room = max(max(values) - min(values), 0.01) * 0.3
        y_low, y_high = max(min(values) - room, 0.0), max(values) + room
    return (
        _Scale(0.0, x_high, LEFT, PANEL_WIDTH - RIGHT),
        _Scale(y_low, y_high, PANEL_HEIGHT - BOTTOM, TOP),
    )


def _panel(panel: Panel) -> str:
    x, y = _scales(panel)
    best = front(panel.points, y_up=panel.y_up)
    return "".join(
        [
            _text(LEFT, 20, panel.title, "title"),
            *_axes(panel, x, y),
            _staircase(best, x, y),
            *_labels(panel.points, best, x, y),
            # The front last: where points coincide, it is what is seen.
            *(_dot(point, x, y, point in best) for point in sorted(panel.points, key=lambda point: point in best)),
        ]
    )


def _axes(panel: Panel, x: _Scale, y: _Scale) -> Iterator[str]:
    for value in ticks(y.low, y.high):
        yield _line(x.start, y(value), x.end, y(value), "grid")
        yield _text(x.start - 8, y(value) + 4, number(round(value, 6)), "soft end")
    for value in ticks(x.low, x.high):
        yield _line(x(value), y.start, x(value), y.start + 4, "grid")
        yield _text(x(value), y.start + 18, number(round(value, 6)), "soft middle")
    yield _text((x.start + x.end) / 2, y.start + 36, panel.x_label, "soft middle")


def _staircase(best: list[Point], x: _Scale, y: _Scale) -> str:
    """Between two points of the front only the worse y can be had: first along x, then to the next y."""
    if len(best) < 2:
        return ""
    steps = [f"M{x(best[0].x):.1f} {y(best[0].y):.1f}", *(f"H{x(p.x):.1f}V{y(p.y):.1f}" for p in best[1:])]
    return f'<path class="front" d="{"".join(steps)}"/>'


def _labels(points: Sequence[Point], best: list[Point], x: _Scale, y: _Scale) -> Iterator[str]:
    """A name near each point, where it covers neither a point nor the front nor another name."""
    taken = [_Box(x(p.x) - 7, y(p.y) - 7, x(p.x) + 7, y(p.y) + 7) for p in points]
    for here, there in pairwise(best):
        taken.append(_Box(x(here.x), y(here.y) - 1, x(there.x), y(here.y) + 1))
        taken.append(_Box(x(there.x) - 1, y(there.y), x(there.x) + 1, y(here.y)))
    for point in sorted(points, key=lambda point: (y(point.y), x(point.x))):
        at_x, at_y = x(point.x), y(point.y)
        places = list(_places(at_x, at_y, LETTER * len(point.name)))
        inside = [box for box in places if box.left > LEFT and box.right < PANEL_WIDTH and y.end < box.top < y.start]
        free = (box for box in inside if not any(box.covers(other) for other in taken))
        place = next(free, (inside or places)[0])
        taken.append(place)
        middle = (place.top + place.bottom) / 2
        to_left = place.right < at_x
        if abs(middle - at_y) > 2:
            yield _line(at_x, at_y, place.right + 2 if to_left else place.left - 2, middle, "lead")
        yield _text(place.right if to_left else place.left, middle + 4, point.name, "name end" if to_left else "name")


def _places(x: float, y: float, length: float) -> Iterator[_Box]:
    """Where a name may go: beside the point, right before left, then ever further above and below."""
    for distance in range(12):
        for offset in dict.fromkeys((-distance * LINE_HEIGHT, distance * LINE_HEIGHT)):
            top = y + offset - LINE_HEIGHT / 2
            yield _Box(x + 12, top, x + 12 + length, top + LINE_HEIGHT)
            yield _Box(x - 12 - length, top, x - 12, top + LINE_HEIGHT)


def _dot(point: Point, x: _Scale, y: _Scale, best: bool) -> str:
    kind = "point best" if best else "point" if point.eligible else "point failed"
    tip = escape(f"{point.name}: {number(point.x)}, {number(point.y)}")
    return f'<circle class="{kind}" cx="{x(point.x):.1f}" cy="{y(point.y):.1f}" r="5"><title>{tip}</title></circle>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
