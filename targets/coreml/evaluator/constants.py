"""Constants of a program: plain, quantised or in palettes, as torch and Python values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from edgeseg.errors import ArtifactError
from edgeseg.tensors import Array


def affine(data: Array, scale: Array, zero_point: Array, axis: int) -> Array:
    """``scale * (data - zero_point)`` of constexpr_affine_dequantize (iOS 16).

    Args:
        data: int8 or uint8.
        scale: a number, or one for each entry along `axis`.
        zero_point: like `scale`.
        axis: of `data`.
    """
    shape = [1] * data.ndim
    shape[axis] = -1
    wide_scale, wide_zero = (
        value.reshape(shape) if value.ndim else value for value in (scale.astype(np.float32), zero_point)
    )
    return np.asarray(wide_scale * (data.astype(np.float32) - wide_zero.astype(np.float32)))


def blockwise(data: Array, scale: Array, offset: Array | None) -> Array:
    """``scale * (data - offset)`` of constexpr_blockwise_shift_scale (iOS 18): a scale for each block of `data`."""

    def spread(value: Array) -> Array:
        for axis, (whole, blocks) in enumerate(zip(data.shape, value.shape, strict=True)):
            value = np.repeat(value, whole // blocks, axis)
        return value.astype(np.float32)

    moved = data.astype(np.float32) - (0 if offset is None else spread(offset))
    return np.asarray(spread(scale) * moved)


def packed_palette(lut: Array, packed: Array, shape: tuple[int, ...]) -> Array:
    """constexpr_lut_to_dense of iOS 16: one palette, indices of log2(len(lut)) bits packed from the lowest bit up."""
    bits = int(lut.size).bit_length() - 1
    count = int(np.prod(shape))
    places = np.unpackbits(packed, bitorder="little")[: count * bits].reshape(count, bits)
    indices = places.astype(np.int64) @ (1 << np.arange(bits))
    return np.asarray(lut.astype(np.float32)[indices].reshape(shape))


def grouped_palette(lut: Array, indices: Array) -> Array:
    """constexpr_lut_to_dense of iOS 18: palettes for groups along the axes of `indices`.

    Args:
        lut: one axis for each of `indices`, as many entries as there are groups, then entries, then 1.
        indices: one for each value.
    """
    for axis, (whole, groups) in enumerate(zip(indices.shape, lut.shape, strict=False)):
        lut = np.repeat(lut, whole // groups, axis)
    chosen = np.take_along_axis(lut[..., 0].astype(np.float32), indices[..., None].astype(np.int64), axis=-1)
    return np.asarray(chosen[..., 0])


def _affine_of(values: Mapping[str, Any]) -> Array:
    data, scale, zero_point = (np.asarray(values[name]) for name in ("quantized_data", "scale", "zero_point"))
    return affine(data, scale, zero_point, int(values["axis"]))


def _blockwise_of(values: Mapping[str, Any]) -> Array:
    offset = values.get("offset")
    return blockwise(
        np.asarray(values["data"]), np.asarray(values["scale"]), None if offset is None else np.asarray(offset)
    )


def _palette_of(values: Mapping[str, Any]) -> Array:
    lut, indices = np.asarray(values["lut"]), np.asarray(values["indices"])
    if "shape" in values:
        return packed_palette(lut, indices, tuple(int(side) for side in values["shape"]))
    if lut.shape[-1] != 1:
        raise ArtifactError(f"constexpr_lut_to_dense with vectors of {lut.shape[-1]}, the evaluator has single values")
    return grouped_palette(lut, indices)


DENSE: Mapping[str, Callable[[Mapping[str, Any]], Array]] = {
    "constexpr_affine_dequantize": _affine_of,
    "constexpr_blockwise_shift_scale": _blockwise_of,
    "constexpr_lut_to_dense": _palette_of,
}
"""What makes plain weights of compressed ones, by the operation that holds them."""


def dense(operation: Any) -> torch.Tensor:
    """The weights that a compressed constant stands for, rounded to its declared type, as float32."""
    values = {name: var.val for name, var in operation.inputs.items() if var is not None}
    weights = torch.from_numpy(np.ascontiguousarray(DENSE[operation.op_type](values), np.float32))
    return halved(weights) if is_half(operation.outputs[0]) else weights


def plain(value: Any) -> Any:
    """A constant's value: floating arrays as float32 tensors, integer arrays as lists, the rest as Python's."""
    if isinstance(value, np.ndarray) and value.ndim and value.dtype.kind == "f":
        return torch.from_numpy(value.astype(np.float32))
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


def is_half(var: Any) -> bool:
    """Whether a value of the program is fp16."""
    from coremltools.converters.mil.mil import types

    return bool(var.dtype == types.fp16)


def halved(tensor: torch.Tensor) -> torch.Tensor:
    """float32 values rounded to the nearest fp16; beyond 65504 they become infinite, as there."""
    return tensor.half().float()
