"""Coral's table: hand-made files that it takes, and one for each of its rules that breaks that rule and no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from edgeseg_targets.edgetpu.mapping import predict
from edgeseg_targets.edgetpu.nodes import graph_of
from edgeseg_targets.edgetpu.table import SOURCES, TABLE, objections

from tests.targets.tflite_files import Operation, Tensor, tflite_file

MAP = (1, 8, 8, 4)


def indices(*values: int) -> Tensor:
    return Tensor((len(values),), "INT32", np.array(values, np.int32), scales=())


def weights(*shape: int) -> Tensor:
    return Tensor(shape, data=np.ones(shape, np.int8))


def bias(count: int) -> Tensor:
    return Tensor((count,), "INT32", np.ones(count, np.int32))


@dataclass(frozen=True)
class Case:
    """One operation: its inputs, its output, its options by number."""

    inputs: tuple[Tensor, ...]
    output: Tensor = field(default_factory=lambda: Tensor(MAP))
    version: int = 1
    options: Mapping[int, int] = field(default_factory=dict)
    flags: Mapping[int, int] = field(default_factory=dict)

    def file(self, kind: str) -> bytes:
        count = len(self.inputs)
        operation = Operation(kind, tuple(range(count)), (count,), self.version, self.options, self.flags)
        computed = [place for place, tensor in enumerate(self.inputs) if tensor.data is None]
        return tflite_file([*self.inputs, self.output], [operation], inputs=computed)


ONE = Case((Tensor(MAP),))
TWO = Case((Tensor(MAP), Tensor(MAP)))
POOL = Case((Tensor(MAP),), Tensor((1, 4, 4, 4)))
OVER = Case((Tensor(MAP), indices(1, 2)), Tensor((1, 4)))
RESIZE = Case((Tensor(MAP), indices(16, 16)), Tensor((1, 16, 16, 4)))
CONV = Case((Tensor(MAP), weights(4, 3, 3, 4), bias(4)), options={4: 1, 5: 1})
DEPTHWISE = Case((Tensor(MAP), weights(1, 3, 3, 4), bias(4)), options={5: 1, 6: 1})

GOOD: dict[str, Case] = {
    **dict.fromkeys(("ADD", "MAXIMUM", "MINIMUM", "MUL", "SQUARED_DIFFERENCE", "SUB"), TWO),
    **dict.fromkeys(("LOGISTIC", "RELU", "RELU6", "RELU_N1_TO_1", "RSQRT", "TANH", "L2_NORMALIZATION"), ONE),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), POOL),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"), OVER),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), RESIZE),
    **dict.fromkeys(("LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"), Case((Tensor((1, 5, 4)),), Tensor((1, 5, 4)))),
    "CONCATENATION": Case((Tensor(MAP), Tensor(MAP)), Tensor((1, 8, 8, 8)), options={0: 3}),
    "CONV_2D": CONV,
    "DEPTHWISE_CONV_2D": DEPTHWISE,
    "EXPAND_DIMS": Case((Tensor((8, 8, 4)), indices(0)), Tensor(MAP)),
    "FULLY_CONNECTED": Case((Tensor((1, 16)), weights(10, 16), bias(10)), Tensor((1, 10))),
    "PACK": Case((Tensor((8, 4)), Tensor((8, 4))), Tensor((8, 2, 4)), options={0: 2, 1: 1}),
    "PAD": Case((Tensor(MAP), indices(0, 0, 1, 1, 1, 1, 0, 0)), Tensor((1, 10, 10, 4))),
    "PRELU": Case((Tensor(MAP), weights(1, 1, 4))),
    "QUANTIZE": Case((Tensor(MAP, "UINT8"),)),
    "RESHAPE": Case((Tensor(MAP), indices(1, 256)), Tensor((1, 256))),
    "SLICE": Case((Tensor(MAP), indices(0, 0, 0, 0), indices(1, 8, 8, 2)), Tensor((1, 8, 8, 2))),
    "SOFTMAX": Case((Tensor((1, 16)),), Tensor((1, 16))),
    "SPACE_TO_DEPTH": Case((Tensor(MAP),), Tensor((1, 4, 4, 16)), options={0: 2}),
    "SPLIT": Case((indices(3), Tensor(MAP)), Tensor((1, 8, 8, 2))),
    "SQUEEZE": Case((Tensor((1, 1, 8, 4)),), Tensor((8, 4))),
    "STRIDED_SLICE": Case(
        (Tensor(MAP), indices(0, 0, 0, 0), indices(1, 4, 4, 4), indices(1, 1, 1, 1)), Tensor((1, 4, 4, 4))
    ),
    "TRANSPOSE": Case((Tensor(MAP), indices(0, 2, 1, 3))),
    "TRANSPOSE_CONV": Case((indices(1, 16, 16, 4), weights(4, 2, 2, 4), Tensor(MAP), bias(4)), Tensor((1, 16, 16, 4))),
}


@pytest.mark.parametrize("kind", TABLE)
def test_an_operation_within_its_limits_maps(kind: str) -> None:
    graph = graph_of(GOOD[kind].file(kind))
    assert list(objections(graph.nodes[0])) == []
    mapping = predict(graph)
    assert (mapping.mapped, mapping.share, mapping.first) == (1, 1.0, "")


def test_every_operation_of_the_table_has_a_file_here() -> None:
    assert GOOD.keys() == TABLE.keys()


def other(case: Case, place: int, tensor: Tensor) -> Case:
    """The same with another input."""
    return replace(case, inputs=(*case.inputs[:place], tensor, *case.inputs[place + 1 :]))


COMPUTED = Tensor((4,), "INT8")
FLOAT = Tensor(MAP, "FLOAT32", scales=())

BROKEN: dict[str, tuple[str, Case, str, str]] = {
    # requirements of every operation
    "float data": ("LOGISTIC", other(ONE, 0, FLOAT), "t0 1x8x8x4 float32 is not 8-bit", "requirements"),
    "no scale": ("LOGISTIC", other(ONE, 0, Tensor(MAP, scales=())), "has no quantisation scale", "requirements"),
    "16-bit data": ("LOGISTIC", other(ONE, 0, Tensor(MAP, "INT16")), "int16 is not 8-bit", "requirements"),
    "16-bit output": ("MUL", replace(TWO, output=Tensor(MAP, "INT16")), "int16 is not 8-bit", "requirements"),
    "float parameter": (
        "CONV_2D",
        other(CONV, 1, Tensor((4, 3, 3, 4), "FLOAT32", np.ones((4, 3, 3, 4), np.float32))),
        "neither 8-bit nor a 32-bit bias or index",
        "requirements",
    ),
    "open size": ("LOGISTIC", other(ONE, 0, Tensor((1, -8, 8, 4))), "size of t0 1x-8x8x4 int8 is open", "requirements"),
    "batch of two": ("ADD", replace(TWO, output=Tensor((2, 8, 8, 4))), "outside its three innermost", "requirements"),
    "four dimensions": ("MUL", other(TWO, 1, Tensor((2, 1, 1, 8, 4))), "outside its three innermost", "requirements"),
    # limits of the table
    "pool with activation": ("AVERAGE_POOL_2D", replace(POOL, flags={5: 1}), "RELU is fused into it", "table"),
    "maximum with activation": ("MAX_POOL_2D", replace(POOL, flags={5: 3}), "RELU6 is fused into it", "table"),
    "concatenation with activation": (
        "CONCATENATION",
        replace(GOOD["CONCATENATION"], flags={1: 1}),
        "RELU is fused into it",
        "table",
    ),
    "three with a constant": (
        "CONCATENATION",
        replace(GOOD["CONCATENATION"], inputs=(Tensor(MAP), Tensor(MAP), Tensor(MAP, data=np.zeros(MAP, np.int8)))),
        "a constant among 3 inputs, expected 2",
        "table",
    ),
    "constant that is not zero": (
        "CONCATENATION",
        other(GOOD["CONCATENATION"], 1, Tensor(MAP, data=np.zeros(MAP, np.int8), zero_point=-128)),
        "not all zero",
        "table",
    ),
    "two dilations": ("CONV_2D", replace(CONV, options={4: 1, 5: 2}), "dilation 1 along x and 2 along y", "table"),
    "two dilations of one": (
        "DEPTHWISE_CONV_2D",
        replace(DEPTHWISE, options={5: 2}),
        "dilation 2 along x",
        "table",
    ),
    "computed kernel": ("CONV_2D", other(CONV, 1, Tensor((1, 3, 3, 4))), "is computed, not constant", "table"),
    "computed bias": ("FULLY_CONNECTED", other(GOOD["FULLY_CONNECTED"], 2, Tensor((10,))), "is computed", "table"),
    "groups": ("CONV_2D", other(CONV, 1, weights(4, 3, 3, 2)), "grouped: 4 input channels, 2 in a filter", "conv_2d 6"),
    "shuffled weights": (
        "FULLY_CONNECTED",
        replace(GOOD["FULLY_CONNECTED"], flags={1: 1}),
        "its weights are shuffled",
        "table",
    ),
    "two rows": (
        "FULLY_CONNECTED",
        replace(GOOD["FULLY_CONNECTED"], output=Tensor((2, 10))),
        "more than one dimension",
        "table",
    ),
    "mean of the batch": ("MEAN", other(OVER, 1, indices(0)), "works along the batch", "table"),
    "mean of three channels": (
        "MEAN",
        Case((Tensor((1, 8, 8, 3)), indices(3)), Tensor((1, 8, 8))),
        "reduced over 3 channels, expected a multiple of 4",
        "table",
    ),
    "packed along the batch": ("PACK", replace(GOOD["PACK"], options={0: 2}), "packs along the batch", "table"),
    "padded batch": ("PAD", other(GOOD["PAD"], 1, indices(0, 1, 0, 0, 0, 0, 0, 0)), "pads the batch", "table"),
    "alpha for each point": ("PRELU", other(GOOD["PRELU"], 1, weights(8, 1, 4)), "alpha t1 8x1x4", "table"),
    "maximum of the batch": ("REDUCE_MAX", other(OVER, 1, indices(0)), "works along the batch", "table"),
    "minimum of the batch": ("REDUCE_MIN", other(OVER, 1, indices(-4)), "works along the batch", "table"),
    "sum of the batch": ("SUM", other(OVER, 1, indices(0, 1)), "works along the batch", "table"),
    "shape that is computed": ("RESHAPE", other(GOOD["RESHAPE"], 1, COMPUTED), "is computed, not constant", "table"),
    "resized table": (
        "RESIZE_BILINEAR",
        replace(RESIZE, inputs=(Tensor((8, 4)), indices(16, 4)), output=Tensor((1, 1, 16, 4))),
        "is not three-dimensional",
        "table",
    ),
    "enlarged table": (
        "RESIZE_NEAREST_NEIGHBOR",
        replace(RESIZE, inputs=(Tensor((8, 4)), indices(16, 4)), output=Tensor((1, 1, 16, 4))),
        "is not three-dimensional",
        "table",
    ),
    "half pixels": ("RESIZE_NEAREST_NEIGHBOR", replace(RESIZE, flags={1: 1}), "half pixel centers is set", "resize"),
    "aligned corners": ("RESIZE_BILINEAR", replace(RESIZE, flags={2: 1}), "align corners is set", "resize"),
    "softmax of rows": ("SOFTMAX", replace(GOOD["SOFTMAX"], inputs=(Tensor((2, 16)),)), "more than one dim", "table"),
    "long softmax": (
        "SOFTMAX",
        Case((Tensor((1, 16_001)),), Tensor((1, 16_001))),
        "16001 elements, at most 16000",
        "table",
    ),
    "split batch": ("SPLIT", other(GOOD["SPLIT"], 0, indices(0)), "works along the batch", "table"),
    "squeezed inside": ("SQUEEZE", Case((Tensor((8, 1, 4)),), Tensor((8, 4))), "not in front of it only", "table"),
    "stride of two": (
        "STRIDED_SLICE",
        other(GOOD["STRIDED_SLICE"], 3, indices(1, 2, 1, 1)),
        "strides [1, 2, 1, 1], expected 1",
        "table",
    ),
    "ellipsis": ("STRIDED_SLICE", replace(GOOD["STRIDED_SLICE"], options={2: 1}), "ellipsis mask", "table"),
    "new axis": ("STRIDED_SLICE", replace(GOOD["STRIDED_SLICE"], options={3: 2}), "new axis mask", "table"),
    "two-way LSTM": ("BIDIRECTIONAL_SEQUENCE_LSTM", GOOD["LSTM"], "is not in Coral's table", "table"),
    "other operator": ("HARD_SWISH", ONE, "HARD_SWISH is not in Coral's table", "table"),
    # what users met
    "too new": ("CONV_2D", replace(CONV, version=6), "version 6 of CONV_2D, the compiler reads up to 5", "conv_2d 6"),
    "too new a transpose": (
        "TRANSPOSE_CONV",
        replace(GOOD["TRANSPOSE_CONV"], version=4),
        "version 4 of TRANSPOSE_CONV, the compiler reads up to 3",
        "transpose_conv 4",
    ),
    "constant outside": (
        "CONV_2D",
        other(CONV, 1, replace(weights(4, 3, 3, 4), outside=True)),
        "lies behind the flatbuffer",
        "reader",
    ),
}
FATAL = {"too new", "too new a transpose", "constant outside"}
"""For these the compiler refuses the whole file."""


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_breaks_one_rule_is_told_that_one(name: str) -> None:
    kind, case, reason, source = BROKEN[name]
    graph = graph_of(case.file(kind))
    (found,) = objections(graph.nodes[0])
    assert reason in found.reason
    assert (found.source, found.fatal) == (source, name in FATAL)
    assert found.source in SOURCES
    assert predict(graph).mapped == 0


def test_a_constant_that_pads_with_real_zeroes_is_taken() -> None:
    """A zero is stored as the zero point, here -5."""
    zeroes = Tensor(MAP, data=np.full(MAP, -5, np.int8), zero_point=-5)
    graph = graph_of(other(GOOD["CONCATENATION"], 1, zeroes).file("CONCATENATION"))
    assert list(objections(graph.nodes[0])) == []
