"""`verify` catches each way in which an artifact goes wrong, and names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeseg.errors import UsageError
from edgeseg.export import export
from edgeseg.gates import Gates
from edgeseg.metadata import METADATA_KEY, ArtifactMetadata
from edgeseg.model.weights import load_weights, save_weights
from edgeseg.predict import Model, load
from edgeseg.recording.playback import Recording
from edgeseg.recording.record import record
from edgeseg.sources import Frame, open_sources
from edgeseg.verify import VerifyOptions, VerifyReport, verify

Change = Callable[[Any], None]


@pytest.fixture(scope="module")
def weights(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "n.safetensors"
    save_weights(load_weights(shared / "weights/yolov8n-seg.pt"), path)
    return path


@pytest.fixture(scope="module")
def artifact(weights: Path) -> Path:
    return export(weights, "onnx", output_dir=weights.parent).path


@pytest.fixture(scope="module")
def photos(shared: Path) -> list[Path]:
    return [shared / "media/bus.jpg", shared / "media/zidane.jpg"]


@pytest.fixture(scope="module")
def reference(weights: Path) -> Model:
    return load(weights)


def _verify(reference: Model, path: Path, photos: list[Path], gates: Gates | None = None) -> VerifyReport:
    with load(path) as model:
        return verify(reference, model, open_sources(photos), VerifyOptions(gates or Gates()))


def _initializer(model: Any, name: str) -> Any:
    """The weights of the convolution that makes the output `name`, or of the first one for `images`."""
    graph = model.graph
    key, where = ("input", 0) if name == "images" else ("output", 0)
    (node,) = [n for n in graph.node if n.op_type == "Conv" and getattr(n, key)[where] == name]
    (tensor,) = [t for t in graph.initializer if t.name == node.input[1]]
    return tensor


def _edit(model: Any, name: str, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> None:
    tensor = _initializer(model, name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), tensor.name))


def _edit_bias(model: Any, name: str, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> None:
    (node,) = [n for n in model.graph.node if n.op_type == "Conv" and n.output[0] == name]
    (tensor,) = [t for t in model.graph.initializer if t.name == node.input[2]]
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), tensor.name))


def _before_the_graph(model: Any, nodes: list[Any], constants: list[Any]) -> None:
    """Put nodes, the last of which makes `changed`, between the input and all that read it."""
    for node in model.graph.node:
        node.input[:] = ["changed" if name == "images" else name for name in node.input]
    model.graph.initializer.extend(constants)
    old = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes + old)


def _scalar(name: str, value: float) -> Any:
    return helper.make_tensor(name, TensorProto.FLOAT, [], [value])


def backbone_weight(model: Any) -> None:
    _edit(model, "images", lambda kernel: kernel * 1.05)


def head_weight(model: Any) -> None:
    _edit(model, "p4_cls", lambda kernel: kernel * 1.05)


def bgr(model: Any) -> None:
    _edit(model, "images", lambda kernel: kernel[:, ::-1].copy())


def black_padding(model: Any) -> None:
    grey = _scalar("grey", float(np.float32(114) * np.float32(1 / 255)))
    distance = [
        helper.make_node("Sub", ["images", "grey"], ["offset"]),
        helper.make_node("Abs", ["offset"], ["distance"]),
        helper.make_node("ReduceMax", ["distance"], ["furthest"], axes=[1], keepdims=1),
        helper.make_node("Less", ["furthest", "tiny"], ["is_padding"]),
        helper.make_node("Where", ["is_padding", "black", "images"], ["changed"]),
    ]
    _before_the_graph(model, distance, [grey, _scalar("tiny", 1e-6), _scalar("black", 0.0)])


def divided_twice(model: Any) -> None:
    _before_the_graph(model, [helper.make_node("Div", ["images", "by"], ["changed"])], [_scalar("by", 255.0)])


def constant_output(model: Any) -> None:
    _before_the_graph(model, [helper.make_node("Mul", ["images", "by"], ["changed"])], [_scalar("by", 0.0)])


def permuted_classes(model: Any) -> None:
    order = np.arange(80)
    order[[0, 5]] = order[[5, 0]]
    for name in ("p3_cls", "p4_cls", "p5_cls"):
        _edit(model, name, lambda kernel: kernel[order])
        _edit_bias(model, name, lambda bias: bias[order])


def zero_coefficients(model: Any) -> None:
    for name in ("p3_coef", "p4_coef", "p5_coef"):
        _edit(model, name, np.zeros_like)
        _edit_bias(model, name, np.zeros_like)


def not_a_number(model: Any) -> None:
    _edit(model, "p5_box", lambda kernel: np.full_like(kernel, np.nan))


def _metadata(model: Any, change: Callable[[ArtifactMetadata], ArtifactMetadata]) -> None:
    keys = {entry.key: entry.value for entry in model.metadata_props}
    changed = change(ArtifactMetadata.from_json(keys[METADATA_KEY], "test"))
    helper.set_model_props(model, {METADATA_KEY: changed.to_json()})


def wrong_names(model: Any) -> None:
    _metadata(model, lambda m: replace(m, names=(m.names[1], m.names[0], *m.names[2:])))


def declared_black_padding(model: Any) -> None:
    _metadata(model, lambda m: replace(m, preprocessing=replace(m.preprocessing, pad_value=0)))


def declared_bgr(model: Any) -> None:
    _metadata(model, lambda m: replace(m, preprocessing=replace(m.preprocessing, channel_order="bgr")))


def _spoil_the_first_point(model: Any, name: str) -> None:
    (node,) = [node for node in model.graph.node if node.output[0] == name]
    (output,) = [output for output in model.graph.output if output.name == name]
    node.output[0] = "whole"
    where = np.zeros([1, 1, *(side.dim_value for side in output.type.tensor_type.shape.dim[2:])], bool)
    where[..., 0, 0] = True
    model.graph.initializer.extend([numpy_helper.from_array(where, "where"), _scalar("nan", float("nan"))])
    model.graph.node.append(helper.make_node("Where", ["where", "nan", "whole"], [name]))


CORRUPTIONS: dict[str, tuple[Change, str]] = {
    "weight of the backbone": (backbone_weight, "a weight or an operator somewhere before the head's branches"),
    "weight of one branch": (head_weight, "1 of 10 tensors changed (p4_cls)"),
    "channels swapped": (bgr, "reads the channels as BGR"),
    "padding 0": (black_padding, "sees padding of 0"),
    "divided twice": (divided_twice, "divides by 255 once more"),
    "constant output": (constant_output, "the same values for every picture"),
    "classes permuted": (permuted_classes, "2 classes are permuted in the artifact: 0 holds the reference's 5"),
    "coefficients zeroed": (zero_coefficients, "p3_coef, p4_coef, p5_coef: all zero"),
    "not a number": (not_a_number, "p5_box"),
    "class names": (wrong_names, "class names differ at 2 ids: id 0 is 'bicycle', the reference says 'person'"),
    "declared padding 0": (declared_black_padding, "pad_value is 0, the reference's is 114"),
    "declared BGR": (declared_bgr, "channel_order is 'bgr', the reference's is 'rgb'"),
}


@pytest.mark.parametrize(("change", "named"), CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_verify_fails_and_names_the_fault_when_an_artifact_is_corrupted(
    change: Change, named: str, artifact: Path, reference: Model, photos: list[Path], tmp_path: Path
) -> None:
    model = onnx.load(artifact)
    change(model)
    broken = tmp_path / "broken.onnx"
    onnx.save(model, broken)
    report = _verify(reference, broken, photos)
    assert not report.passed
    assert named in " | ".join([*report.problems, *report.diagnosis])


@pytest.fixture(scope="module")
def recording(reference: Model, photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("recording")
    frames = [frame for frame in open_sources(photos) if isinstance(frame, Frame)]
    record(reference, frames, folder, reference.metadata.image_size)
    return Recording(folder)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (head_weight, "1 of 10 tensors changed (p4_cls)"),
        (bgr, "a wrong channel order, padding or scale was not looked for"),
        (constant_output, "the same values for every picture"),
        (permuted_classes, "2 classes are permuted in the artifact: 0 holds the reference's 5"),
        (zero_coefficients, "p3_coef, p4_coef, p5_coef: all zero"),
        (not_a_number, "p5_box"),
        (wrong_names, "class names differ at 2 ids"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_verify_against_a_recording_fails_and_names_the_fault(
    change: Change, named: str, artifact: Path, recording: Recording, tmp_path: Path
) -> None:
    model = onnx.load(artifact)
    change(model)
    broken = tmp_path / "broken.onnx"
    onnx.save(model, broken)
    with load(broken) as opened:
        report = verify(recording, opened, recording.frames())
    assert not report.passed
    assert named in " | ".join([*report.problems, *report.diagnosis])


def test_a_value_that_is_no_number_fails_also_where_a_recording_knows_no_value(
    artifact: Path, recording: Recording, tmp_path: Path
) -> None:
    # The first point of P3 lies in the padding of both photos.
    model = onnx.load(artifact)
    _spoil_the_first_point(model, "p3_coef")
    onnx.save(model, tmp_path / "broken.onnx")
    with load(tmp_path / "broken.onnx") as opened:
        report = verify(recording, opened, recording.frames())
    assert report.masks["matched"] > 0
    assert all(gate.met for gate in report.gates)
    assert not report.passed
    assert report.problems == ["p3_coef: 64 values are not finite at points that the statistics leave out"]


def test_verify_passes_with_no_word_of_blame_when_the_artifact_is_as_exported(
    artifact: Path, reference: Model, photos: list[Path]
) -> None:
    report = _verify(reference, artifact, photos)
    assert report.passed
    assert not report.problems
    assert not report.diagnosis
    assert report.masks["matched"] == 10
    assert report.points["score_error_max"] <= 1e-4
    assert report.points["box_error_px_max"] <= 0.02
    assert report.not_judged == ["ap_retention_min"]


def test_verify_keeps_the_worst_instances_when_masks_differ(
    artifact: Path, reference: Model, photos: list[Path], tmp_path: Path
) -> None:
    model = onnx.load(artifact)
    _edit(model, "p5_coef", lambda kernel: kernel * 0.7)
    onnx.save(model, tmp_path / "broken.onnx")
    report = _verify(reference, tmp_path / "broken.onnx", photos)
    assert report.worst
    assert report.worst[0].mask_iou == min(worst.mask_iou for worst in report.worst)
    assert report.worst[0].mask_iou == pytest.approx(report.masks["mask_iou_min"])


def test_verify_judges_an_asked_gate_in_place_of_the_default(
    artifact: Path, reference: Model, photos: list[Path]
) -> None:
    report = _verify(reference, artifact, photos, Gates(box_error_px_max=1e-9))
    assert [gate.name for gate in report.gates if not gate.met] == ["box_error_px_max"]
    assert not report.passed


def test_verify_refuses_when_no_picture_is_readable(artifact: Path, reference: Model, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with load(artifact) as model, pytest.raises(UsageError, match="no readable picture"):
        verify(reference, model, open_sources(tmp_path / "broken.jpg"))


def test_verify_does_not_pass_when_neither_side_finds_anything(
    artifact: Path, reference: Model, photos: list[Path]
) -> None:
    with load(artifact) as model:
        report = verify(reference, model, open_sources(photos), VerifyOptions(score=1.0))
    assert report.masks["matched"] == 0
    assert not report.passed
