"""Weights made by hand: what is read, what is refused, and the round trip through our own file."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.errors import WeightsError
from edgeseg.model.config import network_config
from edgeseg.model.reference import build_network, expected_shapes
from edgeseg.model.safetensors_file import read_weights, write_weights
from edgeseg.model.weights import (
    FLAT_NAMES,
    MASK_BRANCHES,
    METADATA_KEY,
    Weights,
    WeightsMetadata,
    import_checkpoint,
    load_weights,
    save_weights,
)
from tests.model.torch_zip import Name, assemble, module, tensor, write_archive

Shapes = dict[str, tuple[int, ...]]

# Few channels: a file of the right form in a few hundred kilobytes.
SMALL = replace(
    network_config("n", 2), channels=(4, 8, 8, 16, 16), box_hidden=8, cls_hidden=8, coef_hidden=32, proto_hidden=8
)
FOREIGN = {ours: flat for flat, ours in FLAT_NAMES.items()}


@functools.cache
def small_shapes() -> Shapes:
    return expected_shapes(SMALL)


def foreign_shapes(detection: bool = False) -> Shapes:
    """Names and shapes as the peer's state dict has them."""
    shapes: Shapes = {"model.22.dfl.conv.weight": (1, 16, 1, 1), "model.0.bn.num_batches_tracked": ()}
    for name, shape in small_shapes().items():
        ours = next(prefix for prefix in FOREIGN if name.startswith(f"{prefix}."))
        if not (detection and name.startswith(MASK_BRANCHES)):
            shapes[f"model.{FOREIGN[ours]}{name.removeprefix(ours)}"] = shape
    return shapes


def write_checkpoint(path: Path, shapes: Mapping[str, tuple[int, ...]], **content: Any) -> Path:
    """A checkpoint whose tensors are all zero."""
    entries, storages = {}, {}
    for index, (name, shape) in enumerate(shapes.items()):
        count = math.prod(shape)
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        entries[name] = tensor(shape, strides, key=str(index), count=count)
        storages[str(index)] = bytes(4 * count)
    return write_archive(path, assemble({"state_dict": entries, **content}), storages)


def small_weights(seed: int = 0) -> Weights:
    rng = np.random.default_rng(seed)
    tensors = {n: rng.normal(size=s).astype(np.float32) for n, s in small_shapes().items()}
    source = {"file": "a.pt", "sha256": "0" * 64}
    return Weights(tensors, WeightsMetadata(("cat", "zebra π"), license="CC0", source=source), SMALL)


def refused(path: Path, *words: str) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        load_weights(path)
    assert str(path) in caught.value.message
    for word in words:
        assert word in str(caught.value)
    return caught.value


# Foreign checkpoints made by hand


def test_a_checkpoint_of_other_sizes_is_read_from_its_shapes(tmp_path: Path) -> None:
    weights = load_weights(write_checkpoint(tmp_path / "a.pt", foreign_shapes(), names=["left", "right"]))

    assert weights.config == SMALL
    assert weights.metadata.names == ("left", "right")
    assert weights.metadata.scale == ""
    build_network(weights)


def test_class_names_are_numbered_where_a_checkpoint_has_none(tmp_path: Path) -> None:
    weights = load_weights(write_checkpoint(tmp_path / "a.pt", foreign_shapes()))

    assert weights.metadata.names == ("class0", "class1")


@pytest.mark.parametrize("names", [["one"], ["a", "b", "c"], {0: "a", 1: "b", 2: "c"}], ids=repr)
def test_a_wrong_number_of_class_names_is_refused(names: Any, tmp_path: Path) -> None:
    refused(
        write_checkpoint(tmp_path / "a.pt", foreign_shapes(), names=names), f"{len(names)} class names", "2 classes"
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (320, (320, 320)),
        ([384, 640], (384, 640)),
        (650, (672, 672)),
        ([31, 33], (32, 64)),
        (None, (640, 640)),
        ("640", (640, 640)),
        (0, (640, 640)),
        (True, (640, 640)),
        ([640], (640, 640)),
        (["a", None], (640, 640)),
        ([384, -1], (640, 640)),
    ],
    ids=repr,
)
def test_the_trained_size_is_taken_where_it_makes_sense(size: Any, expected: tuple[int, int], tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.pt", foreign_shapes(), train_args={"imgsz": size})

    assert load_weights(path).metadata.image_size == expected


def _yolo11(shapes: Shapes) -> Shapes:
    return {name.replace("model.22.", "model.23."): shape for name, shape in shapes.items()}


def _c3k2(shapes: Shapes) -> Shapes:
    return {**shapes, "model.2.m.0.cv3.conv.weight": (4, 8, 1, 1), "model.2.m.0.m.0.cv1.conv.weight": (4, 4, 3, 3)}


def _attention(shapes: Shapes) -> Shapes:
    return {**shapes, "model.10.cv1.conv.weight": (16, 16, 1, 1)}


def _pose(shapes: Shapes) -> Shapes:
    kept = {name: shape for name, shape in shapes.items() if ".proto." not in name}
    return {n: (51, *s[1:]) if re.fullmatch(r"model\.22\.cv4\.\d\.2\.\w+", n) else s for n, s in kept.items()}


def _narrow_pose(shapes: Shapes) -> Shapes:
    # Each of its tensors has a place and the shape that a segmentation head would have there.
    return {name: shape for name, shape in shapes.items() if ".proto." not in name}


def _p6(shapes: Shapes) -> Shapes:
    extra: Shapes = {f"model.{index}.conv.weight": (16, 16, 3, 3) for index in (10, 20, 26)}
    return {**shapes, **extra, "model.29.cv2.3.0.conv.weight": (8, 16, 3, 3)}


def _wide_stage(shapes: Shapes) -> Shapes:
    return {**shapes, "model.4.cv2.conv.weight": (9, 16, 1, 1)}


def _sixty_bins(shapes: Shapes) -> Shapes:
    return {n: (60, *s[1:]) if re.fullmatch(r"model\.22\.cv2\.\d\.2\.\w+", n) else s for n, s in shapes.items()}


def _no_stem(shapes: Shapes) -> Shapes:
    return {name: shape for name, shape in shapes.items() if not name.startswith("model.0.")}


def _scalar_stem(shapes: Shapes) -> Shapes:
    return {**shapes, "model.0.conv.weight": ()}


def _empty_stem(shapes: Shapes) -> Shapes:
    return {**shapes, "model.0.conv.weight": (0, 3, 3, 3)}


def _no_bottlenecks(shapes: Shapes) -> Shapes:
    return {name: shape for name, shape in shapes.items() if not name.startswith("model.2.m.")}


def _endless(shapes: Shapes) -> Shapes:
    return {**shapes, **{f"model.4.m.{index}.cv1.bn.bias": (1,) for index in range(300)}}


def _classifier(shapes: Shapes) -> Shapes:
    kept = {name: shape for name, shape in shapes.items() if int(name.split(".")[1]) < 9}
    return {**kept, "model.9.linear.weight": (1000, 16)}


def _no_prefix(shapes: Shapes) -> Shapes:
    return {name.removeprefix("model."): shape for name, shape in shapes.items()}


OF_ANY_HEAD = [
    _yolo11, _c3k2, _attention, _p6, _wide_stage, _sixty_bins, _no_stem, _scalar_stem, _empty_stem, _no_bottlenecks,
    _endless, _classifier, _no_prefix,
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "detection"),
    [(change, detection) for change in OF_ANY_HEAD for detection in (False, True)]
    + [(_pose, False), (_narrow_pose, False)],
    ids=lambda value: value.__name__[1:] if callable(value) else {True: "detection", False: "segmentation"}[value],
)
def test_another_network_is_refused_with_the_supported_list_and_without_a_warning(
    change: Any, detection: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    error = refused(write_checkpoint(tmp_path / "other.pt", change(foreign_shapes(detection))), "supported: yolov8-seg")

    assert "n, s, m, l, x" in error.hint
    assert len(str(error)) < 2000
    assert caplog.text == "", "what is refused was not read"


def test_more_bottlenecks_than_any_network_has_are_refused_before_one_is_built(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "other.pt", _endless(foreign_shapes()))

    refused(path, "backbone.stage3 has 300 bottlenecks")


def test_another_family_is_refused_with_the_modules_that_were_found(tmp_path: Path) -> None:
    attention = module(Name("ultralytics.nn.modules", "C2PSA"), parameters={"weight": tensor()})
    layers = module(Name("torch.nn.modules.container", "Sequential"), {"10": attention})
    network = module(Name("ultralytics.nn.tasks", "SegmentationModel"), {"model": layers})
    path = write_archive(tmp_path / "other.pt", assemble({"model": network}))

    refused(path, "model.10.weight", "C2PSA", "supported: yolov8-seg")


def test_values_that_are_not_finite_are_refused_with_the_first_tensor(tmp_path: Path) -> None:
    weights = small_weights()
    weights.tensors["neck.fine4.cv1.bn.running_var"][1] = np.nan
    save_weights(weights, tmp_path / "a.safetensors")

    refused(tmp_path / "a.safetensors", "neck.fine4.cv1.bn.running_var", "not finite", "diverged")


# Our own file


def test_saving_twice_gives_the_same_bytes_whatever_the_order_of_the_tensors(tmp_path: Path) -> None:
    weights = small_weights()
    backwards = replace(weights, tensors=dict(reversed(weights.tensors.items())))

    save_weights(weights, tmp_path / "a.safetensors")
    save_weights(backwards, tmp_path / "b.safetensors")

    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert load_weights(tmp_path / "a.safetensors").metadata == weights.metadata


def test_the_same_checkpoint_imports_to_the_same_bytes(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.pt", foreign_shapes(), train_args={"z": 1, "a": [1.5, None]}, date="today")

    for name in ("one", "two"):
        save_weights(import_checkpoint(path), tmp_path / f"{name}.safetensors")

    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()


def _rewritten(path: Path, **changes: Any) -> Path:
    """A file of small weights whose metadata differ from what `save_weights` would write."""
    weights = small_weights()
    content = {**json.loads(weights.metadata.to_json()), **changes}
    write_weights(path, weights.tensors, {METADATA_KEY: json.dumps(content)})
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": 2}, ("another schema", "update edgeseg")),
        ({"names": ["one"]}, ("1 class names", "2 classes")),
        ({"names": "ab"}, ("metadata is not readable",)),
        ({"names": [1, 2]}, ("metadata is not readable",)),
        ({"names": None}, ("metadata is not readable",)),
        ({"image_size": [640]}, ("metadata is not readable",)),
        ({"data": 5}, ("metadata is not readable",)),
        ({"images": None}, ("metadata is not readable",)),
        ({"unheard_of": 1}, ("metadata is not readable", "unheard_of")),
        ({"family": "yolo11-seg"}, ("yolo11-seg", "supported: yolov8-seg")),
        ({"missing": [""]}, ("lacks", "supported")),
        ({"missing": ["head."]}, ("lacks", "supported")),
        ({"missing": ["head.coef.", "head.proto."]}, ("not expected", "supported")),
    ],
    ids=str,
)
def test_metadata_that_does_not_fit_is_refused(changes: dict[str, Any], words: tuple[str, ...], tmp_path: Path) -> None:
    refused(_rewritten(tmp_path / "a.safetensors", **changes), *words)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"schema": 1}'], ids=lambda text: text[:9])
def test_metadata_that_is_broken_is_refused(text: str, tmp_path: Path) -> None:
    write_weights(tmp_path / "a.safetensors", small_weights().tensors, {METADATA_KEY: text})

    refused(tmp_path / "a.safetensors", "metadata is not readable")


def test_safetensors_of_someone_else_is_refused_with_where_weights_come_from(tmp_path: Path) -> None:
    write_weights(tmp_path / "a.safetensors", small_weights().tensors, {"format": "pt"})

    refused(tmp_path / "a.safetensors", "without edgeseg metadata", "edgeseg weights import")


def test_a_tensor_too_many_or_too_few_is_named(tmp_path: Path) -> None:
    weights = small_weights()
    tensors = dict(weights.tensors)
    del tensors["neck.down4.bn.bias"]
    tensors["neck.down4.bn.biass"] = np.zeros(1, np.float32)
    write_weights(tmp_path / "a.safetensors", tensors, {METADATA_KEY: weights.metadata.to_json()})

    refused(tmp_path / "a.safetensors", "neck.down4.bn.bias is missing", "neck.down4.bn.biass is not expected")


def test_sizes_beyond_reason_are_refused_without_building_the_network(tmp_path: Path) -> None:
    weights = small_weights()
    tensors = {**weights.tensors, "backbone.stem.conv.weight": np.empty((2**40, 0, 3, 3), np.float32)}
    write_weights(tmp_path / "a.safetensors", tensors, {METADATA_KEY: weights.metadata.to_json()})

    refused(tmp_path / "a.safetensors", "backbone.stem.conv.weight", "channels")


def test_an_absent_file_is_refused_by_name(tmp_path: Path) -> None:
    refused(tmp_path / "none.pt", "no such weights file")


def test_the_written_file_holds_the_tensors_themselves(tmp_path: Path) -> None:
    weights = small_weights()
    save_weights(weights, tmp_path / "a.safetensors")

    tensors, metadata = read_weights(tmp_path / "a.safetensors")

    assert list(metadata) == [METADATA_KEY]
    assert all(np.array_equal(tensors[name], array) for name, array in weights.tensors.items())


def test_loading_twice_gives_networks_that_do_not_share_memory(tmp_path: Path) -> None:
    save_weights(small_weights(), tmp_path / "a.safetensors")
    weights = load_weights(tmp_path / "a.safetensors")

    one, two = build_network(weights), build_network(weights)
    one.backbone.stem.conv.weight.data.zero_()

    assert two.backbone.stem.conv.weight.abs().sum() > 0
    assert np.abs(weights.tensors["backbone.stem.conv.weight"]).sum() > 0
