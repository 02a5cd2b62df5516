"""The ten raw tensors in a fraction of their bytes, exact wherever a gate looks.

Class logits are kept in fp16 for all points: below `KNOWN_SCORE` that rounding moves no probability by more than
2e-6. The points above it, which is every point that `verify` judges a box or an instance of, have everything in fp32.
Prototypes are kept in fp16; masks do not come from them, they are stored as such.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.errors import ArtifactError, ContractError
from edgeseg.files import replacing
from edgeseg.postprocess.decode import sigmoid
from edgeseg.recording.contract import ReferenceOutputs
from edgeseg.tensors import LEVELS, NUM_COEFFICIENTS, PROTO_STRIDE, RAW_OUTPUT_NAMES, REG_MAX, Array

KNOWN_SCORE = 0.0005
"""Points whose best class is likelier are kept whole: half of `edgeseg.verify.POINT_SCORE`, so that every point at
which a box error counts is among them."""

LARGEST_FP16 = 65504.0

_NPY_HEADER_BYTES = 4096
"""More than the header of any array here takes."""

Bytes = NDArray[np.uint8]


def write_compact(raw: Mapping[str, Array], path: Path) -> None:
    """Write the outputs of one picture as a compressed `.npz`.

    Args:
        raw: the ten raw tensors, (1, ...) float32.
        path: the file.

    Raises:
        ContractError: a value is not finite: nothing can be compared with that.
        OutputError: the file cannot be written.
    """
    broken = [name for name, array in raw.items() if not np.isfinite(array).all()]
    if broken:
        raise ContractError(
            f"the reference's {', '.join(broken)}: values that are not finite", hint="these weights are damaged"
        )
    classes = _joined(raw, "cls")
    points = np.flatnonzero(sigmoid(classes.max(axis=0)) > KNOWN_SCORE).astype("<i4")
    known = np.concatenate([classes, _joined(raw, "box"), _joined(raw, "coef")])[:, points]
    arrays: dict[str, Any] = {
        "points": points,
        "known": _planes(known, "<f4"),
        "classes": _planes(classes, "<f2"),
        "proto": _planes(raw["proto"][0], "<f2"),
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_compact(path: Path, num_classes: int, image_size: tuple[int, int]) -> ReferenceOutputs:
    """What `write_compact` wrote, in the shapes of the head contract.

    Args:
        path: the file; it may come from anywhere.
        num_classes: of the network.
        image_size: (height, width) of the letterbox in pixels.

    Raises:
        ArtifactError: it is no such file, or of other shapes.
    """
    height, width = image_size
    grids = [(height // stride, width // stride) for _, stride in LEVELS]
    total = sum(rows * columns for rows, columns in grids)
    channels = num_classes + 4 * REG_MAX + NUM_COEFFICIENTS
    proto = (NUM_COEFFICIENTS, height // PROTO_STRIDE, width // PROTO_STRIDE)
    try:
        arrays = _load(path, {"points": 4 * total, "known": 4 * channels * total})
        points = arrays["points"]
        exact = _values(arrays["known"], "<f4", (channels, points.size))
        flat = np.zeros((channels, total), np.float32)
        flat[:num_classes] = _values(arrays["classes"], "<f2", (num_classes, total))
        known = np.zeros(total, bool)
        if points.dtype != np.dtype("<i4") or points.ndim != 1 or (points < 0).any():
            raise ValueError(f"points of dtype {points.dtype} and shape {points.shape}")
        known[points], flat[:, points] = True, exact
        prototypes = _values(arrays["proto"], "<f2", proto)[None]
    except (ValueError, IndexError, KeyError, OSError, EOFError, MemoryError, zlib.error, zipfile.BadZipFile) as error:
        raise ArtifactError(
            f"{path}: no recorded outputs of {num_classes} classes at {height}x{width}: {error}",
            hint="make the bundle again",
        ) from error
    tensors = {**_split(flat, num_classes, grids), "proto": prototypes}
    return ReferenceOutputs({name: tensors[name] for name in RAW_OUTPUT_NAMES}, known)


def _load(path: Path, limits: Mapping[str, int]) -> dict[str, Array]:
    """All arrays of a file; one that unpacks to more than the largest possible is refused before."""
    largest = max(limits.values()) + _NPY_HEADER_BYTES
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.file_size > largest:
                raise ValueError(f"{member.filename} unpacks to {member.file_size} bytes, expected at most {largest}")
    with np.load(path, allow_pickle=False) as content:
        return dict(content)


def _joined(raw: Mapping[str, Array], kind: str) -> NDArray[np.float32]:
    """(channels, points) of all levels."""
    levels = [raw[f"{level}_{kind}"][0] for level, _ in LEVELS]
    return np.concatenate([level.reshape(len(level), -1) for level in levels], axis=1)


def _split(flat: NDArray[np.float32], num_classes: int, grids: list[tuple[int, int]]) -> dict[str, Array]:
    """(channels, points) back to a tensor per level and kind."""
    bounds = {"cls": (0, num_classes), "box": (num_classes, num_classes + 4 * REG_MAX)}
    bounds["coef"] = (num_classes + 4 * REG_MAX, len(flat))
    tensors, start = {}, 0
    for (level, _), (rows, columns) in zip(LEVELS, grids, strict=True):
        part = flat[:, start : start + rows * columns].reshape(1, len(flat), rows, columns)
        tensors.update({f"{level}_{kind}": part[:, first:last] for kind, (first, last) in bounds.items()})
        start += rows * columns
    return tensors


def _planes(values: Array, dtype: str) -> Bytes:
    """(bytes of a number, ...): all first bytes, then all second ones. Signs and exponents of neighbours are alike,
    and deflate finds that where they lie side by side: a sixth less than the numbers themselves."""
    largest = LARGEST_FP16 if dtype == "<f2" else np.inf
    # An infinity would be a wrong value; beyond the largest fp16 a probability is 0 or 1 all the same.
    numbers = np.ascontiguousarray(np.clip(values, -largest, largest).astype(dtype))
    octets = numbers.view(np.uint8).reshape(*numbers.shape, numbers.itemsize)
    return np.ascontiguousarray(np.moveaxis(octets, -1, 0))


def _values(planes: Bytes, dtype: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The numbers of `_planes`, as float32."""
    expected = (np.dtype(dtype).itemsize, *shape)
    if planes.dtype != np.uint8 or planes.shape != expected:
        raise ValueError(f"{planes.dtype} of shape {planes.shape}, expected uint8 of shape {expected}")
    octets = np.ascontiguousarray(np.moveaxis(planes, 0, -1))
    return octets.view(dtype)[..., 0].astype(np.float32)
