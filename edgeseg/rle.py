"""COCO run-length masks, straight from and to cropped bitmaps.

A mask of H x W pixels, read column by column, is a list of run lengths that begins with the pixels outside.
The compressed form writes each length, less the one two places before it, in groups of five bits, lowest
first, as characters from ``0`` on; the sixth bit says that more groups follow. The format is that of the COCO
API, https://github.com/cocodataset/cocoapi, common/maskApi.c (`rleToString`), and `encode` gives its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from edgeseg.errors import ContractError

if TYPE_CHECKING:
    from edgeseg.instances import CroppedMask

Counts = NDArray[np.int64]
Bitmap = NDArray[np.bool_]

GROUP_BITS = 5
MORE = 0x20
SIGN = 0x10
FIRST_CHARACTER = 48
"""Code of the character for 0."""


class Rle(TypedDict):
    """A compressed mask, ready for JSON: `size` is [height, width], `counts` the run lengths."""

    size: list[int]
    counts: str


def encode(crop: NDArray[np.bool_ | np.uint8], offset: tuple[int, int], size: tuple[int, int]) -> Rle:
    """The mask of a picture that is empty but for `crop`; the full bitmap is never made.

    Args:
        crop: (h, w) bool or uint8; anything but 0 is inside.
        offset: (top, left) of the crop in the picture, px.
        size: (height, width) of the picture, px.

    Raises:
        ContractError: the crop is not (h, w), or reaches out of the picture.
    """
    (top, left), (height, width) = offset, size
    if crop.ndim != 2:
        raise ContractError(f"mask crop: shape {crop.shape}, expected (h, w)")
    if top < 0 or left < 0 or top + crop.shape[0] > height or left + crop.shape[1] > width:
        raise ContractError(
            f"mask crop of shape {crop.shape} at (top, left) = {offset} reaches out of the picture {size}"
        )
    return _rle(_run_lengths(crop.astype(bool, copy=False), offset, size), size)


def compress(rle: Mapping[str, Any]) -> Rle:
    """The same mask with its counts as a string; `rle` may hold a string, bytes or a list of run lengths."""
    counts, size = _read(rle)
    return _rle(counts, size)


def decode(rle: Mapping[str, Any]) -> Bitmap:
    """The full bitmap, (height, width) bool in column-major memory, of a compressed or uncompressed mask.

    Raises:
        ContractError: the counts are no run lengths, or do not add up to the size.
    """
    counts, (height, width) = _read(rle)
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(width, height).T


def decode_cropped(rle: Mapping[str, Any]) -> tuple[Bitmap, tuple[int, int]]:
    """The smallest crop that holds the mask, (h, w) bool, and its (top, left); (0, 0) and (0, 0) where it is empty.

    Raises:
        ContractError: the counts are no run lengths, or do not add up to the size.
    """
    counts, (height, _) = _read(rle)
    starts, ends = _runs_inside(counts)
    left, top, w, h = _box(starts, ends, height)
    crop = np.zeros((w, h), bool)
    # A run that goes on in the next column makes the crop as high as the picture, so it stays whole here.
    first = (starts // height - left) * h + starts % height - top
    edges = np.stack([first, first + ends - starts], axis=1).ravel()
    lengths = np.diff(edges, prepend=0, append=w * h)
    crop.ravel()[:] = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return np.ascontiguousarray(crop.T), (top, left)


def area(rle: Mapping[str, Any]) -> int:
    """How many pixels are inside."""
    return int(_read(rle)[0][1::2].sum())


def to_bbox(rle: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """The box around the mask as xywh in whole pixels; all 0 where it is empty."""
    counts, (height, _) = _read(rle)
    return _box(*_runs_inside(counts), height)


def iou(a: CroppedMask, b: CroppedMask) -> float:
    """Intersection over union of two masks of one picture, 0..1; 0 where both are empty, as in the COCO API."""
    top, left = max(a.top, b.top), max(a.left, b.left)
    bottom = min(a.top + a.bitmap.shape[0], b.top + b.bitmap.shape[0])
    right = min(a.left + a.bitmap.shape[1], b.left + b.bitmap.shape[1])
    if bottom <= top or right <= left:
        return 0.0
    common_a, common_b = (
        mask.bitmap[top - mask.top : bottom - mask.top, left - mask.left : right - mask.left] for mask in (a, b)
    )
    intersection = int(np.count_nonzero(common_a & common_b))
    union = int(np.count_nonzero(a.bitmap)) + int(np.count_nonzero(b.bitmap)) - intersection
    return intersection / union if union else 0.0


def _rle(counts: Counts, size: tuple[int, int]) -> Rle:
    return {"size": [int(size[0]), int(size[1])], "counts": _to_string(counts)}


def _run_lengths(crop: Bitmap, offset: tuple[int, int], size: tuple[int, int]) -> Counts:
    (top, left), (height, width), (h, w) = offset, size, crop.shape
    if not crop.size:
        return np.array([height * width])
    changes = np.empty((h + 1, w), bool)
    changes[0], changes[h] = crop[0], crop[-1]
    np.not_equal(crop[1:], crop[:-1], out=changes[1:h])
    # Finding them row by row and sorting is faster than a transposed copy of the crop: real masks have few.
    rows, columns = np.divmod(np.flatnonzero(changes), w)
    order = np.argsort(columns * (h + 1) + rows)
    edges = (left + columns[order]) * height + top + rows[order]
    if h == height:
        # A run that ends at a column's foot and one that starts at the next column's head are one run.
        meets = np.flatnonzero(edges[1:] == edges[:-1])
        edges = np.delete(edges, np.concatenate([meets, meets + 1]))
    total = height * width
    if len(edges) and edges[-1] == total:
        edges = edges[:-1]
    return np.diff(edges, prepend=0, append=total)


def _runs_inside(counts: Counts) -> tuple[Counts, Counts]:
    """First pixel, and the one after the last, of each run inside, in column-major order."""
    ends = np.cumsum(counts)[1::2]
    lengths = counts[1::2]
    some = lengths > 0
    return (ends - lengths)[some], ends[some]


def _box(starts: Counts, ends: Counts, height: int) -> tuple[int, int, int, int]:
    if not len(starts):
        return (0, 0, 0, 0)
    last = ends - 1
    left, right = int(starts[0] // height), int(last[-1] // height) + 1
    top, bottom = int((starts % height).min()), int((last % height).max()) + 1
    if np.any(starts // height != last // height):
        top, bottom = 0, height
    return (left, top, right - left, bottom - top)


def _read(rle: Mapping[str, Any]) -> tuple[Counts, tuple[int, int]]:
    height, width = (int(side) for side in rle["size"])
    raw = rle["counts"]
    counts = _from_string(raw) if isinstance(raw, str | bytes) else np.asarray(raw, np.int64)
    if counts.ndim != 1 or (counts < 0).any() or counts.sum() != height * width:
        raise ContractError(
            f"run-length mask: counts of sum {counts.sum()}, expected run lengths of sum "
            f"{height * width} for the size [{height}, {width}]"
        )
    return counts, (height, width)


def _to_string(counts: Counts) -> str:
    values = counts.copy()
    values[3:] -= counts[1:-2]
    magnitude = np.where(values < 0, ~values, values)
    # One group holds a sign and four bits; each further one adds five.
    groups = np.ones(len(values), np.int64)
    limit = SIGN
    while (longer := magnitude >= limit).any():
        groups += longer
        limit <<= GROUP_BITS
    place = np.arange(groups.max())
    characters = (values[:, None] >> (GROUP_BITS * place)) & (MORE - 1)
    characters += FIRST_CHARACTER + MORE * (place < groups[:, None] - 1)
    return str(characters[place < groups[:, None]].astype(np.uint8).tobytes(), "ascii")


def _from_string(text: str | bytes) -> Counts:
    data = text.encode("ascii", "replace") if isinstance(text, str) else text
    codes = np.frombuffer(data, np.uint8).astype(np.int64) - FIRST_CHARACTER
    if not len(codes) or (codes < 0).any() or (codes >= 2 * MORE).any() or codes[-1] & MORE:
        raise ContractError("run-length mask: the counts are no compressed COCO string")
    last = np.flatnonzero(codes & MORE == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    groups = last - first + 1
    place = np.arange(len(codes)) - np.repeat(first, groups)
    values = np.add.reduceat((codes & (MORE - 1)) << (GROUP_BITS * place), first)
    values -= np.where(codes[last] & SIGN, np.int64(1) << (GROUP_BITS * groups), 0)
    # A length is written less the one two before it, from the fourth on: two sums, of odd and even places.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
