"""Ranges of a float file's tensors on calibration pictures, measured by the runtime one picture at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edgeseg.tensors import INPUT_NAME, RAW_OUTPUT_NAMES, Array

from .flatbuffer import Network, read_network
from .native_output import to_log
from .options import RangeMethod
from .rewrite import dumped, loaded, show

Range = tuple[float, float]

SILU_LEAST = -6.0
"""x * sigmoid(x) is within 0.015 of 0 below this: no step of the scale is spent there."""

CLASS_LEAST = -9.0
"""A score of 0.0001: no threshold is that low, the published protocol's is 0.001."""

CLASS_HEADROOM = 0.3
"""Class logits reach this much above the greatest one seen: a picture that is surer than those must not be cut off."""

FIXED_RANGE: Mapping[str, Range] = {"LOGISTIC": (0.0, 1.0)}
"""Operator to the range that the format gives its output, whatever was seen."""

INPUT_RANGE = (0.0, 1.0)
"""RGB, so that a step is one level of a picture's byte."""


def ranges_of(data: bytes, inputs: Iterable[Array], method: RangeMethod) -> dict[str, Range]:
    """Smallest and largest value that each tensor's scale must hold.

    Args:
        data: a float32 file whose ends have the contract's names.
        inputs: of the network, (1, 3, height, width) float32 each; at least one.
        method: ``mean_minmax`` takes the mean over the pictures of each one's least and greatest value, ``minmax``
            those of all pictures.

    Returns:
        Tensor name to range. Whatever the method, the raw outputs keep their widest range, since a mean would cut
        off the highest scores; what goes into a SiLU starts at `SILU_LEAST`, class logits at `CLASS_LEAST`.
    """
    network = read_network(data)
    lows, highs = _of_each_picture(data, network, inputs)
    widest = {name: (float(lows[name].min()), float(highs[name].max())) for name in lows}
    means = {name: (float(lows[name].mean()), float(highs[name].mean())) for name in lows}
    found = means if method == "mean_minmax" else dict(widest)
    found |= {name: widest[name] for name in RAW_OUTPUT_NAMES}
    for name in _silu_inputs(network):
        low, high = found[name]
        found[name] = (max(low, SILU_LEAST), high)
    for name in (output for output in RAW_OUTPUT_NAMES if output.endswith("_cls")):
        found[name] = (CLASS_LEAST, widest[name][1] + CLASS_HEADROOM)
    return {**found, INPUT_NAME: INPUT_RANGE}


def _silu_inputs(network: Network) -> set[str]:
    """What goes into a SiLU, x * sigmoid(x): every sigmoid of a network that ends before decoding is in one."""
    return {network.tensors[step.inputs[0]].name for step in network.operations if step.name == "LOGISTIC"}


def _of_each_picture(
    data: bytes, network: Network, inputs: Iterable[Array]
) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
    """Tensor name to the least and to the greatest value of each picture, (pictures,) each."""
    measured = sorted(
        {number for step in network.operations for number in step.outputs if step.name not in FIXED_RANGE}
    )
    interpreter = _interpreter(data, measured)
    place = interpreter.get_input_details()[0]
    rows = []
    for images in inputs:
        # Each picture in every place of a fixed batch, which changes no range.
        pictures = np.repeat(images.transpose(0, 2, 3, 1), place["shape"][0], axis=0)
        interpreter.set_tensor(place["index"], pictures)
        interpreter.invoke()
        # Views of the runtime's memory, which must be gone before the next run.
        values = [interpreter.tensor(number)() for number in measured]
        rows.append([(float(value.min()), float(value.max())) for value in values])
        del values
    ends = np.array(rows).transpose(2, 1, 0)
    names = [network.tensors[number].name for number in measured]
    lows, highs = (dict(zip(names, end, strict=True)) for end in ends)
    for step in network.operations:
        if step.name in FIXED_RANGE:
            name = network.tensors[step.outputs[0]].name
            lows[name], highs[name] = (np.array([end]) for end in FIXED_RANGE[step.name])
    return lows, highs


def _interpreter(data: bytes, measured: list[int]) -> Any:
    """Shows what lies between the operators: XNNPACK, which is several times faster, keeps outputs only."""
    from ai_edge_litert.interpreter import Interpreter

    model = loaded(data)
    show(model, measured)
    with to_log():
        interpreter = Interpreter(model_content=dumped(model), num_threads=1)
        interpreter.allocate_tensors()
    return interpreter
