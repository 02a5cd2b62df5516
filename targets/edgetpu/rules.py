"""Checks of one operation: each gives the reason why the Edge TPU does not take it, or nothing.

What they check is said in Coral's table of supported operations; `table.py` says which check belongs to which operator.
Tensors are (batch, y, x, z) in that table's words.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .nodes import Node, Tensor

Check = Callable[[Node], str]

EIGHT_BITS = ("INT8", "UINT8")
INDICES = ("INT32", "INT64")
ACTIVATIONS = ("none", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
INNERMOST = 3
SOFTMAX_ELEMENTS = 16_000
"""The largest SOFTMAX of Coral's table."""


def _data(node: Node) -> list[Tensor]:
    """Tensors that are computed, those that come from outside among them."""
    return [tensor for tensor in (*node.inputs, *node.outputs) if tensor is not None and not tensor.is_constant]


def eight_bits(node: Node) -> str:
    """All data 8-bit and quantised; parameters 8-bit too, or 32-bit as biases and indices are."""
    for tensor in _data(node):
        if tensor.type not in EIGHT_BITS:
            return f"{tensor} is not 8-bit"
        if not tensor.scales:
            return f"{tensor} has no quantisation scale"
    for constant in node.inputs:
        if constant is not None and constant.is_constant and constant.type not in (*EIGHT_BITS, *INDICES):
            return f"the parameter {constant} is neither 8-bit nor a 32-bit bias or index"
    return ""


def fixed_sizes(node: Node) -> str:
    """Sizes known when it is compiled."""
    return next((f"the size of {tensor} is open" for tensor in _data(node) if min(tensor.shape, default=1) < 1), "")


def three_dimensions(node: Node) -> str:
    """Only the three innermost sizes of a tensor may be above 1."""
    for tensor in _data(node):
        outer = tensor.shape[:-INNERMOST]
        if any(side > 1 for side in outer):
            return f"{tensor} has a size above 1 outside its three innermost dimensions"
    return ""


def constant_inputs(*places: int) -> Check:
    """Parameters whose values are in the file."""

    def check(node: Node) -> str:
        for place in places:
            tensor = node.given(place)
            if tensor is not None and not tensor.is_constant:
                return f"the parameter {tensor} is computed, not constant"
        return ""

    return check


def no_activation(node: Node) -> str:
    """No activation function fused into it."""
    number = node.options.get("activation", 0)
    return f"{ACTIVATIONS[number] if number < len(ACTIVATIONS) else number} is fused into it" if number else ""


def same_dilation(node: Node) -> str:
    """The same dilation along x and y."""
    x, y = node.options["dilation_x"], node.options["dilation_y"]
    return "" if x == y else f"dilation {x} along x and {y} along y"


def one_group(node: Node) -> str:
    """Every filter sees all input channels."""
    data, weights = node.given(0), node.given(1)
    if data is None or weights is None or data.shape[-1:] == weights.shape[-1:]:
        return ""
    return f"grouped: {data.shape[-1]} input channels, {weights.shape[-1]} in a filter"


def zero_padding_only(node: Node) -> str:
    """A constant among the inputs: only two inputs then, and all of it zero."""
    constants = [tensor for tensor in node.inputs if tensor is not None and tensor.is_constant]
    if not constants:
        return ""
    if len(node.inputs) != 2:
        return f"a constant among {len(node.inputs)} inputs, expected 2"
    return "" if all(map(_is_zero, constants)) else "its constant input is not all zero"


def _is_zero(tensor: Tensor) -> bool:
    """Whether an 8-bit constant stands for zeroes, which are stored as its zero point."""
    if tensor.data is None or tensor.type not in EIGHT_BITS:
        return False
    values = tensor.data.view(np.int8 if tensor.type == "INT8" else np.uint8)
    return bool((values == (tensor.zero_points or (0,))[0]).all())


def default_weights(node: Node) -> str:
    """Weights in the default order."""
    return "" if node.options["weights_format"] == 0 else "its weights are shuffled"


def one_dimensional_output(node: Node) -> str:
    """An output of one dimension."""
    return _one_dimension(node.outputs[0], "the output")


def short_vector(node: Node) -> str:
    """An input of one dimension, of at most 16,000 elements."""
    data = node.given(0)
    if data is None:
        return ""
    size = int(np.prod(data.shape))
    return _one_dimension(data, "the input") or (
        f"{size} elements, at most {SOFTMAX_ELEMENTS}" if size > SOFTMAX_ELEMENTS else ""
    )


def _one_dimension(tensor: Tensor, what: str) -> str:
    return f"{what} {tensor} has more than one dimension" if sum(side > 1 for side in tensor.shape) > 1 else ""


def no_batch_axis(place: int) -> Check:
    """The axes, a constant input at this place, leave the batch alone."""

    def check(node: Node) -> str:
        return "it works along the batch" if 0 in _axes(node, place) else ""

    return check


def _axes(node: Node, place: int) -> list[int]:
    """Axes, counted from the outermost; the batch is the first of four."""
    indices, data = node.given(place), node.given(1 - place if place < 2 else 0)
    if indices is None or data is None:
        return []
    return [axis % len(data.shape) for axis in indices.integers()] if len(data.shape) > 1 else []


def z_in_fours(node: Node) -> str:
    """Reduced over z: a multiple of 4."""
    data = node.given(0)
    if data is None or len(data.shape) - 1 not in _axes(node, 1) or data.shape[-1] % 4 == 0:
        return ""
    return f"reduced over {data.shape[-1]} channels, expected a multiple of 4"


def no_batch_packing(node: Node) -> str:
    """Packed along another axis than the batch."""
    return "it packs along the batch" if node.options["axis"] % max(len(node.outputs[0].shape), 1) == 0 else ""


def no_batch_padding(node: Node) -> str:
    """Nothing is added to the batch."""
    paddings, data = node.given(1), node.given(0)
    if paddings is None or data is None or len(data.shape) < 4:
        return ""
    return "it pads the batch" if any(paddings.integers()[:2]) else ""


def alpha_by_channel(node: Node) -> str:
    """One alpha a channel."""
    alpha = node.given(1)
    return "" if alpha is None else _one_dimension(alpha, "alpha")


def leading_ones(node: Node) -> str:
    """Removes leading sizes of 1 only, so that nothing moves in memory."""
    data, found = node.given(0), node.outputs[0].shape
    if data is None or data.shape[len(data.shape) - len(found) :] == found:
        return ""
    return f"it removes sizes inside {data}, not in front of it only"


def plain_slice(node: Node) -> str:
    """Strides of 1, no ellipsis, no new axis."""
    strides = node.given(3)
    if strides is not None and any(stride != 1 for stride in strides.integers()):
        return f"strides {strides.integers()}, expected 1"
    masks = [name for name in ("ellipsis_mask", "new_axis_mask") if node.options[name]]
    return f"it has an {masks[0].replace('_', ' ')}" if masks else ""


def three_dimensional(node: Node) -> str:
    """A batch of 1: (y, x, z)."""
    for tensor in _data(node):
        if len(tensor.shape) not in (3, 4) or (len(tensor.shape) == 4 and tensor.shape[0] != 1):
            return f"{tensor} is not three-dimensional"
    return ""


def plain_grid(node: Node) -> str:
    """Points are taken as the first compilers took them: no half pixels, corners not aligned."""
    found = [name.replace("_", " ") for name in ("half_pixel_centers", "align_corners") if node.options[name]]
    return f"{found[0]} is set" if found else ""
