"""Error statistics by hand, and accumulated as if all pictures came at once."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.metrics.tensor_error import TensorError
from edgeseg.tensors import Array


def error_of(*pairs: tuple[object, object]) -> TensorError:
    error = TensorError("t")
    for reference, found in pairs:
        error.add(_array(reference), _array(found))
    return error


def _array(values: object) -> Array:
    return np.asarray(values, np.float32)


def statistic(error: TensorError, name: str) -> float:
    value = error.summary()[name]
    assert isinstance(value, float)
    return value


def test_statistics_equal_those_worked_out_by_hand() -> None:
    summary = error_of(([3, 0, 4, 0], [3, 1, 2, 0])).summary()

    assert summary["name"] == "t"
    assert summary["max_abs"] == 2
    assert summary["mean_abs"] == 0.75
    assert summary["mean_signed"] == -0.25
    assert summary["sqnr_db"] == pytest.approx(10 * math.log10(25 / 5))
    assert summary["cosine"] == pytest.approx((9 + 8) / math.sqrt(25 * 14))
    assert summary["reference_rms"] == 2.5
    assert error_of(([3, 0, 4, 0], [3, 1, 2, 0])).relative == pytest.approx(math.sqrt(5) / 5)


def test_equal_tensors_have_no_error() -> None:
    error = error_of(([[1, -2]], [[1, -2]]))

    assert error.max_abs == 0
    assert error.relative == 0
    assert statistic(error, "sqnr_db") == math.inf
    assert statistic(error, "cosine") == pytest.approx(1)


def test_a_scaled_tensor_keeps_its_cosine_and_loses_its_signal_to_noise() -> None:
    error = error_of(([1, 2, 3], [2, 4, 6]))

    assert statistic(error, "cosine") == pytest.approx(1)
    assert statistic(error, "sqnr_db") == pytest.approx(0)
    assert error.relative == 1


def test_an_opposite_tensor_has_a_cosine_of_minus_1() -> None:
    assert statistic(error_of(([1, 2], [-1, -2])), "cosine") == pytest.approx(-1)


@pytest.mark.parametrize(
    ("reference", "found", "zero", "relative", "sqnr_db"),
    [([0, 0], [0, 0], False, 0, math.inf), ([0, 0], [1, 0], False, math.inf, -math.inf), ([1, 0], [0, 0], True, 1, 0)],
    ids=["both", "reference", "artifact"],
)
def test_tensors_of_zeros_divide_nothing_by_zero(
    reference: list[float], found: list[float], zero: bool, relative: float, sqnr_db: float
) -> None:
    error = error_of((reference, found))

    assert error.found_is_zero is zero
    assert error.relative == relative
    assert statistic(error, "sqnr_db") == sqnr_db
    assert math.isnan(statistic(error, "cosine"))


def test_an_empty_tensor_has_no_error() -> None:
    assert error_of(([], [])).summary()["max_abs"] == 0


@pytest.mark.parametrize(
    ("reference", "found"),
    [([1, 2], [1, math.nan]), ([math.nan, 2], [1, 2]), ([math.inf, 2], [math.inf, 2])],
    ids=["artifact", "reference", "two infinities"],
)
@pytest.mark.parametrize("place", [0, 1, 2], ids=["first", "middle", "last"])
def test_a_nan_in_any_picture_makes_every_statistic_of_the_error_nan(
    reference: list[float], found: list[float], place: int
) -> None:
    pairs: list[tuple[object, object]] = [([1, 2], [1, 2.5]), ([0, 1], [0, 1])]
    pairs.insert(place, (reference, found))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        error = error_of(*pairs)
        summary = error.summary()

    for name in ("max_abs", "mean_abs", "mean_signed", "sqnr_db", "cosine"):
        assert math.isnan(float(summary[name])), name
    assert not error.relative < 1e9, "a NaN is not small"


@given(seed=st.integers(0, 10_000), parts=st.integers(1, 6))
def test_accumulation_equals_one_tensor_of_all_pictures(seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    reference = rng.normal(2, 3, (60, 4)).astype(np.float32)
    found = (reference + rng.normal(0, 0.1, reference.shape)).astype(np.float32)
    pieces = zip(np.array_split(reference, parts), np.array_split(found, parts), strict=True)

    split, whole = error_of(*pieces).summary(), error_of((reference, found)).summary()

    for name, value in whole.items():
        assert split[name] == (value if name == "name" else pytest.approx(value, rel=1e-9))


def test_float16_values_are_summed_in_full_precision() -> None:
    # In float16 the sum of squares would overflow at 65,504, and small errors would vanish.
    reference = np.full(10_000, 300, np.float16)
    error = TensorError("t")
    error.add(reference, reference + np.float16(0.25))

    assert statistic(error, "mean_abs") == 0.25
    assert statistic(error, "reference_rms") == pytest.approx(300)


def test_varies_tells_a_constant_output_from_one_that_follows_the_input() -> None:
    dead = error_of(([1, 2], [0, 0]), ([3, 4], [0, 0]))
    late = error_of(([1, 2], [0, 0]), ([1, 2], [0, 0]), ([1, 2], [0, 1]))

    assert (dead.reference_varies, dead.varies) == (True, False)
    assert (late.reference_varies, late.varies) == (False, True)


def test_one_picture_says_nothing_about_variation() -> None:
    single = error_of(([1, 2], [1, 2]))

    assert not single.varies
    assert not single.reference_varies


def test_varies_compares_with_what_was_then_given_not_with_a_buffer_used_again() -> None:
    buffer = np.array([1, 2], np.float32)
    error = TensorError("t")
    error.add(buffer, buffer)
    buffer[:] = 5
    error.add(buffer, buffer)

    assert error.varies


def test_tensors_of_two_shapes_are_refused() -> None:
    for found in ([1, 2, 3], [[1, 2], [3, 4], [5, 6]], [1, 2, 3, 4, 5, 6]):
        with pytest.raises(ValueError, match="shape"):
            error_of(([[1, 2, 3], [4, 5, 6]], found))
