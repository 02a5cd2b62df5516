"""tflite-runtime 2.14 gives for every product what ai-edge-litert gave, and, within the precision, what torch gave.

Run by `run.py` of this folder, in an environment that has neither torch nor ai-edge-litert.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import edgeseg
from edgeseg import registry
from edgeseg.quantised import Quantised
from edgeseg.target import Artifact
from edgeseg.tensors import INPUT_NAME, Array
from edgeseg.testing import tiny_frames
from tests.targets.own.tflite_runtime.products import PRODUCTS, inputs_for

FOLDER = Path(os.environ["EDGESEG_TFLITE_PRODUCTS"])

CORRELATION_MIN: Mapping[str, float] = {
    **dict.fromkeys(("fp32", "batch"), 0.999999),
    **{"fp16": 0.9999, "w8a16": 0.95},
    **dict.fromkeys(("int8", "uint8"), 0.75),
}
"""Of every tensor with torch's, the mean of each channel taken away; that of int8 is the conformance suite's."""

SAME_FLOAT = 1e-4
"""Largest difference of the two interpreters relative to a tensor's largest value, where real numbers are added."""

SAME_STEPS = 2.0
"""Mean difference of the two in steps, where every layer rounds in its own way. ai-edge-litert with and without XNNPACK
differs by up to 1.7 on these weights, whose random layers amplify rounding."""


@pytest.fixture(params=PRODUCTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_this_environment_has_the_old_interpreter_alone() -> None:
    assert importlib.util.find_spec("tflite_runtime")
    assert not importlib.util.find_spec("ai_edge_litert")
    assert not importlib.util.find_spec("torch")


def test_outputs_are_those_of_both_others(name: str) -> None:
    with edgeseg.load(FOLDER / f"{name}.tflite", threads=1) as model:
        assert model.runner.execution["interpreter"] == "tflite-runtime 2.14.0"
        runs = [model.runner.run({INPUT_NAME: images}) for images in inputs_for(model)]
        held = model.runner.start({INPUT_NAME: inputs_for(model)[0]})()
    found = {key: np.concatenate([outputs[key][:1] for outputs in runs]) for key in runs[0]}
    with np.load(FOLDER / "reference.npz") as reference, np.load(FOLDER / f"{name}.npz") as newer:
        assert found.keys() == set(newer) == set(reference)
        for key, array in found.items():
            assert array.shape == reference[key].shape
            correlation = _correlation(array, reference[key])
            assert correlation >= CORRELATION_MIN[name], f"{key}: correlation {correlation:.6f} with torch's"
            tensor = held[key]
            if isinstance(tensor, Quantised):
                apart = float(np.abs(array - newer[key]).mean()) / tensor.scale
                assert apart <= SAME_STEPS, f"{key}: {apart:.2f} steps from ai-edge-litert's in the mean"
            else:
                apart = float(np.abs(array - newer[key]).max() / np.abs(newer[key]).max())
                assert apart <= SAME_FLOAT, f"{key}: {apart:.2e} from ai-edge-litert's"


def test_predict_inspect_and_metadata_need_no_other_package(name: str) -> None:
    path, target = FOLDER / f"{name}.tflite", registry.load("tflite")
    assert target.recognizes(path)
    assert target.inspect(Artifact(path, target.read_metadata(path))).problems == ()
    with edgeseg.load(path, threads=1) as model:
        found = [result.instances for result in model.predict([frame.picture for frame in tiny_frames()])]
    # Scores of random weights lie evenly around the threshold, and rounding moves them over it.
    assert sum(map(len, found)) > 5
    assert all(instances.masks is not None for instances in found)


def test_the_other_interpreter_is_asked_for_by_name_in_vain() -> None:
    with pytest.raises(edgeseg.errors.EnvironmentMissingError, match="ai-edge-litert"):
        edgeseg.load(FOLDER / "fp32.tflite", interpreter="ai-edge-litert")


def _correlation(found: Array, wanted: Array) -> float:
    a, b = (array - array.mean(axis=(0, 2, 3), keepdims=True) for array in (found, wanted))
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
