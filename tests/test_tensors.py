"""The contract of names, shapes and dtypes, and what is said where it is broken."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg.errors import ContractError
from edgeseg.tensors import (
    DECODED_OUTPUT_NAMES,
    RAW_OUTPUT_NAMES,
    Dimension,
    TensorSpec,
    check_tensors,
    decoded_output_specs,
    input_spec,
    raw_output_specs,
)

SPEC = TensorSpec("images", ("batch", 3, 64, "width"))


@pytest.mark.parametrize("shape", [(1, 3, 64, 1), (7, 3, 64, 96)], ids=str)
def test_a_named_dimension_takes_any_size(shape: tuple[int, ...]) -> None:
    assert SPEC.mismatch(np.zeros(shape, np.float32)) == ""


@pytest.mark.parametrize("shape", [(1, 3, 63, 1), (3, 64, 1), (1, 1, 3, 64, 1), (), (1, 64, 1, 3)], ids=str)
def test_another_shape_is_named_with_what_was_expected(shape: tuple[int, ...]) -> None:
    text = SPEC.mismatch(np.zeros(shape, np.float32))

    assert text == f"images: shape {shape}, expected ('batch', 3, 64, 'width')"


@pytest.mark.parametrize("dtype", ["float64", "float16", "uint8", "int32"])
def test_another_dtype_is_named_with_what_was_expected(dtype: str) -> None:
    assert SPEC.mismatch(np.zeros((1, 3, 64, 1), dtype)) == f"images: dtype {dtype}, expected float32"


def test_check_tensors_lists_every_problem_and_the_whole_contract() -> None:
    specs = (TensorSpec("a", (1,)), TensorSpec("b", (2,)), TensorSpec("c", (3,), "uint8"))

    with pytest.raises(ContractError) as caught:
        check_tensors(specs, {"b": np.zeros(5, np.float32), "c": np.zeros(3), "d": np.zeros(1)}, "the inputs")

    message = caught.value.message
    assert message.startswith("the inputs break the contract: ")
    for part in ("a: missing", "d: not expected", "b: shape (5,), expected (2,)", "c: dtype float64, expected uint8"):
        assert part in message
    assert "a (1,) float32, b (2,) float32, c (3,) uint8" in caught.value.hint


def test_check_tensors_is_silent_where_all_fits() -> None:
    check_tensors((SPEC,), {"images": np.zeros((2, 3, 64, 32), np.float32)}, "the inputs")


def test_raw_outputs_are_ten_maps_at_their_strides() -> None:
    shapes = {spec.name: spec.shape for spec in raw_output_specs(7, (64, 96), 2)}

    assert tuple(shapes) == RAW_OUTPUT_NAMES
    assert len(shapes) == 10
    assert shapes["p3_box"] == (2, 64, 8, 12)
    assert shapes["p4_cls"] == (2, 7, 4, 6)
    assert shapes["p5_coef"] == (2, 32, 2, 3)
    assert shapes["proto"] == (2, 32, 16, 24)


def test_decoded_outputs_are_the_peers_two() -> None:
    points, prototypes = decoded_output_specs(80, (640, 640))

    assert (points.name, prototypes.name) == DECODED_OUTPUT_NAMES
    assert points.shape == (1, 116, 8400)
    assert prototypes.shape == (1, 32, 160, 160)


@pytest.mark.parametrize(
    ("size", "batch"), [((64, 96), 1), (("height", "width"), "batch"), ((64, "width"), 3)], ids=str
)
def test_dynamic_specs_take_the_arrays_of_any_size_that_fixed_ones_name(
    size: tuple[Dimension, Dimension], batch: Dimension
) -> None:
    count = batch if isinstance(batch, int) else 5
    for make in (raw_output_specs, decoded_output_specs):
        fixed = make(3, (64, 96), count)
        for spec, exact in zip(make(3, size, batch), fixed, strict=True):
            shape = tuple(int(side) for side in exact.shape)
            assert spec.mismatch(np.zeros(shape, np.float32)) == ""
            assert spec.layout == exact.layout


def test_the_input_is_three_channels() -> None:
    assert input_spec((64, 96)) == TensorSpec("images", (1, 3, 64, 96), "float32", "NCHW")
    assert input_spec(("h", "w"), "b").shape == ("b", 3, "h", "w")
