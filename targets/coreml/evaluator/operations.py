"""Each operation of the language (MIL) that the network uses, by torch, in float32.

Parameters and defaults are those of coremltools' op definitions (converters/mil/mil/ops/defs). What a parameter may
say besides is refused: it would be computed wrongly.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from edgeseg.errors import ArtifactError

Arguments = Mapping[str, Any]
Results = Tensor | tuple[Tensor, ...]


def _need(fits: bool, operation: str, found: str, expected: str) -> None:
    if not fits:
        raise ArtifactError(f"{operation} with {found}: the evaluator of Core ML packages has {expected}")


def _pads(a: Arguments, operation: str) -> list[int]:
    """(before, after) of the axes in torch's order, the last axis first."""
    kind, pads = a.get("pad_type", "valid"), a.get("pad") or []
    _need(kind in ("valid", "custom"), operation, f"pad_type {kind}", "valid and custom")
    if kind == "valid" or not pads:
        return [0, 0, 0, 0]
    _need(len(pads) == 4, operation, f"{len(pads) // 2} axes", "two")
    return [*pads[2:], *pads[:2]]


def conv(a: Arguments) -> Tensor:
    """Two-dimensional convolution."""
    padded = functional.pad(a["x"], _pads(a, "conv"))
    sides = [a.get(name) or [1, 1] for name in ("strides", "dilations")]
    return functional.conv2d(
        padded, a["weight"], a.get("bias"), stride=sides[0], dilation=sides[1], groups=a.get("groups", 1)
    )


def conv_transpose(a: Arguments) -> Tensor:
    """Its padding is what is cut off the full result."""
    sides = [a.get(name) or [1, 1] for name in ("strides", "dilations")]
    full = functional.conv_transpose2d(
        a["x"], a["weight"], a.get("bias"), stride=sides[0], dilation=sides[1], groups=a.get("groups", 1)
    )
    cut = functional.pad(full, [-pad for pad in _pads(a, "conv_transpose")])
    wanted = a.get("output_shape")
    _need(
        wanted is None or list(cut.shape) == list(wanted),
        "conv_transpose",
        f"output_shape {wanted}",
        f"what its padding leaves, {list(cut.shape)}",
    )
    return cut


def max_pool(a: Arguments) -> Tensor:
    """Padding never is the largest value."""
    _need(not a.get("ceil_mode", False), "max_pool", "ceil_mode", "floor only")
    padded = functional.pad(a["x"], _pads(a, "max_pool"), value=float("-inf"))
    return functional.max_pool2d(padded, a["kernel_sizes"], a.get("strides") or [1, 1])


def upsample(a: Arguments) -> Tensor:
    """Each value becomes a block."""
    factors = [a.get(f"scale_factor_{side}", 1) for side in ("height", "width")]
    _need(all(factor == int(factor) for factor in factors), "upsample_nearest_neighbor", f"{factors}", "whole factors")
    height, width = (int(factor) for factor in factors)
    grown: Tensor = a["x"].repeat_interleave(height, -2).repeat_interleave(width, -1)
    return grown


def concat(a: Arguments) -> Tensor:
    """One after the other."""
    _need(not a.get("interleave", False), "concat", "interleave", "one after the other only")
    return torch.cat(a["values"], dim=a["axis"])


def split(a: Arguments) -> tuple[Tensor, ...]:
    """Into given sizes, or so many equal ones."""
    x, axis = a["x"], a["axis"]
    sizes = a.get("split_sizes") or [x.shape[axis] // a["num_splits"]] * a["num_splits"]
    return tuple(torch.split(x, sizes, dim=axis))


def reshape(a: Arguments) -> Tensor:
    """-1 is what is left; 0 keeps that axis."""
    x: Tensor = a["x"]
    shape = [old if new == 0 else new for new, old in itertools.zip_longest(a["shape"], x.shape[: len(a["shape"])])]
    return x.reshape(shape)


def cast(a: Arguments) -> Tensor:
    """Between the two floating types: rounding follows from the result's type."""
    _need(a["dtype"] in ("fp16", "fp32"), "cast", f"dtype {a['dtype']}", "fp16 and fp32")
    x: Tensor = a["x"]
    return x


def reduce_sum(a: Arguments) -> Tensor:
    """Over some axes, or all."""
    x: Tensor = a["x"]
    axes = a.get("axes") or list(range(x.dim()))
    return x.sum(dim=axes, keepdim=a.get("keep_dims", False))


def _transpose(a: Arguments) -> Tensor:
    x: Tensor = a["x"]
    return x.permute(a["perm"])


def _softmax(a: Arguments) -> Tensor:
    return torch.softmax(a["x"], dim=a.get("axis", -1))


OPERATIONS: Mapping[str, Callable[[Arguments], Results]] = {
    "add": lambda a: torch.as_tensor(a["x"] + a["y"]),
    "cast": cast,
    "concat": concat,
    "conv": conv,
    "conv_transpose": conv_transpose,
    "max_pool": max_pool,
    "mul": lambda a: torch.as_tensor(a["x"] * a["y"]),
    "reduce_sum": reduce_sum,
    "reshape": reshape,
    "sigmoid": lambda a: torch.sigmoid(a["x"]),
    "silu": lambda a: functional.silu(a["x"]),
    "softmax": _softmax,
    "split": split,
    "sub": lambda a: torch.as_tensor(a["x"] - a["y"]),
    "transpose": _transpose,
    "upsample_nearest_neighbor": upsample,
}
"""By name in MIL. An operation that is not here is refused when a package is opened."""

MOVES = frozenset(("concat", "max_pool", "reshape", "split", "transpose", "upsample_nearest_neighbor"))
"""These only move values: nothing is to be rounded after them."""
