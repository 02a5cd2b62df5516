"""`verify --bisect` in TensorFlow Lite files: the tensors between layers, and damaged weights found by them."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from edgeseg_targets.tflite.container import read_content, with_files
from edgeseg_targets.tflite.flatbuffer import read_network, with_outputs

from edgeseg.bisect import BisectReport, bisect, network_layers, open_probe
from edgeseg.cli.verify_inside import images_of
from edgeseg.layers import convolutions_of
from edgeseg.model.layers import NetworkLayers
from edgeseg.predict import load
from edgeseg.testing.tiny import NAMES, tiny_frames
from tests.targets.conftest import Exporter, noise

BUDGET = math.log2(80) + 2
"""Runs, by the number of convolutions."""


@pytest.fixture(scope="session")
def layers(tiny_weights: Path) -> NetworkLayers:
    return network_layers(tiny_weights)


def _damaged(source: Path, path: Path, layers: NetworkLayers, layer: str, factor: float) -> Path:
    """The same file with the weights of one convolution scaled in place; its hash is made anew."""
    content = read_content(source)
    steps = [step for step in content.network.operations if step.name in ("CONV_2D", "TRANSPOSE_CONV")]
    step = steps[[one.path for one in layers.convolutions].index(layer)]
    tensor = content.network.tensors[step.inputs[1]]
    stored = content.network.constants[tensor.buffer]
    kind = np.dtype(tensor.type.lower())
    place = content.data.index(stored.tobytes())
    assert content.data.count(stored.tobytes()) == 1
    with zipfile.ZipFile(source) as archive:
        changed = bytearray(content.data[: min(entry.header_offset for entry in archive.infolist())])
    wrong = (stored.view(kind) * np.float32(factor)).astype(kind)
    changed[place : place + stored.size] = wrong.tobytes()
    path.write_bytes(with_files(bytes(changed), tuple(NAMES)))
    return path


def _bisected(weights: Path, path: Path, **options: str) -> BisectReport:
    with load(path) as model:
        images = images_of(model, tiny_frames()[0])
    return bisect(weights, path, images, **options)


@pytest.mark.parametrize("layer", ["backbone.stage3.m.0.cv2.conv", "head.proto.upsample"])
def test_a_damaged_layer_is_named(
    exported: Exporter, tiny_weights: Path, layers: NetworkLayers, tmp_path: Path, layer: str
) -> None:
    report = _bisected(tiny_weights, _damaged(exported("tflite"), tmp_path / "n.tflite", layers, layer, 1.1))
    assert report.layer == layer, report.verdict
    assert report.runs <= BUDGET
    assert report.execution["delegate"] == "xnnpack"


@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_a_sound_file_has_no_layer_that_differs(exported: Exporter, tiny_weights: Path, delegate: str) -> None:
    report = _bisected(tiny_weights, exported("tflite"), delegate=delegate)
    assert (report.layer, report.runs) == ("", 2)
    assert min(one.sqnr_db for one in report.measured) > 100
    assert report.execution["delegate"] == delegate


def test_a_damaged_layer_of_a_quantised_file_is_named_by_rank(
    int8: Path, tiny_weights: Path, layers: NetworkLayers, tmp_path: Path
) -> None:
    sound = _bisected(tiny_weights, int8)
    assert (sound.layer, sound.method, sound.runs) == ("", "rank", 1), sound.verdict
    name = "neck.fine3.m.0.cv1.conv"
    report = _bisected(tiny_weights, _damaged(int8, tmp_path / "n.tflite", layers, name, -1))
    assert report.layer == name, report.verdict
    assert report.alone[0].layer == name


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_tensors_are_what_the_interpreter_keeps(exported: Exporter, int8: Path, precision: str) -> None:
    path = {"fp32": exported("tflite"), "int8": int8}[precision]
    images = noise()
    with open_probe(path, delegate="none", threads=1) as probe:
        names = [one.output for one in convolutions_of(probe.operations)[::9]]
        found = probe.run(images, names)
    keeping = Interpreter(
        str(path),
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    keeping.allocate_tensors()
    (taken,) = keeping.get_input_details()
    given = images.transpose(0, 2, 3, 1)
    if precision == "int8":
        scale, zero_point = taken["quantization"]
        given = np.clip(np.rint(given / scale + zero_point), -128, 127).astype(np.int8)
    keeping.set_tensor(taken["index"], given)
    keeping.invoke()
    details = {one["index"]: one for one in keeping.get_tensor_details()}
    for name in names:
        kept = keeping.get_tensor(int(name)).astype(np.float32).transpose(0, 3, 1, 2)
        scale, zero_point = details[int(name)]["quantization"]
        wanted = (kept - zero_point) * np.float32(scale) if scale else kept
        np.testing.assert_array_equal(found[name], wanted, err_msg=name)


def test_more_outputs_leave_the_file_as_it_is(exported: Exporter) -> None:
    data = exported("tflite").read_bytes()
    network = read_network(data)
    inner = network.operations[4].outputs[0]
    changed = read_network(with_outputs(data, [inner, *network.outputs.values()]))
    assert list(changed.outputs.values()) == [*network.outputs.values(), inner]
    assert (changed.tensors, changed.operations, changed.inputs) == (
        network.tensors,
        network.operations,
        network.inputs,
    )
