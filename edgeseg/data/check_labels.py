"""What is wrong with one label, from its outline, its run lengths and its box."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg import rle
from edgeseg.data.rasterise import rasterise
from edgeseg.errors import ContractError

Ring = NDArray[np.float64]

MIN_AREA_PX = 0.01
"""An outline that encloses less encloses nothing: rounding of six decimals leaves about that much of a line."""

TINY_PX = 16
"""Least pixels of an object that is not tiny: one cell of the prototypes at stride 4."""

EDGE_PX = 1.0
"""How far out of the picture a point may be: tools differ in whether the last pixel ends at width or width - 1."""

BOX_PX = 2.0
"""How far a side of the box may be from the mask: rounding to whole pixels on both sides."""

PAIRS_AT_ONCE = 1_000_000
"""Pairs of sides that are compared in one go, to bound memory at about 50 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """One object as the files have it, read leniently.

    Attributes:
        where: file and line, or file and id.
        class_id: index into the set's names; -1 where the class is unknown.
        rings: each (K, 2) float64 x, y; parts of 0..1 where the picture's `normalised` is set, else px.
        rle: the mask as COCO run lengths, in place of rings.
        xywh: the box that the file states, px; None where it states none.
        crowd: one mask for several objects.
    """

    where: str
    class_id: int
    rings: tuple[Ring, ...] = ()
    rle: Mapping[str, Any] | None = None
    xywh: tuple[float, float, float, float] | None = None
    crowd: bool = False

    def key(self) -> tuple[Any, ...]:
        """Equal for labels that say the same."""
        counts = self.rle["counts"] if self.rle else ""
        return (self.class_id, *(ring.tobytes() for ring in self.rings), str(counts), self.crowd)


@dataclass(frozen=True, slots=True)
class Finding:
    """A kind of problem and its message."""

    kind: str
    message: str


def examine(label: Label, size: tuple[int, int], *, normalised: bool) -> tuple[list[Finding], float]:
    """Problems of a label, at most one of each kind, and the area of its mask in square px.

    Args:
        label: what to examine.
        size: (height, width) of the picture, px.
        normalised: the rings are in parts of the width and height.
    """
    height, width = size
    if label.rle is not None:
        found, area, box = _examine_rle(label.rle, size)
    else:
        rings = [ring * (width, height) for ring in label.rings] if normalised else list(label.rings)
        by_ring = [list(_ring_findings(ring, size)) for ring in rings]
        found = [finding for findings in by_ring for finding in findings]
        sound = [ring for ring, findings in zip(rings, by_ring, strict=True) if "degenerate" not in _kinds(findings)]
        area = float(rle.area(rasterise(rings, size)))
        points = np.concatenate(sound or [np.zeros((1, 2))])
        if sound:
            found = [_of_part(finding) for finding in found]
        box = (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
    first = {finding.kind: finding for finding in reversed(found)}
    if not first.keys() & {"malformed", "degenerate", "outside"}:
        if area < TINY_PX:
            first["tiny"] = Finding("tiny", f"an object of {area:.0f} square px")
        if label.xywh is not None:
            first.update({finding.kind: finding for finding in _box_findings(label.xywh, box)})
    return list(first.values()), area


def crossings(ring: Ring) -> int:
    """How many pairs of sides of a closed ring cross; to touch, or to run along each other, is not to cross."""
    ends = np.stack([ring, np.roll(ring, -1, axis=0)], axis=1)
    ends = ends[np.argsort(ends[..., 0].min(axis=1), kind="stable")]
    low, high = ends.min(axis=1), ends.max(axis=1)
    # Sorted by their left end, a side can only cross those after it that begin before it ends.
    last = np.maximum(np.searchsorted(low[:, 0], high[:, 0]), np.arange(len(ring)) + 1)
    number = last - np.arange(len(ring)) - 1
    total, start = 0, 0
    while start < len(ring):
        stop = start + max(1, int(np.searchsorted(np.cumsum(number[start:]), PAIRS_AT_ONCE, side="right")))
        first = np.repeat(np.arange(start, stop), number[start:stop])
        begin = np.repeat(np.cumsum(number[start:stop]) - number[start:stop], number[start:stop])
        second = first + 1 + np.arange(len(first)) - begin
        near = (low[first, 1] < high[second, 1]) & (low[second, 1] < high[first, 1])
        a, b = ends[first[near]], ends[second[near]]
        total += int(np.count_nonzero(_apart(a, b) & _apart(b, a)))
        start = stop
    return total


def _apart(sides: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the ends of each other side, (N, 2, 2), lie strictly on different sides of the line along a side."""
    along = sides[:, 1] - sides[:, 0]
    from_start = others - sides[:, :1]
    turn = along[:, None, 0] * from_start[..., 1] - along[:, None, 1] * from_start[..., 0]
    return np.asarray(turn[:, 0] * turn[:, 1] < 0)


def _kinds(findings: list[Finding]) -> set[str]:
    return {finding.kind for finding in findings}


def _of_part(finding: Finding) -> Finding:
    """What is wrong with one part of an object that has a sound one."""
    return Finding("degenerate_part", finding.message) if finding.kind == "degenerate" else finding


def _ring_findings(ring: Ring, size: tuple[int, int]) -> Iterator[Finding]:
    height, width = size
    corners = ring[np.any(ring != np.roll(ring, 1, axis=0), axis=1)]
    if len(np.unique(corners, axis=0)) < 3:
        yield Finding("degenerate", f"an outline of {len(np.unique(ring, axis=0))} different points, expected 3")
        return
    crossed = crossings(corners)
    if not crossed and abs(_signed_area(ring)) < MIN_AREA_PX:
        yield Finding("degenerate", f"an outline of {len(ring)} points on one line, expected an area")
        return
    (left, top), (right, bottom) = ring.min(axis=0), ring.max(axis=0)
    beyond = max(-left, -top, right - width, bottom - height)
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        place = f"x {left:.0f}..{right:.0f}, y {top:.0f}..{bottom:.0f}"
        yield Finding("outside", f"an outline at {place} px of a picture of {width}x{height}")
    elif beyond > EDGE_PX:
        yield Finding("beyond_edge", f"reaches {beyond:.1f} px out of the picture of {width}x{height}")
    if crossed:
        yield Finding("crossing", f"an outline of {len(ring)} points; pairs of its sides that cross: {crossed}")


def _examine_rle(mask: Mapping[str, Any], size: tuple[int, int]) -> tuple[list[Finding], float, tuple[float, ...]]:
    """Findings, area and xyxy box of run lengths."""
    none = (0.0, 0.0, 0.0, 0.0)
    try:
        area = rle.area(mask)
        x, y, width, height = rle.to_bbox(mask)
        stated = tuple(int(side) for side in mask["size"])
    except (ContractError, KeyError, TypeError, ValueError, OverflowError) as error:
        return [Finding("malformed", f"run lengths that cannot be read: {error}")], 0, none
    if stated != size:
        message = f"run lengths for {stated[1]}x{stated[0]}, expected the picture's {size[1]}x{size[0]}"
        return [Finding("malformed", message)], 0, none
    if not area:
        return [Finding("degenerate", "run lengths without a pixel inside")], 0, none
    return [], area, (x, y, x + width, y + height)


def _box_findings(xywh: tuple[float, float, float, float], mask: tuple[float, ...]) -> Iterator[Finding]:
    x, y, width, height = xywh
    stated = (x, y, x + width, y + height)
    off = max(abs(a - b) for a, b in zip(stated, mask, strict=True))
    if not off <= BOX_PX:
        sides = [", ".join(f"{side:g}" for side in np.round(box, 1).tolist()) for box in (stated, mask)]
        yield Finding("box_mismatch", f"a box of {sides[0]} (xyxy) around a mask of {sides[1]}")


def _signed_area(ring: Ring) -> float:
    x, y = (ring - ring[:1]).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
