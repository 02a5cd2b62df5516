"""TensorFlow's form of each torch operator that the network is made of; whatever else comes is refused by its name.

Activations of rank 4 are channels last until an operator asks for torch's own order of axes, as decoding does.
Sizes are numbers where they are known and scalars of the graph where they stay open, so that one table serves both.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgeseg.errors import StageError

from .sdk import import_tensorflow

tf = import_tensorflow("exporting a TensorFlow graph")

TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
"""Order of axes: (B, C, H, W) to (B, H, W, C), and back."""

AXES = {0: 0, 1: 3, 2: 1, 3: 2}
"""Axis of a (B, C, H, W) tensor to that of the (B, H, W, C) one."""

KERNEL_ORDER = (2, 3, 1, 0)
"""Torch's (out, in, h, w) to (h, w, in, out); of a transposed convolution (in, out, h, w) to (h, w, out, in)."""

FLOAT32 = 6
"""Torch's number of the dtype (c10/core/ScalarType.h)."""


@dataclass(frozen=True)
class Activation:
    """A float32 tensor of the TensorFlow graph.

    Attributes:
        tensor: symbolic.
        channels_last: whether its axes are (B, H, W, C); torch's order otherwise.
    """

    tensor: Any
    channels_last: bool = False

    def axis(self, dim: int) -> int:
        """Where torch's axis `dim` lies."""
        dim %= len(self.tensor.shape)
        return AXES[dim] if self.channels_last else dim

    def size(self, dim: int) -> Any:
        """Length of torch's axis `dim`: a number, or a scalar of the graph."""
        axis = self.axis(dim)
        known = self.tensor.shape[axis]
        return tf.shape(self.tensor)[axis] if known is None else int(known)

    def first(self) -> Activation:
        """In torch's order of axes."""
        return Activation(tf.transpose(self.tensor, TO_FIRST)) if self.channels_last else self

    def last(self) -> Activation:
        """Channels last where it is of rank 4."""
        if self.channels_last or len(self.tensor.shape) != len(TO_LAST):
            return self
        return Activation(tf.transpose(self.tensor, TO_LAST), channels_last=True)

    def like(self, tensor: Any) -> Activation:
        """Another tensor with this one's order of axes."""
        return Activation(tensor, self.channels_last)


def _require(fits: bool, what: str) -> None:
    if not fits:
        raise StageError("export_failed", what)


def _spatial(x: Activation) -> Any:
    _require(x.channels_last, "a picture's operator behind one that changed the order of axes")
    return x.tensor


def _convolution(  # noqa: PLR0913 - the operator's own arguments
    x: Activation,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    *_: bool,
) -> Activation:
    _require(groups == 1 and set(dilation) == {1}, f"groups {groups} and dilation {dilation}, expected 1 and 1")
    kernel = tf.constant(np.ascontiguousarray(weight.numpy().transpose(KERNEL_ORDER)), name="kernel")
    if transposed:
        result = _transposed(x, kernel, stride, [*padding, *output_padding])
    else:
        given, mode = _padded(_spatial(x), list(weight.shape[2:]), stride, padding)
        result = tf.nn.conv2d(given, kernel, stride, mode, name="conv")
    if bias is not None:
        result = tf.nn.bias_add(result, tf.constant(bias.numpy(), name="bias"), name="bias_add")
    return x.like(result)


def _transposed(x: Activation, kernel: Any, stride: list[int], paddings: list[int]) -> Any:
    fits = list(kernel.shape[:2]) == stride and not any(paddings)
    _require(fits, f"a transposed convolution of kernel {kernel.shape[:2]}, stride {stride}, padding {paddings}")
    shape = [x.size(0), x.size(2) * stride[0], x.size(3) * stride[1], int(kernel.shape[2])]
    return tf.nn.conv2d_transpose(_spatial(x), kernel, shape, stride, "VALID", name="conv")


def _padded(tensor: Any, kernel: list[int], stride: list[int], padding: list[int]) -> tuple[Any, str]:
    """The input, padded where that must be said, and TensorFlow's word for the padding.

    SAME is torch's padding at stride 1 only: at stride 2 it pads an even size on one side.
    """
    if not any(padding):
        return tensor, "VALID"
    if set(stride) == {1} and kernel == [2 * side + 1 for side in padding]:
        return tensor, "SAME"
    return tf.pad(tensor, [[0, 0], [padding[0]] * 2, [padding[1]] * 2, [0, 0]], name="pad"), "VALID"


def _max_pool(
    x: Activation, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil_mode: bool
) -> Activation:
    fits = set(stride or kernel) == {1} and kernel == [2 * side + 1 for side in padding] and set(dilation) == {1}
    _require(fits and not ceil_mode, f"kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation}")
    return x.like(tf.nn.max_pool2d(_spatial(x), kernel, 1, "SAME", name="pool"))


def _upsample(x: Activation, size: None, scales: list[float] | None) -> Activation:
    fits = size is None and scales is not None and all(scale == int(scale) for scale in scales)
    _require(fits, f"size {size} and scales {scales}, expected whole scales")
    sizes = [x.size(dim) * int(scale) for dim, scale in zip((2, 3), scales or [], strict=True)]
    return x.like(tf.raw_ops.ResizeNearestNeighbor(images=_spatial(x), size=sizes, name="resize"))


def _silu(x: Activation) -> Activation:
    return x.like(tf.multiply(x.tensor, tf.sigmoid(x.tensor, name="sigmoid"), name="mul"))


def _cat(parts: list[Activation], dim: int) -> Activation:
    parts = _alike(parts)
    return parts[0].like(tf.concat([part.tensor for part in parts], parts[0].axis(dim), name="concat"))


def _stack(parts: list[Activation], dim: int) -> Activation:
    return Activation(tf.stack([part.first().tensor for part in parts], dim, name="stack"))


def _chunk(x: Activation, count: int, dim: int) -> list[Activation]:
    size = x.size(dim)
    _require(isinstance(size, int) and size % count == 0, f"{count} parts of {size}")
    return [x.like(part) for part in tf.split(x.tensor, count, x.axis(dim), name="split")]


def _softmax(x: Activation, dim: int, dtype: None) -> Activation:
    _require(dtype is None, "a softmax of another dtype")
    order = list(range(len(x.tensor.shape)))
    order[x.axis(dim)], order[-1] = order[-1], order[x.axis(dim)]
    # TensorFlow's own kernel takes the last axis; given another, it would compute this order in the graph.
    last = tf.nn.softmax(tf.transpose(x.tensor, order, name="to_last"), name="softmax")
    return x.like(tf.transpose(last, order, name="from_last"))


def _sum(x: Activation, dims: list[int], keepdim: bool, dtype: None) -> Activation:
    _require(dtype is None and (keepdim or not x.channels_last), "a sum of another dtype or over a picture's axes")
    return x.like(tf.reduce_sum(x.tensor, [x.axis(dim) for dim in dims], keepdim, name="sum"))


def _view(x: Activation, shape: list[Any]) -> Activation:
    return Activation(tf.reshape(x.first().tensor, shape, name="reshape"))


def _flatten(x: Activation, start: int, end: int) -> Activation:
    rank = len(x.tensor.shape)
    sizes = [x.size(dim) for dim in range(rank)]
    start, end = start % rank, end % rank
    return _view(x, [*sizes[:start], math.prod(sizes[start : end + 1]), *sizes[end + 1 :]])


def _repeat(x: Activation, counts: list[Any]) -> Activation:
    _require(len(counts) == len(x.tensor.shape), "a repeat that adds axes")
    return Activation(tf.tile(x.first().tensor, counts, name="tile"))


def _arange(end: Any, dtype: int, *_: Any) -> Activation:
    _require(dtype == FLOAT32, f"numbers of dtype {dtype}, expected float32")
    return Activation(tf.cast(tf.range(end, name="range"), tf.float32, name="cast"))


def _to(x: Activation, dtype: int, *_: Any) -> Activation:
    _require(dtype == FLOAT32, f"dtype {dtype}, expected float32")
    return x


def _elementwise(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """An operator of two operands: activations, constants, numbers or sizes."""

    def apply(left: Any, right: Any, alpha: int = 1) -> Any:
        _require(alpha == 1, f"alpha {alpha}, expected 1")
        operands = [_operand(value) for value in (left, right)]
        activations = [value for value in operands if isinstance(value, Activation)]
        if not activations:
            return function(*operands)
        alike = iter(_alike(activations))
        found = [next(alike) if isinstance(value, Activation) else value for value in operands]
        values = [value.tensor if isinstance(value, Activation) else value for value in found]
        last = all(value.channels_last for value in found if isinstance(value, Activation))
        return Activation(function(*values), last)

    return apply


def _operand(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return Activation(tf.constant(value.numpy())) if value.dim() else value.item()


def _alike(parts: list[Activation]) -> list[Activation]:
    """All channels last, or all in torch's order."""
    return parts if all(part.channels_last for part in parts) else [part.first() for part in parts]


OPERATORS: Mapping[str, Callable[..., Any]] = {
    "aten::_convolution": _convolution,
    "aten::add": _elementwise(tf.add),
    "aten::arange": _arange,
    "aten::cat": _cat,
    "aten::chunk": _chunk,
    "aten::div": _elementwise(tf.divide),
    "aten::flatten": _flatten,
    "aten::Int": lambda value: value,
    "aten::max_pool2d": _max_pool,
    "aten::mul": _elementwise(operator.mul),
    "aten::repeat": _repeat,
    "aten::sigmoid": lambda x: x.like(tf.sigmoid(x.tensor, name="sigmoid")),
    "aten::silu": _silu,
    "aten::size": lambda x, dim: x.size(dim),
    "aten::softmax": _softmax,
    "aten::stack": _stack,
    "aten::sub": _elementwise(tf.subtract),
    "aten::sum": _sum,
    "aten::to": _to,
    "aten::upsample_nearest2d": _upsample,
    "aten::view": _view,
    "prim::ListConstruct": lambda *values: list(values),
    "prim::NumToTensor": lambda value: value,
    "prim::TupleConstruct": lambda *values: list(values),
}
"""Torch's operator to the function that takes its arguments: activations, constants of torch, Python values."""
