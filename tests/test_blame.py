"""`verify --blame` names the step that a planted fault is in, and only that step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgeseg.bisect import bisect, network_layers, open_probe
from edgeseg.blame import BlameReport, Inside, blame
from edgeseg.cli.verify_inside import images_of
from edgeseg.export import export
from edgeseg.layers import matched
from edgeseg.metadata import METADATA_KEY, ArtifactMetadata
from edgeseg.predict import Model, load
from edgeseg.testing.tiny import tiny_frames

Change = Callable[[Any], None]


@pytest.fixture(scope="module")
def decoded(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tiny_weights, "onnx", output_dir=tmp_path_factory.mktemp("decoded"), outputs="decoded").path


@pytest.fixture(scope="module")
def square(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("square")
    return export(tiny_weights, "onnx", output_dir=folder, outputs="decoded", image_size=(96, 96)).path


@pytest.fixture(scope="module")
def reference(tiny_weights: Path) -> Model:
    return load(tiny_weights)


def _constant(model: Any, name: str, values: Any) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return name


def _before(model: Any, *nodes: tuple[str, list[str]], **attributes: Any) -> None:
    """Nodes between the input and all that reads it; each takes what the one before gives, in place of `_`."""
    last, made = "images", []
    for number, (kind, inputs) in enumerate(nodes):
        given = f"changed{number}"
        made.append(helper.make_node(kind, [last if name == "_" else name for name in inputs], [given], **attributes))
        last = given
    for node in model.graph.node:
        node.input[:] = [last if name == "images" else name for name in node.input]
    old = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(made + old)


def _behind(model: Any, output: str, kind: str, inputs: list[str], **attributes: Any) -> None:
    """A node between what makes an output and the output; `_` is what was there."""
    (maker,) = [node for node in model.graph.node if output in node.output]
    inner = f"{output}_before_{len(model.graph.node)}"
    for node in model.graph.node:
        node.input[:] = [inner if name == output else name for name in node.input]
    maker.output[:] = [inner if name == output else name for name in maker.output]
    model.graph.node.append(helper.make_node(kind, [inner if n == "_" else n for n in inputs], [output], **attributes))


def _rows(model: Any, matrix: Any) -> None:
    """Multiply the boxes' four rows by a matrix, leave the others."""
    channels = 4 + 3 + 32
    whole = np.eye(channels, dtype=np.float32)
    whole[:4, :4] = matrix
    _behind(model, "output0", "MatMul", [_constant(model, "rows", whole), "_"])


def bgr(model: Any) -> None:
    _before(model, ("Gather", ["_", _constant(model, "order", np.array([2, 1, 0]))]), axis=1)


def takes_bytes(model: Any) -> None:
    _before(model, ("Mul", ["_", _constant(model, "scale", np.float32(1 / 255))]))


def imagenet(model: Any) -> None:
    mean = np.array([0.485, 0.456, 0.406], np.float32)[None, :, None, None]
    deviation = np.array([0.229, 0.224, 0.225], np.float32)[None, :, None, None]
    _before(
        model,
        ("Mul", ["_", _constant(model, "deviation", deviation)]),
        ("Add", ["_", _constant(model, "mean", mean)]),
    )


def corners(model: Any) -> None:
    _rows(model, [[1, 0, -0.5, 0], [0, 1, 0, -0.5], [1, 0, 0.5, 0], [0, 1, 0, 0.5]])


def swapped(model: Any) -> None:
    _rows(model, [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])


def _scaled_rows(model: Any, scale: Any, shift: Any) -> None:
    _behind(model, "output0", "Mul", ["_", _constant(model, "scale", np.asarray(scale, np.float32))])
    _behind(model, "output0", "Add", ["_", _constant(model, "shift", np.asarray(shift, np.float32))])


def _strides(height: int, width: int) -> Any:
    return np.concatenate([np.full(height // s * (width // s), s) for s in (8, 16, 32)])


def off_centre(model: Any) -> None:
    shift = np.zeros((1, 39, 315))
    shift[:, :2] = -_strides(96, 160) / 2
    _scaled_rows(model, 1.0, shift)


def no_strides(model: Any) -> None:
    scale = np.ones((1, 39, 315))
    scale[:, :4] = 1 / _strides(96, 160)
    _scaled_rows(model, scale, 0.0)


def no_sigmoid(model: Any) -> None:
    sigmoids = [node for node in model.graph.node if node.op_type == "Sigmoid" and node.name.startswith("/decode")]
    assert len(sigmoids) == 3
    for node in sigmoids:
        node.op_type = "Identity"


def transposed(model: Any) -> None:
    _behind(model, "output1", "Transpose", ["_"], perm=[0, 1, 3, 2])
    shape = model.graph.output[1].type.tensor_type.shape.dim
    shape[2].dim_value, shape[3].dim_value = shape[3].dim_value, shape[2].dim_value


def coefficient_order(model: Any) -> None:
    order = np.arange(39)
    order[[10, 20]] = order[[20, 10]]
    _behind(model, "output0", "Gather", ["_", _constant(model, "order", order)], axis=1)


def negative_prototypes(model: Any) -> None:
    _behind(model, "output1", "Neg", ["_"])


def sigmoid_prototypes(model: Any) -> None:
    _behind(model, "output1", "Sigmoid", ["_"])


def damaged(model: Any, layer: str = "network.backbone.stage4.cv1.first.conv.weight") -> None:
    (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == layer]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.5), weight.name))


def damaged_boxes(model: Any) -> None:
    damaged(model, "network.head.box.0.2.weight")


def damaged_prototypes(model: Any) -> None:
    damaged(model, "network.head.proto.cv3.conv.weight")


def _declared(model: Any, **changes: Any) -> None:
    keys = {entry.key: entry.value for entry in model.metadata_props}
    metadata = ArtifactMetadata.from_json(keys[METADATA_KEY], "test")
    keys[METADATA_KEY] = replace(metadata, preprocessing=replace(metadata.preprocessing, **changes)).to_json()
    helper.set_model_props(model, keys)


def declares_bgr(model: Any) -> None:
    _declared(model, channel_order="bgr")


def declares_black(model: Any) -> None:
    _declared(model, pad_value=0)


def declares_bytes(model: Any) -> None:
    _declared(model, scale=1.0)


PLANTED: dict[Change, tuple[str, str]] = {
    bgr: ("preprocess", "BGR"),
    takes_bytes: ("preprocess", "expects 0..255 and is given 0..1"),
    imagenet: ("preprocess", "expects input normalised with ImageNet's mean"),
    declares_bgr: ("preprocess", "it declares channel_order 'bgr', the reference's is 'rgb'"),
    declares_black: ("preprocess", "it declares pad_value 0, the reference's is 114"),
    declares_bytes: ("preprocess", "it declares scale 1.0"),
    corners: ("decode", "boxes are corners (x1 y1 x2 y2)"),
    swapped: ("decode", "x and y are swapped"),
    off_centre: ("decode", "points lie at the cells' corners"),
    no_strides: ("decode", "not multiplied by the strides"),
    no_sigmoid: ("decode", "the sigmoid is missing"),
    coefficient_order: ("masks", "2 channels of the coefficients are in another order: 3 holds the reference's 13"),
    negative_prototypes: ("masks", "prototypes have the wrong sign"),
    sigmoid_prototypes: ("masks", "prototypes went through a sigmoid"),
    damaged: ("network", "no replacement of another step"),
    damaged_boxes: ("network", "no replacement of another step"),
    damaged_prototypes: ("network", "no replacement of another step"),
}


def _blamed(change: Change | None, artifact: Path, reference: Model, folder: Path, *, inside: bool) -> BlameReport:
    model = onnx.load(artifact)
    if change is not None:
        change(model)
    path = folder / "broken.onnx"
    onnx.save(model, path)
    with load(path) as opened:
        if not inside:
            return blame(reference, opened, tiny_frames())
        layers = network_layers(reference.path).convolutions
        with open_probe(path) as probe:
            found = {layer.path: layer for layer in matched(layers, probe.operations, "test")}
            return blame(
                reference,
                opened,
                tiny_frames(),
                inside=Inside(probe, found),
                bisected=lambda: bisect(reference.path, path, images_of(opened, tiny_frames()[0])),
            )


@pytest.mark.parametrize(("change", "expected"), PLANTED.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_blame_names_the_step_of_a_planted_fault(
    change: Change, expected: tuple[str, str], decoded: Path, reference: Model, tmp_path: Path
) -> None:
    step, sentence = expected
    report = _blamed(change, decoded, reference, tmp_path, inside=False)
    assert report.step == step, report
    assert sentence in " | ".join(report.because)
    assert not report.trials[0].restores


@pytest.mark.parametrize("change", [bgr, corners, coefficient_order, damaged_boxes], ids=lambda c: c.__name__)
def test_blame_with_the_files_own_layers_agrees(
    change: Change, decoded: Path, reference: Model, tmp_path: Path
) -> None:
    report = _blamed(change, decoded, reference, tmp_path, inside=True)
    assert report.step == PLANTED[change][0], report
    if change is damaged_boxes:
        assert "head.box.0.2 is the first layer that differs" in " | ".join(report.because)


def test_blame_tells_an_unknown_decoding_fault_by_the_files_own_layers(
    decoded: Path, reference: Model, tmp_path: Path
) -> None:
    # In no list of faults: boxes a third too wide.
    report = _blamed(lambda m: _rows(m, np.diag([1, 1, 1.3, 1])), decoded, reference, tmp_path, inside=True)
    assert report.step == "decode", report
    assert "the network's last layers in the file agree" in report.because[0]


def test_blame_names_transposed_prototypes_where_their_shape_does_not_tell(
    square: Path, reference: Model, tmp_path: Path
) -> None:
    report = _blamed(transposed, square, reference, tmp_path, inside=False)
    assert (report.step, report.because) == ("masks", ["prototypes are transposed"])


def test_blame_names_the_masks_where_the_prototypes_have_another_shape(
    decoded: Path, reference: Model, tmp_path: Path
) -> None:
    report = _blamed(transposed, decoded, reference, tmp_path, inside=False)
    assert report.step == "masks", report


@pytest.mark.parametrize("inside", [False, True])
def test_blame_names_nothing_on_a_good_artifact(
    decoded: Path, tiny_onnx: Path, reference: Model, tmp_path: Path, inside: bool
) -> None:
    for path in (decoded, tiny_onnx):
        report = _blamed(None, path, reference, tmp_path, inside=inside)
        assert report.step == ""
        assert len(report.trials) == 1
        assert report.trials[0].restores


def test_a_raw_artifact_is_blamed_the_same_way(tiny_onnx: Path, reference: Model, tmp_path: Path) -> None:
    def negative(model: Any) -> None:
        _behind(model, "proto", "Neg", ["_"])

    assert _blamed(bgr, tiny_onnx, reference, tmp_path, inside=False).step == "preprocess"
    assert _blamed(negative, tiny_onnx, reference, tmp_path, inside=False).step == "masks"
    assert _blamed(damaged, tiny_onnx, reference, tmp_path, inside=False).step == "network"
