"""`verify --bisect` names a damaged layer by the network's own module path, in few runs, in every runtime."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeseg import registry
from edgeseg.bisect import LIMITS, QUANTISED, BisectReport, Images, _border, bisect, network_layers, sqnr_db
from edgeseg.cli.verify_inside import images_of
from edgeseg.errors import UsageError
from edgeseg.export import export
from edgeseg.layers import matched
from edgeseg.model.layers import NetworkLayers
from edgeseg.model.weights import load_weights, save_weights
from edgeseg.predict import load
from edgeseg.sources import Frame, open_sources
from edgeseg.testing.tiny import tiny_frames, write_tiny_weights
from tests.cli.running import run

SHOWING = sorted(
    entry.name
    for entry in registry.entries().values()
    if entry.target is not None and entry.report.usable and entry.target.capabilities.intermediate
)


@pytest.fixture(scope="module")
def layers(tiny_weights: Path) -> NetworkLayers:
    return network_layers(tiny_weights)


@pytest.fixture(autouse=True)
def traced_once(layers: NetworkLayers, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference's graph is the same in every test of the tiny network."""
    real = network_layers

    def once(path: Path, *, halves: bool = True) -> NetworkLayers:
        return layers if halves and path == tiny_weights else real(path, halves=halves)

    monkeypatch.setattr("edgeseg.bisect.network_layers", once)


def _images(path: Path, frame: Frame | None = None) -> Images:
    with load(path) as opened:
        return images_of(opened, frame or tiny_frames()[0])


def _bisected(weights: Path, path: Path, frame: Frame | None = None) -> BisectReport:
    return bisect(weights, path, _images(path, frame))


def _damaged_onnx(source: Path, path: Path, layer: str) -> Path:
    model = onnx.load(source)
    (weight,) = [t for t in model.graph.initializer if t.name == f"network.{layer}.weight"]
    values = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array((values * np.float32(1.1)).astype(values.dtype), weight.name))
    onnx.save(model, path)
    return path


def _damaged_weights(weights: Path, folder: Path, layer: str, factor: float = 1.2) -> Path:
    """Weights whose one layer is off: exporting them is damaging the artifact of the right ones."""
    wrong = load_weights(weights)
    tensor = wrong.tensors[f"{layer}.weight"]
    tensors = {**wrong.tensors, f"{layer}.weight": tensor * np.float32(factor)}
    path = folder / "wrong.safetensors"
    save_weights(type(wrong)(tensors, wrong.metadata, wrong.config), path)
    return path


def test_every_damaged_convolution_is_named_within_the_budget(
    tiny_weights: Path, tiny_onnx: Path, layers: NetworkLayers, tmp_path: Path
) -> None:
    names = [convolution.path for convolution in layers.convolutions]
    assert len(names) == 80
    budget = math.log2(len(names)) + 2
    images = _images(tiny_onnx)
    for name in names:
        path = _damaged_onnx(tiny_onnx, tmp_path / "damaged.onnx", name)
        report = bisect(tiny_weights, path, images, threads=1)
        assert report.layer == name, report.verdict
        assert report.runs <= budget, (name, report.runs)
        assert report.runs <= report.runs_max <= budget


@pytest.fixture(scope="module", params=SHOWING)
def exported(request: pytest.FixtureRequest, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound fp32 artifact of each format."""
    return export(tiny_weights, request.param, output_dir=tmp_path_factory.mktemp("exported"), precision="fp32").path


@pytest.mark.parametrize("layer", ["backbone.stage3.m.0.cv2.conv", "head.proto.upsample"])
def test_a_layer_that_differs_is_named_in_every_format(
    exported: Path, tiny_weights: Path, tmp_path: Path, layer: str
) -> None:
    # The reference's layer is off, and not the file's: the two differ alike, and one export serves all layers.
    report = _bisected(_damaged_weights(tiny_weights, tmp_path, layer), exported)
    assert report.layer == layer, report.verdict
    assert report.runs <= math.log2(80) + 2


def test_a_sound_artifact_has_no_layer_that_differs(exported: Path, tiny_weights: Path) -> None:
    report = _bisected(tiny_weights, exported)
    assert report.layer == ""
    assert report.runs == 2
    assert min(one.sqnr_db for one in report.measured) > LIMITS["fp32"]


def test_half_precision_is_bisected_too(tiny_weights: Path, tmp_path: Path) -> None:
    source = export(tiny_weights, "onnx", output_dir=tmp_path, precision="fp16").path
    assert _bisected(tiny_weights, source).layer == ""
    # The error of the second is thinned out by what joins it further on: each layer is tried alone.
    for name in ("backbone.stem.conv", "backbone.stage4.m.0.cv1.conv", "head.cls.1.1.conv"):
        report = _bisected(tiny_weights, _damaged_onnx(source, tmp_path / "damaged.onnx", name))
        assert report.layer == name, report.verdict
        assert report.runs <= math.log2(80) + 2


def test_layers_of_a_quantised_artifact_are_ranked(tiny_weights: Path, tmp_path: Path) -> None:
    path = export(tiny_weights, "coreml", output_dir=tmp_path, precision="int8").path
    sound = _bisected(tiny_weights, path)
    assert (sound.layer, sound.method, sound.runs) == ("", "rank", 1)
    assert "int8" in QUANTISED
    name = "neck.fine3.m.0.cv1.conv"
    wrong = _damaged_weights(tiny_weights, tmp_path, name, -1)
    report = _bisected(wrong, path)
    assert report.layer == name, report.verdict
    assert report.alone[0].layer == name


def test_an_operation_between_layers_is_told_from_the_layer_behind_it(
    tiny_weights: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    model = onnx.load(tiny_onnx)
    pool = next(node for node in model.graph.node if node.op_type == "MaxPool")
    pool.op_type = "AveragePool"
    del pool.attribute[:]
    pool.attribute.extend(
        [onnx.helper.make_attribute("kernel_shape", [5, 5]), onnx.helper.make_attribute("pads", [2] * 4)]
    )
    onnx.save(model, tmp_path / "pool.onnx")
    report = _bisected(tiny_weights, tmp_path / "pool.onnx")
    assert report.layer == "backbone.sppf.cv2.conv"
    assert "its input differs, which is made of backbone.sppf.cv1.act" in report.verdict


def test_the_official_network_is_bisected(shared: Path, tmp_path: Path) -> None:
    weights = tmp_path / "n.safetensors"
    save_weights(load_weights(shared / "weights/yolov8n-seg.pt"), weights)
    source = export(weights, "onnx", output_dir=tmp_path).path
    (frame,) = open_sources([str(shared / "media/bus.jpg")])
    assert isinstance(frame, Frame)
    for name in ("backbone.stage4.m.1.cv2.conv", "head.coef.1.0.conv"):
        report = _bisected(weights, _damaged_onnx(source, tmp_path / "damaged.onnx", name), frame)
        assert report.layer == name, report.verdict
        assert report.runs <= math.log2(84) + 2


def test_layers_are_matched_by_order_where_a_file_keeps_no_names(layers: NetworkLayers) -> None:
    found = matched(layers.convolutions, _unnamed(layers), "test")
    assert [one.path for one in found if one.input] == [one.path for one in layers.convolutions]


def test_another_graph_is_refused(layers: NetworkLayers) -> None:
    with pytest.raises(UsageError, match="71 convolutions, the network has 80"):
        matched(layers.convolutions, _unnamed(layers, 71), "test")
    reordered = _unnamed(layers)
    reordered[3], reordered[4] = reordered[4], reordered[3]
    with pytest.raises(UsageError, match="are not told apart"):
        matched(layers.convolutions, reordered, "test")
    halves = _unnamed(layers)
    first, second = slice(5, 7), slice(7, 9)
    halves[5:9] = halves[second] + halves[first]
    with pytest.raises(UsageError, match=r"backbone\.stage2\.m\.0\.cv1\.conv reads backbone\.stage2\.cv1\.first\.conv"):
        matched(layers.convolutions, halves, "test")


def test_weights_of_other_layers_are_not_taken_for_damage(tiny_weights: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    other = write_tiny_weights(tmp_path / "other.safetensors", seed=1)
    with load(tiny_onnx) as opened:
        report = bisect(other, tiny_onnx, images_of(opened, tiny_frames()[0]))
    assert report.layer == "backbone.stem.conv"


def test_command_names_the_layer_and_the_step(tiny_weights: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    path = _damaged_onnx(tiny_onnx, tmp_path / "damaged.onnx", "neck.fine4.cv2.conv")
    done = run("verify", path, "--against", tiny_weights, "--blame", "--bisect")
    assert done.code == 5
    assert "bisect: neck.fine4.cv2.conv is the first layer that differs" in done.out
    assert "blame: network" in done.out


def test_command_refuses_a_format_without_layers(
    tiny_weights: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = registry.recognize(tiny_onnx)
    capabilities = type(target.capabilities)(**{**vars(target.capabilities), "intermediate": False})
    monkeypatch.setattr(type(target), "capabilities", capabilities)
    done = run("verify", tiny_onnx, "--against", tiny_weights, "--bisect")
    assert done.code == 2
    assert "the onnx runtime shows no intermediate tensors" in done.err
    assert "openvino" in done.err


def test_border_is_what_no_other_reads() -> None:
    above = {"a": set[str](), "b": {"a"}, "c": {"a"}, "d": {"a", "b"}}
    assert _border(["a", "b", "c"], above) == ["b", "c"]
    assert _border(list(above), above) == ["c", "d"]


def test_signal_to_noise() -> None:
    one = np.ones((1, 2), np.float32)
    assert sqnr_db(one, one) == math.inf
    assert sqnr_db(one, one * np.float32(1.1)) == pytest.approx(20, abs=1e-4)
    assert sqnr_db(one, one * np.nan) == -math.inf
    assert sqnr_db(one, np.ones((2, 1), np.float32)) == -math.inf


def _unnamed(layers: NetworkLayers, count: int | None = None) -> list[Any]:
    from edgeseg.probe import Operation

    outputs: dict[int, str] = {}
    operations = []
    for index, one in enumerate(layers.convolutions[:count]):
        takes = tuple(outputs[parent] for parent in one.parents)
        if len(takes) != 1:
            operations.append(Operation("other", takes, (f"joined{index}",)))
            takes = (f"joined{index}",)
        operations.append(Operation("convolution", takes, (f"c{index}",)))
        operations.append(Operation("swish", (f"c{index}",), (f"a{index}",)))
        outputs[index] = f"a{index}"
    return operations
