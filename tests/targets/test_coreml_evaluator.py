"""The evaluator of Core ML programs: every operation against hand-made numbers and PyTorch, refusals by name."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeseg.errors import ArtifactError

pytest.importorskip("coremltools")

constants = importlib.import_module("edgeseg_targets.coreml.evaluator.constants")
operations = importlib.import_module("edgeseg_targets.coreml.evaluator.operations")
program = importlib.import_module("edgeseg_targets.coreml.evaluator.program")
sdk = importlib.import_module("edgeseg_targets.coreml.sdk")
coremltools = sdk.import_coremltools("the tests")

from coremltools.converters.mil import Builder  # noqa: E402 - after the remarks of its import were silenced
from coremltools.converters.mil.mil import types  # noqa: E402

GRID = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
"""(1, 1, 2, 2)."""

LOG_3 = math.log(3)
"""The sigmoid of it is 3/4."""

BY_HAND: Mapping[str, tuple[str, dict[str, Any], Any]] = {
    "add": ("add", {"x": torch.tensor([1.0, 2.0]), "y": 0.5}, [1.5, 2.5]),
    "sub": ("sub", {"x": torch.tensor([1.0, 2.0]), "y": torch.tensor([3.0, 1.0])}, [-2.0, 1.0]),
    "mul of a number and a tensor": ("mul", {"x": 2.0, "y": torch.tensor([1.0, -2.0])}, [2.0, -4.0]),
    "sigmoid": ("sigmoid", {"x": torch.tensor([0.0, LOG_3])}, [0.5, 0.75]),
    "silu": ("silu", {"x": torch.tensor([0.0, LOG_3])}, [0.0, 0.75 * LOG_3]),
    "softmax": ("softmax", {"x": torch.tensor([[0.0], [LOG_3]]), "axis": 0}, [[0.25], [0.75]]),
    "cast": ("cast", {"x": torch.tensor([1.5]), "dtype": "fp32"}, [1.5]),
    "concat": ("concat", {"values": [GRID, -GRID], "axis": 3}, [[[[1, 2, -1, -2], [3, 4, -3, -4]]]]),
    "reshape": ("reshape", {"x": GRID, "shape": [0, -1]}, [[1, 2, 3, 4]]),
    "transpose": ("transpose", {"x": GRID, "perm": [0, 1, 3, 2]}, [[[[1, 3], [2, 4]]]]),
    "reduce_sum": ("reduce_sum", {"x": GRID, "axes": [3], "keep_dims": False}, [[[3, 7]]]),
    "upsample": (
        "upsample_nearest_neighbor",
        {"x": GRID, "scale_factor_height": 1.0, "scale_factor_width": 2},
        [[[[1, 1, 2, 2], [3, 3, 4, 4]]]],
    ),
    # A window of 2 by 2 over a frame of one: every value is the largest of its neighbours, negative ones too.
    "max_pool": (
        "max_pool",
        {"x": -GRID, "kernel_sizes": [2, 2], "strides": [1, 1], "pad_type": "custom", "pad": [1, 0, 0, 1]},
        [[[[-1, -2], [-1, -2]]]],
    ),
    # The kernel reads the value to its left and above: padded before only, by rows first.
    "conv with uneven padding": (
        "conv",
        {
            "x": GRID,
            "weight": torch.tensor([[[[1.0, 0.0], [0.0, 10.0]]]]),
            "bias": torch.tensor([0.5]),
            "pad_type": "custom",
            "pad": [1, 0, 0, 0],
        },
        [[[[20.5], [41.5]]]],
    ),
    "conv_transpose": (
        "conv_transpose",
        {"x": GRID, "weight": torch.tensor([[[[1.0, 2.0]]]]), "strides": [1, 2], "pad_type": "custom", "pad": [0] * 4},
        [[[[1, 2, 2, 4], [3, 6, 4, 8]]]],
    ),
    "conv_transpose cut": (
        "conv_transpose",
        {
            "x": GRID,
            "weight": torch.tensor([[[[1.0, 2.0]]]]),
            "strides": [1, 2],
            "pad_type": "custom",
            "pad": [1, 0, 1, 0],
        },
        [[[[6, 4, 8]]]],
    ),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_operation_gives_what_was_worked_out_by_hand(case: str) -> None:
    name, arguments, wanted = BY_HAND[case]
    torch.testing.assert_close(operations.OPERATIONS[name](arguments), torch.tensor(wanted, dtype=torch.float32))


def test_every_operation_has_a_hand_made_case() -> None:
    assert {name for name, _, _ in BY_HAND.values()} | {"split"} == set(operations.OPERATIONS)


@pytest.mark.parametrize("how", [{"split_sizes": [1, 3]}, {"num_splits": 2}], ids=["sizes", "number"])
def test_split(how: dict[str, Any]) -> None:
    parts = operations.split({"x": torch.arange(4.0), "axis": 0, **how})
    wanted = [[0.0], [1.0, 2.0, 3.0]] if "split_sizes" in how else [[0.0, 1.0], [2.0, 3.0]]
    assert [part.tolist() for part in parts] == wanted


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_convolution_equals_pytorch(stride: int, groups: int, dilation: int) -> None:
    torch.manual_seed(0)
    module = nn.Conv2d(4, 6, (3, 5), stride, (2, 1), dilation, groups)
    x = torch.randn(2, 4, 13, 17)
    arguments = {
        "x": x,
        "weight": module.weight,
        "bias": module.bias,
        "strides": [stride] * 2,
        "dilations": [dilation] * 2,
        "groups": groups,
        "pad_type": "custom",
        "pad": [2, 2, 1, 1],
    }
    torch.testing.assert_close(operations.conv(arguments), module(x))


def test_transposed_convolution_equals_pytorch() -> None:
    torch.manual_seed(0)
    module = nn.ConvTranspose2d(4, 6, 3, 2, (1, 0), groups=2)
    x = torch.randn(2, 4, 5, 7)
    arguments = {"x": x, "weight": module.weight, "bias": module.bias, "strides": [2, 2], "groups": 2}
    wanted = module(x)
    found = operations.conv_transpose({**arguments, "pad_type": "custom", "pad": [1, 1, 0, 0]})
    torch.testing.assert_close(found, wanted)
    declared = {"output_shape": list(wanted.shape), "pad_type": "custom", "pad": [1, 1, 0, 0]}
    torch.testing.assert_close(operations.conv_transpose({**arguments, **declared}), wanted)


def test_pooling_equals_pytorch() -> None:
    x = torch.randn(1, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    arguments = {"x": x, "kernel_sizes": [5, 5], "strides": [1, 1], "pad_type": "custom", "pad": [2] * 4}
    torch.testing.assert_close(operations.max_pool(arguments), nn.MaxPool2d(5, 1, 2)(x))


REFUSED: Mapping[str, tuple[Callable[[dict[str, Any]], Any], dict[str, Any], str]] = {
    "same padding": (operations.conv, {"x": GRID, "pad_type": "same"}, "conv with pad_type same"),
    "ceil": (operations.max_pool, {"x": GRID, "ceil_mode": True}, "max_pool with ceil_mode"),
    "interleaved": (operations.concat, {"values": [GRID], "axis": 1, "interleave": True}, "concat with interleave"),
    "integers": (operations.cast, {"x": GRID, "dtype": "int32"}, "cast with dtype int32"),
    "half steps": (operations.upsample, {"x": GRID, "scale_factor_height": 1.5}, "upsample_nearest_neighbor"),
    "another size": (
        operations.conv_transpose,
        {"x": GRID, "weight": torch.ones(1, 1, 2, 2), "output_shape": [1, 1, 4, 4]},
        "conv_transpose with output_shape",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_parameter_that_would_be_computed_wrongly_is_refused(case: str) -> None:
    function, arguments, message = REFUSED[case]
    with pytest.raises(ArtifactError, match=message):
        function(arguments)


def test_quantised_weights_by_hand() -> None:
    data = np.array([[1, -2], [3, 127]], np.int8)
    by_row = constants.affine(data, np.array([0.5, 2.0], np.float16), np.array([0, 1], np.int8), 0)
    assert by_row.tolist() == [[0.5, -1.0], [4.0, 252.0]]
    by_column = constants.affine(data, np.array([0.5, 2.0], np.float16), np.array(1, np.int8), 1)
    assert by_column.tolist() == [[0.0, -6.0], [1.0, 252.0]]
    # 127 - (-128) is no int8: it must not wrap round.
    assert constants.affine(data[1:, 1:], np.float32(1.0), np.array(-128, np.int8), 0).tolist() == [[255.0]]


def test_blocks_by_hand() -> None:
    data = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int8)
    scale = np.array([[1.0, 10.0], [100.0, 1000.0]], np.float16)
    assert constants.blockwise(data, scale, None).tolist() == [[1, 2, 30, 40], [500, 600, 7000, 8000]]
    offset = np.array([[1, 0], [5, 0]], np.int8)
    assert constants.blockwise(data, scale, offset).tolist() == [[0, 1, 30, 40], [0, 100, 7000, 8000]]


def test_packed_palettes_by_hand() -> None:
    # Indices 1, 2, 3 and 63 of six bits each, the first in the lowest bits.
    packed = np.frombuffer((1 | 2 << 6 | 3 << 12 | 63 << 18).to_bytes(3, "little"), np.uint8)
    lut = np.arange(64, dtype=np.float16) / 2
    assert constants.packed_palette(lut, packed, (2, 2)).tolist() == [[0.5, 1.0], [1.5, 31.5]]
    nibbles = np.array([0x21, 0x0F], np.uint8)
    assert constants.packed_palette(lut[:16], nibbles, (3,)).tolist() == [0.5, 1.0, 7.5]


def test_grouped_palettes_are_the_example_of_apples_documentation() -> None:
    # coremltools, iOS 18 constexpr_lut_to_dense, case 1.
    indices = np.array([2, 3, 3, 0, 1, 0, 3, 0, 2, 1, 0, 3], np.uint8).reshape(6, 2)
    lut = np.array([1.0, 5.0, 9.0, 13.0, 2.0, 10.0, 18.0, 26.0], np.float16).reshape(2, 1, 4, 1)
    wanted = [[9, 13], [13, 1], [5, 1], [26, 2], [18, 10], [2, 26]]
    assert constants.grouped_palette(lut, indices).tolist() == wanted


def test_half_precision_is_that_of_numpy() -> None:
    values: NDArray[np.float32] = np.array([1 + 2**-11, 1 + 3 * 2**-11, 65504, 70000, 2**-25, 1e-7], np.float32)
    with np.errstate(over="ignore"):
        wanted = values.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(constants.halved(torch.from_numpy(values)).numpy(), wanted)


def _built(body: Callable[[Any], Any], dtype: Any = types.fp32, shape: tuple[int, ...] = (1, 2, 4, 4)) -> Any:
    """A program of one input, `x`, made with coremltools' builder."""
    decorate = Builder.program(input_specs=[Builder.TensorSpec(shape, dtype)], opset_version=coremltools.target.iOS18)
    return program.Program(decorate(lambda x: body(x)), "a.mlpackage")


def test_fp16_is_rounded_after_each_operation_and_fp32_is_not() -> None:
    def body(x: Any) -> Any:
        return Builder.sub(x=Builder.add(x=x, y=_number(x, 2048)), y=_number(x, 2048), name="out")

    x = torch.full((1, 2, 4, 4), 1.5)
    halves, singles = _built(body, types.fp16), _built(body)
    # Between 2048 and 4096 fp16 has whole even numbers: 2049.5 becomes 2050.
    assert set(halves.run({"x": x})["out"].flatten().tolist()) == {2.0}
    assert set(singles.run({"x": x})["out"].flatten().tolist()) == {1.5}
    assert (halves.halves, singles.halves) == (2, 0)


def test_program_with_two_uses_and_several_results_equals_pytorch() -> None:
    def body(x: Any) -> Any:
        first, second = Builder.split(x=x, num_splits=2, axis=1)
        both = Builder.concat(values=[second, first, second], axis=1)
        return Builder.mul(x=both, y=Builder.sigmoid(x=first), name="out")

    x = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    first, second = torch.split(x, 1, dim=1)
    wanted: Tensor = torch.cat([second, first, second], 1) * first.sigmoid()
    built = _built(body)
    torch.testing.assert_close(built.run({"x": x})["out"], wanted)
    # Every value was freed after its last use, so a second run starts from the input again.
    torch.testing.assert_close(built.run({"x": x})["out"], wanted)


def test_result_that_nobody_takes_is_freed() -> None:
    def body(x: Any) -> Any:
        first, _ = Builder.split(x=x, num_splits=2, axis=1)
        return Builder.silu(x=first, name="out")

    built = _built(body)
    split = built.steps[0]
    assert set(split.given) <= {*split.free, *built.steps[1].free}


@pytest.mark.parametrize("kind", ["relu", "tanh"])
def test_unknown_operation_is_refused_by_name_when_opened(kind: str) -> None:
    with pytest.raises(
        ArtifactError, match=f"a.mlpackage: operations that the evaluator does not have: {kind}"
    ) as caught:
        _built(lambda x: getattr(Builder, kind)(x=x))
    assert "conv_transpose" in caught.value.hint


def _number(x: Any, value: float) -> Any:
    return np.float16(value) if x.dtype == types.fp16 else np.float32(value)
