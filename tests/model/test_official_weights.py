"""The official files under our names: all of them, unchanged, and through our own file bit by bit."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

import edgeseg
from edgeseg.errors import WeightsError
from edgeseg.model.checkpoint import read_checkpoint
from edgeseg.model.config import network_config
from edgeseg.model.reference import expected_shapes
from edgeseg.model.weights import MASK_BRANCHES, Weights, import_checkpoint, load_weights, save_weights


@pytest.fixture(scope="module")
def official(shared: Path) -> Weights:
    return load_weights(shared / "weights" / "yolov8n-seg.pt")


def test_the_official_checkpoint_fills_every_tensor_of_the_nano_network(official: Weights) -> None:
    assert official.config == network_config("n", 80)
    assert {name: array.shape for name, array in official.tensors.items()} == expected_shapes(official.config)
    assert {array.dtype for array in official.tensors.values()} == {np.dtype(np.float32)}
    assert official.metadata.scale == "n"
    assert official.metadata.image_size == (640, 640)
    assert official.metadata.missing == ()
    assert official.metadata.names[0] == "person"
    assert official.metadata.names[79] == "toothbrush"
    assert official.metadata.source["sha256"].startswith("d39e867b")


def test_the_official_checkpoint_leaves_nothing_behind_but_fixed_bins_and_counters(
    shared: Path, official: Weights
) -> None:
    checkpoint = read_checkpoint(shared / "weights" / "yolov8n-seg.pt")
    left = {name for name in checkpoint.tensors if not name.endswith("num_batches_tracked")}

    assert len(left) == len(official.tensors) + 1
    total = sum(checkpoint.tensors[name].size for name in left)
    assert total == sum(array.size for array in official.tensors.values()) + 16


def test_the_official_values_arrive_unchanged_under_their_new_names(shared: Path, official: Weights) -> None:
    checkpoint = read_checkpoint(shared / "weights" / "yolov8n-seg.pt")
    pairs = {
        "model.0.conv.weight": "backbone.stem.conv.weight",
        "model.8.m.0.cv2.bn.running_var": "backbone.stage5.m.0.cv2.bn.running_var",
        "model.9.cv2.conv.weight": "backbone.sppf.cv2.conv.weight",
        "model.21.cv2.conv.weight": "neck.coarse5.cv2.conv.weight",
        "model.22.cv2.0.2.bias": "head.box.0.2.bias",
        "model.22.cv3.2.1.bn.bias": "head.cls.2.1.bn.bias",
        "model.22.cv4.1.2.weight": "head.coef.1.2.weight",
        "model.22.proto.upsample.bias": "head.proto.upsample.bias",
    }
    for theirs, ours in pairs.items():
        np.testing.assert_array_equal(checkpoint.tensors[theirs].astype(np.float32), official.tensors[ours])


def test_the_official_weights_survive_our_file_bit_by_bit(official: Weights, tmp_path: Path) -> None:
    save_weights(official, tmp_path / "n.safetensors")
    again = load_weights(tmp_path / "n.safetensors")

    assert again.metadata == official.metadata
    assert again.config == official.config
    assert again.tensors.keys() == official.tensors.keys()
    for name, array in official.tensors.items():
        assert again.tensors[name].tobytes() == array.tobytes(), name
    save_weights(again, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "n.safetensors").read_bytes()


def test_a_detection_checkpoint_gives_everything_but_the_mask_branches_and_says_so(
    shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = shared / "weights" / "yolov8n.pt"
    with caplog.at_level(logging.WARNING):
        weights = import_checkpoint(path)

    expected = {n for n in expected_shapes(network_config("n", 80)) if not n.startswith(("head.coef.", "head.proto."))}
    assert weights.tensors.keys() == expected
    assert weights.metadata.missing == MASK_BRANCHES
    assert "detection checkpoint" in caplog.text
    assert "head.proto." in caplog.text
    save_weights(weights, tmp_path / "detector.safetensors")
    assert load_weights(tmp_path / "detector.safetensors").metadata == weights.metadata


def test_a_detection_checkpoint_is_refused_for_predicting_with_the_remedy(shared: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        edgeseg.load(shared / "weights" / "yolov8n.pt")
    assert "yolov8n.pt" in caught.value.message
    assert "detector" in caught.value.message
    assert "segmentation weights" in caught.value.hint
