"""The ONNX target beyond conformance: opsets, simplifiers, precision, and files for other runtimes."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import cv2
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import edgeseg
from edgeseg import registry
from edgeseg.errors import ArtifactError, EnvironmentMissingError, UsageError
from edgeseg.target import Artifact
from edgeseg.testing.tiny import NAMES
from tests.targets.conftest import (
    Exporter,
    Reference,
    assert_same_instances,
    assert_same_outputs,
    noise,
    predicted,
    run,
)

ROUNDING = 1e-5
"""Relative: another order of the same float32 sums."""


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_opset_is_what_was_asked(exported: Exporter, opset: int) -> None:
    path = exported("onnx", outputs="decoded", opset=opset)
    assert [(entry.domain, entry.version) for entry in onnx.load(path).opset_import] == [("", opset)]
    assert_same_outputs(run(path, noise()), run(exported("onnx", outputs="decoded", opset=17), noise()), ROUNDING)


@pytest.mark.parametrize("opset", [12, 21, 17.5, "seventeen"])
def test_unproven_opset_is_refused(exported: Exporter, opset: int) -> None:
    with pytest.raises(UsageError, match=f"opset.*got {opset!r}"):
        exported("onnx", opset=opset)


@pytest.mark.parametrize("simplify", ["onnxslim", "off"])
def test_simplifiers_keep_the_outputs(exported: Exporter, simplify: str) -> None:
    assert_same_outputs(run(exported("onnx", simplify=simplify), noise()), run(exported("onnx"), noise()), ROUNDING)


@pytest.mark.parametrize("simplify", ["onnxsim", "onnxslim"])
def test_simplifiers_remove_nodes(exported: Exporter, simplify: str) -> None:
    whole = onnx.load(exported("onnx", simplify="off")).graph
    assert len(onnx.load(exported("onnx", simplify=simplify)).graph.node) < len(whole.node)


def test_fp16_file_has_half_weights_and_float_tensors_at_its_edges(exported: Exporter) -> None:
    path = exported("onnx", "fp16", outputs="decoded")
    graph = onnx.load(path).graph
    kernels = {node.input[1] for node in graph.node if node.op_type in ("Conv", "ConvTranspose")}
    types = {tensor.data_type for tensor in graph.initializer if tensor.name in kernels}
    assert types == {TensorProto.FLOAT16}
    edges = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    assert edges == {TensorProto.FLOAT}
    assert path.stat().st_size < 0.75 * exported("onnx", outputs="decoded", opset=17).stat().st_size


@pytest.mark.parametrize("outputs", ["raw", "decoded"])
@pytest.mark.parametrize("shape", [(1, 96, 160), (3, 96, 160), (2, 128, 64)], ids=["traced", "batch", "size"])
def test_open_shapes_equal_the_reference(
    exported: Exporter,
    reference: Reference,
    outputs: str,
    shape: tuple[int, int, int],
) -> None:
    path = exported("onnx", outputs=outputs, dynamic_batch=True, dynamic_size=True)
    assert_same_outputs(run(path, noise(*shape)), reference(noise(*shape), outputs), 1e-4)


def test_open_file_names_its_open_axes_and_no_other(exported: Exporter) -> None:
    graph = onnx.load(exported("onnx", outputs="decoded", dynamic_batch=True, dynamic_size=True)).graph
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "images": ["batch", 3, "height", "width"],
        "output0": ["batch", 4 + 3 + 32, "points"],
        "output1": ["batch", 32, "height_4", "width_4"],
    }


def test_fixed_batch_is_in_the_file_and_fills_up_a_short_group(exported: Exporter) -> None:
    path = exported("onnx", batch=2)
    dimensions = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    assert [dimension.dim_value for dimension in dimensions] == [2, 3, 96, 160]
    # Three pictures: the second group has one.
    assert_same_instances(predicted(path), predicted(exported("onnx")))


def test_same_request_gives_the_same_bytes(exported: Exporter, tiny_weights: Path, tmp_path: Path) -> None:
    from edgeseg.export import export

    again = export(tiny_weights, "onnx", output_dir=tmp_path).path
    assert again.read_bytes() == exported("onnx").read_bytes()


def test_decoded_file_runs_in_a_plain_session(exported: Exporter) -> None:
    session = onnxruntime.InferenceSession(str(exported("onnx", outputs="decoded", opset=17)))
    assert [tensor.name for tensor in session.get_inputs()] == ["images"]
    table, prototypes = session.run(["output0", "output1"], {"images": noise()})
    assert table.shape == (1, 4 + 3 + 32, 12 * 20 + 6 * 10 + 3 * 5)
    assert prototypes.shape == (1, 32, 24, 40)
    wanted = run(exported("onnx", outputs="decoded", opset=17), noise())
    assert_same_outputs({"output0": table, "output1": prototypes}, wanted, ROUNDING)


@pytest.mark.parametrize("engine", [cv2.dnn.ENGINE_CLASSIC, cv2.dnn.ENGINE_NEW], ids=["classic", "new"])
@pytest.mark.parametrize("opset", [13, 17, 20])
def test_decoded_file_runs_in_opencv(exported: Exporter, engine: int, opset: int) -> None:
    path = exported("onnx", outputs="decoded", opset=opset)
    network = cv2.dnn.readNetFromONNX(str(path), engine)
    network.setInput(noise(), "images")
    found = dict(zip(("output0", "output1"), network.forward(("output0", "output1")), strict=True))
    # OpenCV's convolutions (Winograd) differ by 1e-6 of the largest value.
    assert_same_outputs(found, run(path, noise()), 1e-4)


def test_decoded_file_has_the_keys_of_existing_clients(exported: Exporter) -> None:
    keys = _keys(onnx.load(exported("onnx", outputs="decoded", opset=17)))
    assert keys["task"] == "segment"
    assert ast.literal_eval(keys["stride"]) == 32
    assert ast.literal_eval(keys["imgsz"]) == [96, 160]
    assert ast.literal_eval(keys["names"]) == dict(enumerate(NAMES))


def test_raw_file_has_our_key_only(exported: Exporter) -> None:
    assert _keys(onnx.load(exported("onnx"))).keys() == {"edgeseg"}


@pytest.mark.parametrize("opened", [False, True], ids=["fixed", "open"])
def test_file_with_peer_keys_alone_predicts_the_same(exported: Exporter, tmp_path: Path, opened: bool) -> None:
    path = exported("onnx", outputs="decoded", dynamic_batch=opened, dynamic_size=opened)
    stripped = _without_key(path, tmp_path / "foreign.onnx")
    with edgeseg.load(stripped) as model:
        assert model.metadata.producer == "edgeseg"
        assert model.metadata.weights_sha256 == ""
        assert model.metadata.dynamic == (("batch", "size") if opened else ())
    assert_same_instances(predicted(stripped), predicted(exported("onnx")))


@pytest.mark.parametrize("op", ["Relu", "Identity"])
def test_unknown_network_is_refused_with_its_tensors(tmp_path: Path, op: str) -> None:
    path = _one_node(tmp_path / "other.onnx", op, "pixels", (1, 3, 8, 8))
    with pytest.raises(ArtifactError, match=r"pixels \(1, 3, 8, 8\) float32; result \(1, 3, 8, 8\) float32") as caught:
        edgeseg.load(path)
    assert str(path) in caught.value.message


def test_network_for_another_task_is_refused(exported: Exporter, tmp_path: Path) -> None:
    model = onnx.load(exported("onnx", outputs="decoded", opset=17))
    helper.set_model_props(model, {**_keys(model), "edgeseg": "{}", "task": "detect"})
    onnx.save(model, tmp_path / "detector.onnx")
    _without_key(tmp_path / "detector.onnx", tmp_path / "detector.onnx")
    with pytest.raises(ArtifactError, match=r"'detect'.*'segment'"):
        edgeseg.load(tmp_path / "detector.onnx")


def test_foreign_file_with_another_input_name_is_refused(exported: Exporter, tmp_path: Path) -> None:
    model = onnx.load(_without_key(exported("onnx", outputs="decoded", opset=17), tmp_path / "renamed.onnx"))
    for node in model.graph.node:
        node.input[:] = ["pixels" if name == "images" else name for name in node.input]
    model.graph.input[0].name = "pixels"
    onnx.save(model, tmp_path / "renamed.onnx")
    with pytest.raises(ArtifactError, match=r"takes \['pixels'\]"):
        edgeseg.load(tmp_path / "renamed.onnx")


def test_metadata_of_a_later_schema_is_refused(exported: Exporter, tmp_path: Path) -> None:
    model = onnx.load(exported("onnx"))
    helper.set_model_props(model, {"edgeseg": '{"schema": 99}'})
    onnx.save(model, tmp_path / "later.onnx")
    with pytest.raises(ArtifactError, match="schema 99"):
        edgeseg.load(tmp_path / "later.onnx")


def test_inspect_names_weights_of_the_wrong_type(exported: Exporter) -> None:
    target = registry.load("onnx")
    path = exported("onnx")
    claimed = replace(target.read_metadata(path), precision="fp16")
    problems = target.inspect(Artifact(path, claimed)).problems
    assert problems
    assert all("FLOAT, expected FLOAT16" in problem for problem in problems)


def test_inspect_counts_what_the_file_holds(exported: Exporter) -> None:
    target = registry.load("onnx")
    path = exported("onnx")
    facts = target.inspect(Artifact(path, target.read_metadata(path))).facts
    graph = onnx.load(path).graph
    assert facts["opset"] == 17
    assert facts["nodes"] == len(graph.node)
    assert facts["convolutions"] == sum(node.op_type in ("Conv", "ConvTranspose") for node in graph.node)


def test_threads_are_set_and_said(exported: Exporter) -> None:
    with edgeseg.load(exported("onnx"), threads=1) as model:
        assert model.runner.execution == {"provider": "CPUExecutionProvider", "threads": "1"}


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="a CUDA runtime is here")
def test_absent_cuda_runtime_is_a_missing_environment(exported: Exporter) -> None:
    with pytest.raises(EnvironmentMissingError, match="CUDAExecutionProvider"):
        edgeseg.load(exported("onnx"), device="cuda")


def _keys(model: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def _without_key(path: Path, destination: Path) -> Path:
    """A copy of a decoded file that only says what a foreign exporter's file says."""
    model = onnx.load(path)
    keys = _keys(model)
    del keys["edgeseg"]
    helper.set_model_props(model, keys)
    onnx.save(model, destination)
    return destination


def _one_node(path: Path, op: str, name: str, shape: tuple[int, ...]) -> Path:
    graph = helper.make_graph(
        [helper.make_node(op, [name], ["result"])],
        "one",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, shape)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
