"""Weights on their way to validation, and the numbers that come back."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import edgeseg
from edgeseg.data.open import open_dataset
from edgeseg.model.config import NetworkConfig
from edgeseg.model.network import SegmentationNetwork
from edgeseg.model.reference import build_network
from edgeseg.model.weights import WeightsMetadata, load_weights, save_weights
from edgeseg.testing.tiny import IMAGE_SIZE
from edgeseg.train.validation import peak_memory_mb, scores_of, validated, weights_of
from tests.annotated import write_annotated
from tests.report.validation import FOUND, metrics_of, write_set

CONFIG = NetworkConfig((8, 8, 16, 16, 16), 1, 1, 16, 16, 16, 16, 3)
METADATA = WeightsMetadata(names=("cat", "dog", "cow"), image_size=(64, 96))


@pytest.fixture
def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork(CONFIG)


def test_training_on_does_not_change_weights_that_were_taken(network: SegmentationNetwork) -> None:
    taken = weights_of(network, METADATA)
    before = {name: array.copy() for name, array in taken.tensors.items()}
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.add_(1)

    for name, array in taken.tensors.items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last], ids=["plain", "channels-last"])
def test_weights_make_the_same_network_again(
    network: SegmentationNetwork, order: torch.memory_format, tmp_path: Path
) -> None:
    network = network.to(memory_format=order)  # type: ignore[call-overload]
    images = torch.rand(2, 3, 64, 96)
    network.train()(images)
    save_weights(weights_of(network, METADATA), tmp_path / "weights.safetensors")
    loaded = load_weights(tmp_path / "weights.safetensors")

    assert (loaded.metadata, loaded.config) == (METADATA, CONFIG)
    assert {array.dtype for array in loaded.tensors.values()} == {np.dtype(np.float32)}
    with torch.no_grad():
        torch.testing.assert_close(build_network(loaded)(images), network.eval()(images))


def test_weights_of_a_half_precision_network_are_float32(network: SegmentationNetwork) -> None:
    halves = network.half()
    for name, array in weights_of(halves, METADATA).tensors.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, halves.state_dict()[name].numpy().astype(np.float32), err_msg=name)


def test_validation_in_training_gives_the_numbers_of_val(tiny_weights: Path, tmp_path: Path) -> None:
    annotations = write_annotated(tmp_path, tiny_weights, pictures=3)
    # Without some objects, so that neither AP is 1.
    content = json.loads(annotations.read_text())
    content["annotations"] = content["annotations"][::2]
    annotations.write_text(json.dumps(content))
    dataset = open_dataset(annotations)
    found = scores_of(validated(load_weights(tiny_weights), dataset, "cpu", IMAGE_SIZE))
    with edgeseg.load(tiny_weights) as model:
        expected = model.val(annotations)

    assert 0.1 < expected.seg.map < 0.99
    assert found == pytest.approx(
        {
            "box_ap": expected.box.map,
            "box_ap50": expected.box.map50,
            "mask_ap": expected.seg.map,
            "mask_ap50": expected.seg.map50,
        },
        abs=1e-9,
    )


def test_scores_of_a_set_without_objects_are_zero(tmp_path: Path) -> None:
    source = write_set(tmp_path).source
    source.write_text(json.dumps({**json.loads(source.read_text()), "annotations": []}))
    metrics = metrics_of(open_dataset(source), FOUND)

    assert math.isnan(metrics.seg.map)
    assert scores_of(metrics) == {"box_ap": 0.0, "box_ap50": 0.0, "mask_ap": 0.0, "mask_ap50": 0.0}


def test_scores_are_plain_numbers_of_box_and_mask(tmp_path: Path) -> None:
    dataset = write_set(tmp_path)
    # The boxes of one detection alone, so that all four numbers differ.
    metrics = replace(metrics_of(dataset, FOUND), box=metrics_of(dataset, FOUND[2:3]).box)
    scores = scores_of(metrics)

    box, mask = metrics.box, metrics.seg
    assert scores == {"box_ap": box.map, "box_ap50": box.map50, "mask_ap": mask.map, "mask_ap50": mask.map50}
    assert {type(value) for value in scores.values()} == {float}
    assert len(set(scores.values())) == 4


def test_peak_memory_of_a_cpu_is_that_of_the_process_in_mb() -> None:
    pytest.importorskip("resource", reason="this system does not tell")
    kept = np.ones(25_000_000)
    assert kept.nbytes == 200_000_000
    assert 200 < peak_memory_mb(torch.device("cpu")) < 200_000
