"""TensorRT: the portable graph, what TensorRT's own parser says to it, the engine's file, and what is left to a GPU."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import edgeseg
from edgeseg import registry
from edgeseg.errors import ArtifactError, EnvironmentMissingError, UsageError
from edgeseg.export import export
from edgeseg.metadata import METADATA_KEY
from edgeseg.target import Artifact
from edgeseg.testing import tiny_picture
from edgeseg.testing.tiny import IMAGE_SIZE
from tests.targets.conftest import Exporter, Reference, assert_same_outputs, noise

PRECISIONS = ("fp32", "fp16", "int8")
PICTURES = 16

engine_file: Any = importlib.import_module("edgeseg_targets.tensorrt.engine_file")
options_of: Any = importlib.import_module("edgeseg_targets.tensorrt.options").TensorRTOptions

Maker = Callable[..., Artifact]


@pytest.fixture(scope="module", autouse=True)
def no_gpu() -> Any:
    """These tests are about what is done without one, also on a machine that has one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield


@pytest.fixture(scope="module")
def graph(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """``graph(precision, **options)``: a portable graph of the tiny network, each made once."""
    pictures = tmp_path_factory.mktemp("calibration")
    for seed in range(PICTURES):
        cv2.imwrite(str(pictures / f"{seed:02}.png"), tiny_picture(*IMAGE_SIZE, seed=100 + seed))
    made: dict[str, Artifact] = {}

    def make(precision: str, **options: Any) -> Artifact:
        key = f"{precision} {sorted(options.items())}"
        if key not in made:
            calibration = pictures if precision == "int8" else None
            folder = tmp_path_factory.mktemp("tensorrt")
            made[key] = export(
                tiny_weights, "tensorrt", output_dir=folder, precision=precision, calibration=calibration, **options
            )
        return made[key]

    return make


@pytest.mark.parametrize("precision", PRECISIONS)
def test_graph_is_tensorrts_and_no_other_targets(graph: Maker, precision: str) -> None:
    path = graph(precision).path
    assert registry.recognize(path).name == "tensorrt"
    assert not registry.load("onnx").recognizes(path)
    onnx.checker.check_model(str(path), full_check=True)


def test_ordinary_onnx_stays_with_the_onnx_target(tiny_onnx: Path) -> None:
    assert registry.recognize(tiny_onnx).name == "onnx"
    assert not registry.load("tensorrt").recognizes(tiny_onnx)


def test_keys_are_read_as_onnx_reads_them(graph: Maker, tiny_onnx: Path) -> None:
    keys_of = importlib.import_module("edgeseg_targets.onnx.keys").keys_of
    for path in (graph("fp32").path, tiny_onnx):
        assert keys_of(path) == {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_damaged_keys_are_an_error_and_no_hang(graph: Maker, tmp_path: Path) -> None:
    keys = importlib.import_module("edgeseg_targets.onnx.keys")
    data = graph("fp32").path.read_bytes()
    path = tmp_path / "damaged.onnx"
    for end in range(0, len(data), len(data) // 40):
        path.write_bytes(data[:end])
        assert keys.format_of(path) == ""
    random = np.random.default_rng(0)
    for _ in range(200):
        path.write_bytes(random.bytes(200))
        assert keys.format_of(path) == ""


def test_graph_runs_here_as_the_reference_and_says_that_it_is_not_tensorrt(graph: Maker, reference: Reference) -> None:
    images = noise(1, *IMAGE_SIZE)
    with edgeseg.load(graph("fp32").path, threads=1) as model:
        assert "not TensorRT" in model.runner.execution["runs"]
        assert model.runner.execution["threads"] == "1"
        assert_same_outputs(model.runner.run({"images": images}), reference(images, "raw"), 1e-4)


def test_int8_is_symmetric_per_channel_and_keeps_biases_float(graph: Maker) -> None:
    model = onnx.load(graph("int8").path)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    pairs = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs
    for node in pairs:
        zero = tensors[node.input[2]]
        assert zero.dtype == np.int8, node.name
        assert not zero.any(), node.name
    makers = {node.output[0]: node for node in model.graph.node}
    axes = {"Conv": 0, "ConvTranspose": 1}
    convolutions = [node for node in model.graph.node if node.op_type in axes]
    wide = 0
    for node in convolutions:
        weights = makers.get(node.input[1])
        if weights is None:
            assert tensors[node.input[1]].dtype == np.float32
            continue
        narrow = makers[weights.input[0]]
        assert (weights.op_type, narrow.op_type) == ("DequantizeLinear", "QuantizeLinear")
        stored = tensors[narrow.input[0]]
        assert stored.dtype == np.float32
        assert tensors[narrow.input[1]].shape == (stored.shape[axes[node.op_type]],)
        assert makers[node.input[0]].op_type == "DequantizeLinear"
        if len(node.input) > 2:
            assert tensors[node.input[2]].dtype == np.float32
        wide += 1
    assert wide == len(convolutions) - 11 > 50


def test_no_pair_stands_between_a_convolution_and_its_activation(graph: Maker) -> None:
    """TensorRT fuses the two; a pair between them would keep it from that."""
    graph_proto = onnx.load(graph("int8").path).graph
    makers = {node.output[0]: node for node in graph_proto.node}
    read = [makers[node.input[0]].op_type for node in graph_proto.node if node.op_type == "Sigmoid"]
    assert Counter(read) == {"Conv": len(read)}


@pytest.mark.parametrize(("exclude", "count"), [(None, 11), ([], 0), (["stem"], 1), (["box", "cls"], 6)])
def test_sensitive_convolutions_stay_float(graph: Maker, exclude: list[str] | None, count: int) -> None:
    """The first convolution is one; the last layers are three of each branch and one of the prototypes."""
    artifact = graph("int8", exclude=exclude) if exclude is not None else graph("int8")
    proto = onnx.load(artifact.path).graph
    stored = {tensor.name for tensor in proto.initializer}
    floats = [node for node in proto.node if node.op_type == "Conv" and node.input[1] in stored]
    assert len(floats) == count
    facts = registry.load("tensorrt").inspect(artifact).facts
    total = sum(node.op_type == "Conv" for node in proto.node)
    assert f"Conv {total - count}" in str(facts["int8"])
    assert "Conv (no int8 form)" not in str(facts["float"])
    assert registry.load("tensorrt").inspect(artifact).problems == ()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_tensorrts_parser_reads_it_and_its_builder_builds_it(graph: Maker, precision: str) -> None:
    pytest.importorskip("tensorrt_rtx")
    findings = registry.load("tensorrt").inspect(graph(precision))
    assert findings.problems == ()
    assert str(findings.facts["compile check"]).startswith("parsed and built ahead of time by TensorRT for RTX")
    assert float(findings.facts["compile check, layers"]) > 200
    assert float(findings.facts["compile check, engine megabytes"]) > 0.3


def test_open_sizes_and_batches_build_with_their_profile(graph: Maker) -> None:
    pytest.importorskip("tensorrt_rtx")
    findings = registry.load("tensorrt").inspect(graph("fp16", dynamic_batch=True, dynamic_size=True))
    assert findings.problems == ()
    assert "compile check, layers" in findings.facts


def test_what_the_parser_refuses_is_a_problem_in_its_own_words(graph: Maker, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    artifact = graph("fp32")
    model = onnx.load(artifact.path)
    broken = next(node for node in model.graph.node if node.op_type == "Sigmoid")
    broken.op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "broken.onnx")
    findings = registry.load("tensorrt").inspect(replace(artifact, path=tmp_path / "broken.onnx"))
    (problem,) = [text for text in findings.problems if "TensorRT" in text]
    assert "does not read the ONNX graph" in problem
    assert "NoSuchOperator" in problem


def test_absent_compile_check_is_said(graph: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    findings = registry.load("tensorrt").inspect(graph("fp32"))
    assert str(findings.facts["compile check"]).startswith("not made: tensorrt_rtx is not installed here")
    assert findings.problems == ()


@pytest.mark.parametrize(
    ("precision", "options", "name"),
    [
        ("fp16", {"ranges": "minmax"}, "ranges"),
        ("fp16", {"exclude": ["stem"]}, "exclude"),
        ("fp16", {"tf32": True}, "tf32"),
        ("fp32", {"dla_core": 0}, "dla_core"),
        ("fp16", {"dla_core": 0, "dynamic_batch": True}, "dla_core"),
        ("fp16", {"batches": [1, 2, 4]}, "batches"),
        ("fp16", {"dynamic_batch": True, "batches": [4, 2, 8]}, "batches"),
        ("fp16", {"dynamic_size": True, "sizes": [[32, 32], [64, 100], [128, 128]]}, "sizes"),
    ],
)
def test_options_that_do_not_fit_are_refused(precision: str, options: dict[str, Any], name: str) -> None:
    with pytest.raises(UsageError, match=name):
        options_of(**options).require_fitting(precision)


def test_profile_is_least_tuned_and_most() -> None:
    fixed = options_of()
    assert fixed.profile((640, 480), 2) == ((2, 3, 640, 480),) * 3
    wide = options_of(dynamic_batch=True, batches=[1, 4, 16], dynamic_size=True)
    assert wide.profile((640, 480), 1) == ((1, 3, 320, 224), (4, 3, 640, 480), (16, 3, 1280, 960))
    asked = options_of(dynamic_size=True, sizes=[[320, 320], [640, 640], [640, 960]])
    assert asked.profile((640, 640), 1) == ((1, 3, 320, 320), (1, 3, 640, 640), (1, 3, 640, 960))


BUILT = engine_file.Built("10.3.0", "Orin", "8.7", float_type="fp16", seconds=212.5)
PLAIN = b"ftrt" + bytes(range(256)) * 40


@pytest.fixture
def engine(graph: Maker, tmp_path: Path) -> Path:
    """An engine's file; what stands for TensorRT's bytes is opened by nobody here."""
    path = tmp_path / "n.engine"
    engine_file.write_engine(path, graph("fp16").metadata, BUILT, PLAIN)
    return path


def test_engine_gives_back_what_was_written(engine: Path, graph: Maker) -> None:
    assert registry.recognize(engine).name == "tensorrt"
    assert engine_file.read_header(engine) == (graph("fp16").metadata, BUILT)
    assert engine_file.read_engine(engine) == PLAIN
    facts = registry.load("tensorrt").inspect(Artifact(engine, graph("fp16").metadata)).facts
    assert (facts["tensorrt"], facts["gpu"], facts["float type"]) == ("10.3.0", "Orin", "fp16")


def test_shell_line_of_the_readme_takes_the_plain_engine_out(engine: Path) -> None:
    readme = Path(__file__).resolve().parents[2] / "targets/tensorrt/README.md"
    (line,) = [line for line in readme.read_text().splitlines() if line.startswith("tail -c")]
    subprocess.run(["sh", "-c", line], cwd=engine.parent, check=True, timeout=10)
    assert (engine.parent / "plain.engine").read_bytes() == PLAIN


def test_plain_engine_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "plain.engine"
    path.write_bytes(PLAIN)
    with pytest.raises(ArtifactError, match="does not say its classes, size and version") as caught:
        edgeseg.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("end", [10, 30, 200, -len(PLAIN)])
def test_cut_engine_is_refused_by_name(engine: Path, end: int) -> None:
    engine.write_bytes(engine.read_bytes()[:end])
    target = registry.load("tensorrt")
    with pytest.raises(ArtifactError, match=str(engine)):
        target.open(Artifact(engine, target.read_metadata(engine)), target.run_options_type())


@pytest.mark.parametrize(
    ("built", "here", "runs"),
    [
        ({}, ("10.3.0", "Orin", "8.7"), True),
        ({}, ("10.7.0", "Orin", "8.7"), False),
        ({}, ("10.3.0", "Orin Nano", "8.7"), False),
        ({}, ("10.3.0", "Orin", "8.9"), False),
        ({"version_compatible": True}, ("10.7.0", "Orin", "8.7"), True),
        ({"version_compatible": True}, ("11.0.0", "Orin", "8.7"), True),
        ({"version_compatible": True}, ("10.2.0", "Orin", "8.7"), False),
        ({"version_compatible": True, "tensorrt": "8.6.1"}, ("11.0.0", "Orin", "8.7"), False),
        ({"version_compatible": True}, ("10.7.0", "RTX 4090", "8.9"), False),
    ],
)
def test_engine_of_another_version_or_gpu_names_both(
    built: dict[str, Any], here: tuple[str, str, str], runs: bool
) -> None:
    made = replace(BUILT, **built)
    problem = made.mismatch(*here)
    assert (problem == "") == runs
    if not runs:
        assert all(word in problem for word in (made.tensorrt, made.gpu, made.compute_capability, *here))


def test_without_a_gpu_it_says_so(engine: Path, graph: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    target = registry.load("tensorrt")
    assert "CUDA_VISIBLE_DEVICES hides every GPU" in target.deferral()
    with pytest.raises(EnvironmentMissingError, match="CUDA_VISIBLE_DEVICES"):
        edgeseg.load(engine)
    with pytest.raises(EnvironmentMissingError, match="CUDA_VISIBLE_DEVICES"):
        target.finish(graph("fp16"), engine.parent)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(importlib.import_module("edgeseg_targets.tensorrt.cuda"), "LIBRARY", "libno-such-driver.so.1")
    assert "there is no NVIDIA driver here" in target.deferral()


def test_clocks_of_a_board_are_noted(tmp_path: Path) -> None:
    clocks = importlib.import_module("edgeseg_targets.tensorrt.clocks").clocks
    gpu = tmp_path / "sys/class/devfreq/17000000.gpu"
    gpu.mkdir(parents=True)
    (gpu / "cur_freq").write_text("306000000\n")
    (gpu / "max_freq").write_text("624750000\n")
    (tmp_path / "sys/class/devfreq/15340000.vic").mkdir()
    (tmp_path / "var/lib/nvpmodel").mkdir(parents=True)
    (tmp_path / "var/lib/nvpmodel/status").write_text("pmode:0001\n")
    assert clocks(tmp_path) == {"gpu clock": "306 MHz", "gpu clock, most": "625 MHz", "power mode": "pmode:0001"}


def test_metadata_is_read_without_onnx(graph: Maker) -> None:
    """A device has TensorRT alone."""
    program = (
        "import sys\nsys.modules.update(dict.fromkeys(('onnx', 'onnxruntime', 'torch')))\n"
        "from pathlib import Path\nfrom edgeseg import registry\n"
        "print(registry.load('tensorrt').read_metadata(Path(sys.argv[1])).to_json())"
    )
    done = subprocess.run([sys.executable, "-c", program, str(graph("fp16").path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(graph("fp16").metadata.to_json())
    kept = {entry.key: entry.value for entry in onnx.load(graph("fp16").path).metadata_props}
    assert json.loads(kept[METADATA_KEY]) == json.loads(done.stdout)


def test_exports_are_the_same_bytes(graph: Maker, exported: Exporter) -> None:
    assert exported("tensorrt", "fp16").read_bytes() == graph("fp16").path.read_bytes()
