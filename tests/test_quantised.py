"""Tensors held in integers: the same results as if every value had been made real first."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg.data.letterbox import geometry
from edgeseg.postprocess.decode import Selection, decode_raw
from edgeseg.postprocess.pipeline import PostprocessOptions, postprocess
from edgeseg.quantised import Quantised, Tensor, real
from edgeseg.tensors import Array, raw_output_specs

SIZE = (64, 96)
NAMES = ("a", "b", "c")


def test_real_values_of_a_hand_made_tensor() -> None:
    tensor = Quantised(np.array([[-128, 0], [3, 127]], np.int8), 0.5, 3)
    np.testing.assert_array_equal(tensor.real(), np.array([[-65.5, -1.5], [0, 62]], np.float32))
    assert tensor.real().dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
@pytest.mark.parametrize("scale", [0.0394839979, 1e-3, 3.7])
def test_comparing_in_integers_equals_comparing_real_values(dtype: type, scale: float) -> None:
    limits = np.iinfo(dtype)
    every: Array = np.arange(limits.min, limits.max + 1).astype(dtype)
    zero = int(limits.min + limits.max + 1) // 2 + 7
    tensor = Quantised(every, scale, zero)
    values = tensor.real()
    # On values, just beside them, and outside of the range.
    asked = [*values[:: len(values) // 32], np.nextafter(values[50], np.float32(-np.inf)), -1e9, 1e9, -np.inf, np.inf]
    for limit in map(float, asked):
        np.testing.assert_array_equal(tensor.above(limit), values > np.float32(limit))


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("score", [0.0, 0.25, 0.5, 1.0])
def test_decoding_gives_the_same_bits(score: float, multi_label: bool) -> None:
    held = _outputs()
    made_real = {name: real(tensor) for name, tensor in held.items()}
    selection = Selection(score, multi_label)
    found, wanted = decode_raw(held, 0, selection), decode_raw(made_real, 0, selection)
    assert len(wanted.scores) > 0 or score == 1.0
    for name in ("xyxy", "scores", "class_ids", "coefficients"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)


def test_masks_are_the_same() -> None:
    held = _outputs()
    place, options = geometry((80, 120), SIZE), PostprocessOptions(score=0.3)
    found = postprocess(held, 0, "raw", place, NAMES, options)
    wanted = postprocess({name: real(tensor) for name, tensor in held.items()}, 0, "raw", place, NAMES, options)
    assert len(wanted) > 5
    assert found.masks is not None
    assert wanted.masks is not None
    for mask, other in zip(found.masks, wanted.masks, strict=True):
        np.testing.assert_array_equal(mask.bitmap, other.bitmap)


def _outputs() -> dict[str, Tensor]:
    """Random steps, channels last in memory as a file has them."""
    random = np.random.default_rng(0)
    outputs: dict[str, Tensor] = {}
    for spec in raw_output_specs(len(NAMES), SIZE):
        _, channels, height, width = (int(size) for size in spec.shape)
        stored = random.integers(-128, 128, (1, height, width, channels), np.int8).transpose(0, 3, 1, 2)
        outputs[spec.name] = Quantised(stored, 0.03 + 0.001 * len(outputs), 60)
    return outputs
