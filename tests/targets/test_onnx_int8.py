"""ONNX int8: what is quantised and what is not, its ranges, its refusals, and its errors on real weights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

import edgeseg
from edgeseg import registry
from edgeseg.data.letterbox import letterbox
from edgeseg.data.picture import read_picture
from edgeseg.errors import UsageError
from edgeseg.export import export
from edgeseg.postprocess.decode import decode_all
from edgeseg.target import Artifact
from edgeseg.tensors import NUM_COEFFICIENTS, RAW_OUTPUT_NAMES
from edgeseg.testing import tiny_picture
from edgeseg.testing.tiny import IMAGE_SIZE
from tests.targets.conftest import Exporter, assert_same_outputs, noise, predicted, run

PICTURES = 16
REAL_SCORE_MAE = 0.05
"""Over points with a reference score above 0.1 (0.044 measured with 16 calibration pictures of another set)."""

Quantised = Callable[..., Artifact]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibration")
    for seed in range(PICTURES):
        cv2.imwrite(str(folder / f"{seed:02}.png"), tiny_picture(*IMAGE_SIZE, seed=100 + seed))
    return folder


@pytest.fixture(scope="module")
def quantised(tiny_weights: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Quantised:
    """``quantised(**options)``: the tiny network in int8, made once for each set of options."""
    made: dict[str, Artifact] = {}

    def make(**options: Any) -> Artifact:
        key = repr(sorted(options.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("int8")
            made[key] = export(
                tiny_weights, "onnx", output_dir=folder, precision="int8", calibration=pictures, **options
            )
        return made[key]

    return make


def test_outputs_are_ten_float_tensors_of_a_plain_session(quantised: Quantised) -> None:
    session = onnxruntime.InferenceSession(str(quantised().path))
    assert [tensor.name for tensor in session.get_outputs()] == list(RAW_OUTPUT_NAMES)
    assert {tensor.type for tensor in (*session.get_inputs(), *session.get_outputs())} == {"tensor(float)"}
    assert [domain.domain for domain in onnx.load(quantised().path).opset_import] == [""]


def test_every_convolution_lies_between_int8_nodes(quantised: Quantised) -> None:
    graph = onnx.load(quantised().path).graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    readers = {name: node.op_type for node in graph.node for name in node.input}
    convolutions = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
    assert len(convolutions) == 80
    for node in convolutions:
        assert {makers[name] for name in node.input} == {"DequantizeLinear"}
        assert readers[node.output[0]] == "QuantizeLinear"


@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_are_int8_with_the_scales_asked(quantised: Quantised, per_channel: bool) -> None:
    tensors, kernels = _kernels(quantised(per_channel=per_channel).path)
    for node in kernels:
        weights, scales = tensors[node.input[0]], tensors[node.input[1]]
        assert weights.dtype == np.int8
        axis = next((entry.i for entry in node.attribute if entry.name == "axis"), None)
        assert scales.shape == ((weights.shape[axis],) if per_channel and axis is not None else ())
    assert any(tensors[node.input[1]].size > 1 for node in kernels) == per_channel


def test_reduced_weights_use_seven_bits(quantised: Quantised) -> None:
    limits = []
    for reduce_range in (False, True):
        tensors, kernels = _kernels(quantised(reduce_range=reduce_range).path)
        limits.append(max(int(np.abs(tensors[node.input[0]].astype(int)).max()) for node in kernels))
    assert limits == [127, 64]


def test_input_scale_is_one_byte_of_a_picture(quantised: Quantised) -> None:
    tensors = _tensors(quantised().path)
    assert tensors["images_scale"] == np.float32(1 / 255)
    assert tensors["images_zero_point"] == 0


def test_silu_inputs_spend_no_step_below_minus_six(quantised: Quantised) -> None:
    graph, tensors = onnx.load(quantised().path).graph, _tensors(quantised().path)
    widened = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    sources = [widened[node.input[0]] for node in graph.node if node.op_type == "Sigmoid"]
    steps = np.array([tensors[node.input[1]] for node in sources])
    points = np.array([tensors[node.input[2]] for node in sources])
    assert len(points) == 70
    # The zero point is a whole number: half a step may be missing or over.
    assert np.all(-(points - 0.51) * steps > -6)


def test_same_request_gives_the_same_bytes_in_another_process(
    quantised: Quantised, tiny_weights: Path, pictures: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "edgeseg", "export", str(tiny_weights), "-f", "onnx", "--precision", "int8", "-q"]
    subprocess.run([*command, "--calibration", str(pictures), "--output", str(tmp_path)], check=True)
    assert (tmp_path / "tiny-onnx-int8.onnx").read_bytes() == quantised().path.read_bytes()


def test_quantising_prints_nothing(
    tiny_weights: Path, pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    export(tiny_weights, "onnx", output_dir=tmp_path, precision="int8", calibration=pictures, ranges="entropy")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("ranges", ["minmax", "percentile", "entropy"])
def test_each_method_gives_other_ranges_and_finds_much_of_the_same(quantised: Quantised, ranges: str) -> None:
    mean, other = (_tensors(quantised(**options).path) for options in ({}, {"ranges": ranges}))
    scales = [name for name in mean if name.endswith("_output_0_scale")]
    assert sum(mean[name] != other[name] for name in scales) > len(scales) / 2
    found, wanted = (sum(map(len, predicted(quantised(**o).path, score=0.1))) for o in ({"ranges": ranges}, {}))
    assert 0.5 < found / wanted < 2


def test_decoding_stays_float_and_equals_that_of_the_raw_file(quantised: Quantised) -> None:
    decoded = quantised(outputs="decoded")
    # Another order of the same sums, after equal tensors.
    assert_same_outputs(run(decoded.path, noise()), decode_all(run(quantised().path, noise())), 1e-5)
    facts = _findings(decoded)
    assert "Softmax (decoding) 3" in facts["float"]
    assert "Softmax" not in facts["int8"]


def test_onnxslim_gives_the_same_instances(quantised: Quantised) -> None:
    found, wanted = (predicted(quantised(**options).path) for options in ({"simplify": "onnxslim"}, {}))
    assert [len(instances) for instances in found] == [len(instances) for instances in wanted]


def test_fixed_batch_gives_what_single_pictures_give(quantised: Quantised) -> None:
    both = run(quantised(batch=2).path, noise(2))
    assert_same_outputs({name: array[:1] for name, array in both.items()}, run(quantised().path, noise(2)[:1]), 1e-5)


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (["silu"], ["Sigmoid (exclude: silu) 70", "Mul (exclude: silu) 70"]),
        (["box", "cls", "coef", "proto"], [*(f"Conv (exclude: {kind}) 3" for kind in ("box", "cls", "coef"))]),
    ],
    ids=["silu", "last layers"],
)
def test_excluded_groups_stay_float_and_are_said(quantised: Quantised, groups: list[str], said: list[str]) -> None:
    artifact = quantised(exclude=groups)
    found = _findings(artifact)["float"]
    assert all(sentence in found for sentence in said)
    assert ("Conv (exclude: proto) 1" in found) == ("proto" in groups)
    assert registry.load("onnx").inspect(artifact).problems == ()
    assert _findings(quantised())["float"] == "none"


def test_metadata_names_the_options_and_the_quantiser(quantised: Quantised) -> None:
    metadata = registry.load("onnx").read_metadata(quantised(exclude=["silu"]).path)
    assert metadata.options["exclude"] == ["silu"]
    assert metadata.tool_versions["onnxruntime"] == onnxruntime.__version__


def test_inspect_finds_float_weights_and_single_scales(quantised: Quantised, exported: Exporter) -> None:
    target = registry.load("onnx")
    wide = exported("onnx")
    claimed = Artifact(wide, replace(target.read_metadata(wide), precision="int8"))
    assert len(target.inspect(claimed).problems) == 80
    coarse = quantised(per_channel=False)
    pretended = replace(coarse.metadata, options={**coarse.metadata.options, "per_channel": True})
    assert "one scale for all its weights" in target.inspect(Artifact(coarse.path, pretended)).problems[0]


def test_too_few_pictures_are_refused(tiny_weights: Path, pictures: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(pictures.iterdir())[: PICTURES - 1]:
        (few / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match="at least 16: there are 15"):
        export(tiny_weights, "onnx", output_dir=tmp_path, precision="int8", calibration=few)
    with pytest.raises(UsageError, match="there are 0"):
        export(tiny_weights, "onnx", output_dir=tmp_path, precision="int8")
    assert list(tmp_path.iterdir()) == [few]


@pytest.mark.parametrize(
    ("precision", "options", "message"),
    [
        ("fp32", {"ranges": "minmax"}, "onnx fp32 has no option 'ranges'"),
        ("fp16", {"exclude": ["silu"]}, "onnx fp16 has no option 'exclude'"),
        ("fp32", {"per_channel": False}, "onnx fp32 has no option 'per_channel'"),
        ("int8", {"exclude": ["neck"]}, "exclude.*'silu', 'box', 'cls', 'coef' or 'proto'"),
        ("int8", {"ranges": "average"}, "ranges.*'mean_minmax', 'minmax', 'percentile' or 'entropy'"),
        ("int8", {"simplify": "off"}, "needs a simplified graph"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tiny_weights: Path, pictures: Path, tmp_path: Path, precision: str, options: dict[str, Any], message: str
) -> None:
    calibration = pictures if precision == "int8" else None
    with pytest.raises(UsageError, match=message):
        export(tiny_weights, "onnx", output_dir=tmp_path, precision=precision, calibration=calibration, **options)
    assert list(tmp_path.iterdir()) == []


def test_scores_of_the_official_weights_are_kept(shared: Path, tmp_path: Path) -> None:
    """A proxy for AP, at a quarter of the pixels: it ranks recipes with few pictures (benchmarks/quantised.py)."""
    weights, size = shared / "weights" / "yolov8n-seg.pt", (320, 320)
    folder = tmp_path / "calibration"
    folder.mkdir()
    for path in sorted((shared / "data" / "coco128-seg" / "images").rglob("*.jpg"))[:PICTURES]:
        (folder / path.name).write_bytes(path.read_bytes())
    artifact = export(weights, "onnx", output_dir=tmp_path, precision="int8", calibration=folder, image_size=size)
    errors = []
    with edgeseg.load(weights) as exact, edgeseg.load(artifact.path) as model:
        for path in sorted((shared / "data" / "coco-val128" / "images").iterdir())[:PICTURES]:
            boxed = letterbox(read_picture(path), size)[0]
            want, have = (_scores(one, boxed) for one in (exact, model))
            errors.append((have - want)[want > 0.1])
    together = np.concatenate(errors)
    assert len(together) > 200
    assert np.abs(together).mean() < REAL_SCORE_MAE


def _scores(model: edgeseg.Model, boxed: NDArray[np.uint8]) -> NDArray[np.float32]:
    return decode_all(model.outputs([boxed]))["output0"][0, 4:-NUM_COEFFICIENTS].copy()


def _findings(artifact: Artifact) -> dict[str, Any]:
    return dict(registry.load("onnx").inspect(artifact).facts)


def _tensors(path: Path) -> dict[str, NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def _kernels(path: Path) -> tuple[dict[str, NDArray[Any]], list[Any]]:
    """All tensors by name, and the nodes that widen the weights of convolutions."""
    graph = onnx.load(path).graph
    widened = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    kernels = [widened[node.input[1]] for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
    return _tensors(path), kernels
