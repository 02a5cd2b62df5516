"""A float32 file to the other precisions by the AI Edge Quantizer, with ranges of our own choice."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_quantizer import qtyping, quantizer, recipe

from .native_output import to_log
from .ranges import Range

STATIC = {"int8": recipe.static_wi8_ai8, "w8a16": recipe.static_wi8_ai16}
"""Precision to the recipe that quantises every operator's weights and tensors."""


def with_half_weights(data: bytes) -> bytes:
    """The weights of convolutions in float16; operators widen them when the file is loaded."""
    half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    stored = qtyping.OpQuantizationConfig(
        weight_tensor_config=half, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
    )
    work = quantizer.Quantizer(data)
    for operator in (qtyping.TFLOperationName.CONV_2D, qtyping.TFLOperationName.CONV_2D_TRANSPOSE):
        work.update_quantization_recipe(".*", operator, stored, quantizer.AlgorithmName.FLOAT_CASTING)
    return _quantised(work)


def with_ranges(data: bytes, precision: str, ranges: Mapping[str, Range]) -> bytes:
    """Integer weights, tensors and edges.

    Args:
        data: a float32 file.
        precision: a key of `STATIC`.
        ranges: of every tensor that is computed, and of the input, by its name.
    """
    values = {
        name: {"min": np.full((1, 1, 1, 1), low, np.float32), "max": np.full((1, 1, 1, 1), high, np.float32)}
        for name, (low, high) in sorted(ranges.items())
    }
    return _quantised(quantizer.Quantizer(data, STATIC[precision]()), values)


def _quantised(work: Any, values: Mapping[str, Any] | None = None) -> bytes:
    # Its progress bars and notes go to both; stdout belongs to the caller. It opens the file with a switch that its own
    # runtime warns of.
    with (
        to_log(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        result = work.quantize(values, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)
