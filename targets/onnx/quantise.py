"""A float graph to int8: static Q/DQ by ONNX Runtime's quantiser, with ranges of our own choice."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import QDQQuantizer, QuantType, TensorData
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from edgeseg.data.calibration import calibration_inputs

from .groups import CONVOLUTIONS, groups_of, is_decoding
from .options import OnnxOptions
from .ranges import Range, ranges_of


@dataclass(frozen=True)
class _Scheme:
    """How numbers become integers, and of which operators.

    Attributes:
        activations: their type.
        operators: what is quantised.
        extra: options of the quantiser.
    """

    activations: Any
    operators: tuple[str, ...]
    extra: Mapping[str, Any]


SCHEMES: Mapping[str, _Scheme] = {
    "asymmetric": _Scheme(QuantType.QUInt8, tuple(sorted({*QLinearOpsRegistry, *QDQRegistry})), {}),
    # TensorRT reads int8 around zero alone, wants a pair of nodes for each reader and each weight, and a convolution's
    # output as float where an activation follows: it fuses the two, and rounds what the next convolution reads.
    "symmetric": _Scheme(
        QuantType.QInt8,
        CONVOLUTIONS,
        {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "AddQDQPairToWeight": True,
            "DedicatedQDQPair": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": list(CONVOLUTIONS),
        },
    ),
}


def quantised(model: Any, pictures: Sequence[Path], image_size: tuple[int, int], options: OnnxOptions) -> Any:
    """The same graph with int8 weights, uint8 or int8 activations and float32 edges.

    Args:
        model: float32, traced and simplified.
        pictures: that set the ranges.
        image_size: (height, width) to calibrate at, in pixels.
        options: of the export.

    Returns:
        A new model; the same arguments give the same bytes.
    """
    with tempfile.TemporaryDirectory(prefix="edgeseg-onnx-") as folder:
        inferred = onnx.shape_inference.infer_shapes(model)
        inputs = calibration_inputs(pictures, image_size)
        ranges = ranges_of(inferred, inputs, options.ranges, Path(folder))
    return _with_ranges(inferred, ranges, options)


def _with_ranges(model: Any, ranges: Mapping[str, Range], options: OnnxOptions) -> Any:
    data = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in sorted(ranges.items())
    }
    kept = set(options.exclude or ())
    scheme = SCHEMES[options.scheme]
    quantizer = QDQQuantizer(
        model,
        per_channel=options.per_channel,
        reduce_range=options.reduce_range,
        weight_qType=QuantType.QInt8,
        activation_qType=scheme.activations,
        tensors_range=data,
        nodes_to_quantize=[],
        nodes_to_exclude=[node.name for node in model.graph.node if is_decoding(node) or groups_of(node) & kept],
        op_types_to_quantize=list(scheme.operators),
        extra_options=dict(scheme.extra),
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    result = quantizer.model.model
    # A note of the quantiser to itself.
    del result.metadata_props[:]
    return result
