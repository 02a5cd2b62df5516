"""Ranges of a float graph's tensors on calibration pictures, measured by ONNX Runtime one picture at a time."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationMethod, MinMaxCalibrater, create_calibrator

from edgeseg.tensors import INPUT_NAME, Array

from .groups import class_logits, raw_tensors, silu_inputs
from .options import RangeMethod

Range = tuple[float, float]

SILU_LEAST = -6.0
"""x * sigmoid(x) is within 0.015 of 0 below this: no step of the scale is spent there."""

CLASS_LEAST = -9.0
"""A score of 0.0001: no threshold is that low, the published protocol's is 0.001."""

INPUT_RANGE = (0.0, 1.0)
"""RGB, so that a step is one level of a picture's byte."""

HISTOGRAMS = {"percentile": CalibrationMethod.Percentile, "entropy": CalibrationMethod.Entropy}


def ranges_of(model: Any, inputs: Iterable[Array], method: RangeMethod, folder: Path) -> dict[str, Range]:
    """Smallest and largest value that each tensor's scale must hold.

    Args:
        model: the float graph, with the shapes of its inner tensors.
        inputs: of the network, (1, 3, height, width) each; at least one.
        method: ``mean_minmax`` takes the mean over the pictures of each one's least and greatest value, ``minmax``
            those of all pictures, ``percentile`` (99.999) and ``entropy`` what ONNX Runtime makes of histograms.
        folder: for the graphs with more outputs that this needs.

    Returns:
        Tensor name to range. Whatever the method, the raw outputs keep their widest range, since a mean would cut
        off the highest scores; what goes into a SiLU starts at `SILU_LEAST`, class logits at `CLASS_LEAST`.
    """
    path = folder / "float.onnx"
    onnx.save(model, path)
    feeds = _filled(model, inputs)
    if method in HISTOGRAMS:
        found, widest = _of_histograms(path, feeds, method)
    else:
        each = _of_each_picture(path, feeds)
        widest = {name: (float(low.min()), float(high.max())) for name, (low, high) in each.items()}
        means = {name: (float(low.mean()), float(high.mean())) for name, (low, high) in each.items()}
        found = means if method == "mean_minmax" else widest
    found |= {name: widest[name] for name in raw_tensors(model.graph)}
    for names, least in ((silu_inputs(model.graph), SILU_LEAST), (class_logits(model.graph), CLASS_LEAST)):
        for name in names:
            low, high = found[name]
            found[name] = (max(low, least), high)
    return {**found, INPUT_NAME: INPUT_RANGE}


def _filled(model: Any, inputs: Iterable[Array]) -> Iterable[dict[str, Array]]:
    """Each picture in every place of a fixed batch, which changes no range."""
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1
    for images in inputs:
        yield {INPUT_NAME: np.repeat(images, batch, axis=0)}


def _of_each_picture(path: Path, feeds: Iterable[dict[str, Array]]) -> dict[str, tuple[Array, Array]]:
    """Tensor name to the least and the greatest value of each picture, (pictures,) each."""
    measured = path.with_name("minmax.onnx")
    MinMaxCalibrater(path, augmented_model_path=str(measured)).augment_graph()
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(measured), settings, providers=["CPUExecutionProvider"])
    ends = {end: f"_{end}" for end in ("ReduceMin", "ReduceMax")}
    outputs = [output.name for output in session.get_outputs()]
    tensors = sorted(name.removesuffix(ends["ReduceMin"]) for name in outputs if name.endswith(ends["ReduceMin"]))
    wanted = [tensor + end for end in ends.values() for tensor in tensors]
    rows = np.array([np.concatenate(session.run(wanted, feed)) for feed in feeds])
    lows, highs = np.split(rows, 2, axis=1)
    return {tensor: (lows[:, i], highs[:, i]) for i, tensor in enumerate(tensors)}


class _One:
    """A calibration reader of one picture: the histograms of ONNX Runtime else hold every tensor of all of them."""

    def __init__(self, feed: dict[str, Array]) -> None:
        self._feeds = [feed]

    def get_next(self) -> dict[str, Array] | None:
        """The picture, then None."""
        return self._feeds.pop() if self._feeds else None


def _of_histograms(
    path: Path, feeds: Iterable[dict[str, Array]], method: RangeMethod
) -> tuple[dict[str, Range], dict[str, Range]]:
    """The ranges that the histograms give, and the widest ones."""
    calibrator = create_calibrator(
        path,
        augmented_model_path=str(path.with_name("histograms.onnx")),
        calibrate_method=HISTOGRAMS[method],
        extra_options={"symmetric": False},
    )
    # It prints its progress; stdout belongs to the caller.
    with contextlib.redirect_stdout(io.StringIO()):
        for feed in feeds:
            calibrator.collect_data(_One(feed))
        data = calibrator.compute_data()
    found = {name: (float(entry.lowest), float(entry.highest)) for name, entry in data.items()}
    histograms = calibrator.collector.get_histogram_dict()
    return found, {name: (float(entry[2]), float(entry[3])) for name, entry in histograms.items()}
