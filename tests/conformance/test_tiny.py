"""The tiny network is repeatable, small, and finds enough to compare."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import edgeseg
from edgeseg.card.load import load_card
from edgeseg.card.resolve import resolve
from edgeseg.export import export
from edgeseg.metrics.mask_parity import match_instances
from edgeseg.model.weights import load_weights
from edgeseg.testing import tiny_frames, tiny_picture, write_tiny_card, write_tiny_weights
from edgeseg.testing.tiny import IMAGE_SIZE, NAMES


@pytest.fixture(scope="module")
def model(tiny_weights: Path) -> Iterator[edgeseg.Model]:
    with edgeseg.load(tiny_weights) as opened:
        yield opened


def test_same_seed_gives_the_same_bytes(tiny_weights: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    again = write_tiny_weights(tmp_path / "again.safetensors")
    assert again.read_bytes() == tiny_weights.read_bytes()
    # The caller's random numbers go on as if nothing had happened.
    assert torch.equal(torch.get_rng_state(), state)


def test_another_seed_gives_other_weights(tiny_weights: Path, tmp_path: Path) -> None:
    other = load_weights(write_tiny_weights(tmp_path / "other.safetensors", seed=1))
    this = load_weights(tiny_weights)
    assert other.tensors.keys() == this.tensors.keys()
    assert not np.array_equal(other.tensors["head.proto.cv1.conv.weight"], this.tensors["head.proto.cv1.conv.weight"])


def test_weights_are_small(tiny_weights: Path) -> None:
    assert tiny_weights.stat().st_size < 400_000


def test_every_picture_holds_a_handful_of_instances(model: edgeseg.Model) -> None:
    found = [result.instances for result in model.predict([frame.picture for frame in tiny_frames()])]
    assert all(5 <= len(instances) <= 20 for instances in found)
    assert {NAMES[i] for instances in found for i in instances.class_ids} == set(NAMES)


def test_rounding_moves_no_instance_over_the_threshold(
    model: edgeseg.Model, tiny_weights: Path, tmp_path: Path
) -> None:
    """Else rounding would decide whether an instance is there, and parity would fail for no fault."""
    pictures = [frame.picture for frame in tiny_frames()]
    with edgeseg.load(export(tiny_weights, "onnx", output_dir=tmp_path, precision="fp16").path) as half:
        rounded = list(half.predict(pictures, score=0.2))
    for exact, result in zip(model.predict(pictures, score=0.2), rounded, strict=True):
        wanted, found = exact.instances, result.instances
        parity = match_instances(wanted, found, 0.2, margin=0)
        near = [match for match in parity.matches if abs(wanted.scores[match.reference] - 0.25) < 0.04]
        assert near
        assert float(np.abs(wanted.scores - 0.25).min()) > 0.004
        lost = [*wanted.scores[list(parity.missing)], *found.scores[list(parity.extra)]]
        assert all(abs(score - 0.25) > 0.04 for score in lost)
        assert any(match.score_error for match in near)
        for match in near:
            assert (wanted.scores[match.reference] > 0.25) == (found.scores[match.found] > 0.25)
            assert 2 * abs(match.score_error) < abs(wanted.scores[match.reference] - 0.25)


def test_normalisations_are_not_the_identity(tiny_weights: Path) -> None:
    """Else an exporter that loses one would pass."""
    tensors = load_weights(tiny_weights).tensors
    gains = [tensors[name] for name in tensors if name.endswith(".bn.weight")]
    assert all(np.abs(gain - 1).max() > 0.02 for gain in gains)


def test_pictures_are_repeatable_and_differ_by_seed() -> None:
    np.testing.assert_array_equal(tiny_picture(), tiny_picture())
    assert tiny_picture().shape == (*IMAGE_SIZE, 3)
    assert not np.array_equal(tiny_picture(), tiny_picture(seed=1))


@pytest.mark.parametrize("name", ["onnx", "torchscript"])
def test_card_resolves_to_the_tiny_weights(tiny_weights: Path, tmp_path: Path, name: str) -> None:
    card = resolve(load_card(write_tiny_card(tmp_path / "tiny.yaml", tiny_weights, name)))
    assert (card.class_names, card.image_size, card.weights) == (NAMES, IMAGE_SIZE, tiny_weights)
    assert [(target.format, target.precision, target.reason) for target in card.targets] == [(name, "fp32", "")]
