"""The Edge TPU target where the tools of the tflite target are: the exported file, and what opens without a device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from edgeseg_targets.edgetpu import devices
from edgeseg_targets.edgetpu.compiled import with_record
from edgeseg_targets.edgetpu.era import VERSIONS
from edgeseg_targets.edgetpu.mapping import predict
from edgeseg_targets.edgetpu.nodes import read_graph
from edgeseg_targets.tflite.rewrite import dumped, loaded

import edgeseg
from edgeseg import registry
from edgeseg.data.calibration import LEAST_PICTURES
from edgeseg.errors import EnvironmentMissingError, UsageError
from edgeseg.target import Artifact, ExportRequest
from edgeseg.tensors import RAW_OUTPUT_NAMES, Array
from edgeseg.testing import tiny_picture
from tests.targets.tflite_files import Operation, Tensor, tflite_file

SIZE = (96, 160)


@pytest.fixture(scope="module")
def artifact(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    import cv2

    folder = tmp_path_factory.mktemp("edgetpu")
    pictures = tuple(folder / f"{seed}.png" for seed in range(LEAST_PICTURES))
    for seed, path in enumerate(pictures):
        cv2.imwrite(str(path), tiny_picture(*SIZE, seed=seed))
    target = registry.load("edgetpu")
    options = target.options_type()
    return target.export(ExportRequest(tiny_weights, folder, "n", "int8", SIZE, options, calibration=pictures))


def test_every_operation_is_in_the_table_in_a_version_of_its_time(artifact: Artifact) -> None:
    graph = read_graph(artifact.path)
    assert predict(graph).share == 1.0
    assert {(node.kind, node.version) for node in graph.nodes} <= set(VERSIONS.items())
    assert {tensor.type for node in graph.nodes for tensor in node.outputs} == {"INT8"}
    assert not any(tensor.outside for node in graph.nodes for tensor in node.inputs if tensor is not None)


def test_nodes_are_what_the_schemas_own_classes_read(artifact: Artifact) -> None:
    model = schema.ModelT.InitFromPackedBuf(bytearray(artifact.path.read_bytes()))
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    (theirs,), ours = model.subgraphs, read_graph(artifact.path)
    assert len(theirs.operators) == len(ours.nodes)
    for operation, node in zip(theirs.operators, ours.nodes, strict=True):
        code = model.operatorCodes[operation.opcodeIndex]
        assert (node.kind, node.version) == (names[code.builtinCode], code.version)
        assert [tensor.number for tensor in node.outputs] == list(operation.outputs)
        for tensor in node.outputs:
            assert tensor.shape == tuple(theirs.tensors[tensor.number].shape)
        if node.kind == "RESIZE_NEAREST_NEIGHBOR":
            assert node.options == {"half_pixel_centers": 0, "align_corners": 0}
            assert operation.builtinOptions.halfPixelCenters is False
        if node.kind == "CONV_2D":
            dilations = operation.builtinOptions.dilationWFactor, operation.builtinOptions.dilationHFactor
            assert (node.options["dilation_x"], node.options["dilation_y"]) == dilations


def test_enlarging_without_half_pixels_gives_the_same_values(artifact: Artifact) -> None:
    data = artifact.path.read_bytes()
    model = loaded(data)
    changed = 0
    for operation in model.subgraphs[0].operators:
        if operation.builtinOptionsType == schema.BuiltinOptions.ResizeNearestNeighborOptions:
            operation.builtinOptions.halfPixelCenters = True
            changed += 1
    assert changed == 2
    for code in model.operatorCodes:
        if code.builtinCode == schema.BuiltinOperator.RESIZE_NEAREST_NEIGHBOR:
            code.version = 3
    before, after = _outputs(dumped(model)), _outputs(data)
    assert len(before) == len(RAW_OUTPUT_NAMES)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def _outputs(data: bytes) -> list[Array]:
    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    (place,) = interpreter.get_input_details()
    stored = np.random.default_rng(0).integers(-128, 128, place["shape"]).astype(np.int8)
    interpreter.set_tensor(place["index"], stored)
    interpreter.invoke()
    return [interpreter.get_tensor(end["index"]) for end in interpreter.get_output_details()]


def test_a_file_that_is_not_compiled_says_what_runs_it(artifact: Artifact) -> None:
    with edgeseg.load(artifact.path, threads=1) as model:
        assert model.runner.execution["device"] == "not compiled: reference kernels on the processor, no Edge TPU"
        assert model.runner.execution["threads"] == "1"
    with pytest.raises(UsageError, match="is not compiled, so that it runs on no Edge TPU"):
        edgeseg.load(artifact.path, device="usb")


@pytest.mark.skipif(bool(devices.find_devices()), reason="an Edge TPU is plugged in")
def test_a_compiled_file_names_what_it_lacks(artifact: Artifact, tmp_path: Path) -> None:
    custom = tflite_file(
        [Tensor((1, *SIZE, 3)), Tensor((1, 8, 8, 4))], [Operation("CUSTOM", (0,), (1,), custom="edgetpu-custom-op")]
    )
    path = tmp_path / "n_edgetpu.tflite"
    path.write_bytes(with_record(custom, artifact.metadata, ""))
    with pytest.raises(EnvironmentMissingError, match=r"libedgetpu\.so\.1") as caught:
        edgeseg.load(path)
    assert caught.value.hint
