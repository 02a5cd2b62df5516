"""What a training starts from: priors, copied and fresh tensors, frozen parts."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeseg.card.classes import COCO80
from edgeseg.errors import UsageError
from edgeseg.model.config import NetworkConfig, network_config
from edgeseg.model.network import SegmentationNetwork
from edgeseg.model.weights import MASK_BRANCHES, Weights, WeightsMetadata, load_weights
from edgeseg.train.start import freeze, fresh_network, start_network, train_mode
from edgeseg.train.validation import weights_of

NAMES = ("cat", "dog", "cow")
SIZE = (64, 96)
BACKBONE = ("stem", "down2", "stage2", "down3", "stage3", "down4", "stage4", "down5", "stage5", "sppf")
CLASS_LAYERS = tuple(f"head.cls.{level}.2.{kind}" for level in range(3) for kind in ("weight", "bias"))


def weights_with(config: NetworkConfig, names: tuple[str, ...], scale: str = "n") -> Weights:
    """Random weights in which no two values of a tensor are alike, running statistics too."""
    torch.manual_seed(7)
    network = SegmentationNetwork(config)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.normal_()
    return weights_of(network, WeightsMetadata(names=names, scale=scale))


def tiny() -> SegmentationNetwork:
    return SegmentationNetwork(NetworkConfig((8, 8, 16, 16, 16), 1, 1, 16, 16, 16, 16, 3))


@pytest.fixture(scope="module")
def of_three() -> Weights:
    return weights_with(network_config("n", 3), NAMES)


@pytest.fixture(scope="module")
def official(shared: Path) -> Weights:
    return load_weights(shared / "weights/yolov8n-seg.pt")


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    # A command that ran before in this process may have turned propagation off.
    monkeypatch.setattr(logging.getLogger("edgeseg"), "propagate", True)
    caplog.set_level(logging.INFO, logger="edgeseg")
    return caplog


def bias(branch: nn.Module) -> Tensor:
    return list(branch.children())[-1].get_parameter("bias").detach()


def fresh_state(classes: int) -> dict[str, Tensor]:
    """What `start_network` draws before it copies."""
    torch.manual_seed(3)
    return fresh_network("n", classes, SIZE).state_dict()


def started(names: tuple[str, ...], weights: Weights) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return start_network("n", names, SIZE, weights).state_dict()


def without_counters(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.endswith("num_batches_tracked")]


@pytest.mark.parametrize(
    ("classes", "image_size"), [(80, (640, 640)), (1, (640, 640)), (3, (320, 416))], ids=["coco", "one", "oblong"]
)
def test_fresh_network_expects_five_objects_a_level(classes: int, image_size: tuple[int, int]) -> None:
    network = fresh_network("n", classes, image_size)
    for stride, branch in zip((8, 16, 32), network.head.cls, strict=True):
        points = (image_size[0] // stride) * (image_size[1] // stride)
        assert bias(branch).shape == (classes,)
        assert float(points * torch.sigmoid(bias(branch)).sum()) == pytest.approx(5, rel=1e-4)


def test_fresh_network_expects_no_more_than_half_its_points_when_there_are_few() -> None:
    # One point at stride 32, four at 16.
    network = fresh_network("n", 2, (32, 32))
    found = [float(torch.sigmoid(bias(branch)).sum()) for branch in network.head.cls]
    assert found == pytest.approx([5 / 16, 0.5, 0.5], rel=1e-5)


def test_fresh_network_has_no_opinion_on_sides() -> None:
    for branch in fresh_network("n", 3, SIZE).head.box:
        sides = bias(branch).reshape(4, 16).softmax(dim=1)
        # Facts.md, section 1: a side is the softmax-weighted mean of the bins 0 to 15.
        assert (sides @ torch.arange(16.0)).tolist() == pytest.approx([7.5] * 4)


def test_fresh_network_follows_the_seed() -> None:
    first, again = fresh_state(3), fresh_state(3)
    other = fresh_network("n", 3, SIZE).state_dict()
    name = "backbone.stem.conv.weight"
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])


def test_weights_of_the_same_classes_are_taken_whole(of_three: Weights) -> None:
    state = started(NAMES, of_three)
    assert set(without_counters(state)) == of_three.tensors.keys()
    for name, array in of_three.tensors.items():
        np.testing.assert_array_equal(state[name].numpy(), array, err_msg=name)


def test_training_does_not_change_the_weights_that_it_starts_from(of_three: Weights) -> None:
    before = {name: array.copy() for name, array in of_three.tensors.items()}
    with torch.no_grad():
        for tensor in started(NAMES, of_three).values():
            tensor.zero_()
    for name, array in of_three.tensors.items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        pytest.param(("cow", "cat", "dog"), (2, 0, 1), id="permuted"),
        pytest.param(("dog",), (1,), id="fewer"),
        pytest.param(("bird", "dog", "horse", "cat"), (None, 1, None, 0), id="some"),
        pytest.param(("bird", "horse", "sheep"), (None, None, None), id="none"),
        pytest.param(("Cat", "dog ", "cow"), (None, None, 2), id="written-otherwise"),
    ],
)
def test_classes_take_the_rows_of_their_names(
    of_three: Weights, names: tuple[str, ...], rows: tuple[int | None, ...]
) -> None:
    state, fresh = started(names, of_three), fresh_state(len(names))
    for layer in CLASS_LAYERS:
        expected = [
            fresh[layer][at]
            if row is None
            else torch.from_numpy(of_three.tensors[layer][row])
            if layer.endswith("weight")
            else torch.tensor(of_three.tensors[layer][row])
            for at, row in enumerate(rows)
        ]
        torch.testing.assert_close(state[layer], torch.stack(expected), rtol=0, atol=0, msg=layer)
    for name, array in of_three.tensors.items():
        if name not in CLASS_LAYERS:
            np.testing.assert_array_equal(state[name].numpy(), array, err_msg=name)


def test_official_weights_start_another_class_list(official: Weights, log: pytest.LogCaptureFixture) -> None:
    state = started(("balloon", "toothbrush", "person"), official)
    fresh = fresh_state(3)
    for layer in CLASS_LAYERS:
        theirs = torch.from_numpy(official.tensors[layer])
        assert torch.equal(state[layer], torch.stack([fresh[layer][0], theirs[79], theirs[0]])), layer
    for name in official.tensors.keys() - set(CLASS_LAYERS):
        assert torch.equal(state[name], torch.from_numpy(official.tensors[name])), name
    assert "2 of 3 classes start from the weights' 80 classes" in log.text


def test_detector_starts_everything_but_the_masks(shared: Path, log: pytest.LogCaptureFixture) -> None:
    detector = load_weights(shared / "weights/yolov8n.pt")
    state = started(COCO80, detector)
    fresh = fresh_state(80)
    masks = {name for name in without_counters(state) if name.startswith(MASK_BRANCHES)}
    assert masks == set(without_counters(state)) - detector.tensors.keys()
    assert len(masks) > 30
    for name in without_counters(state):
        expected = fresh[name] if name in masks else torch.from_numpy(detector.tensors[name])
        assert torch.equal(state[name], expected), name
    assert "mask coefficients and prototypes start fresh" in log.text


@pytest.mark.parametrize("names", [("cat", "dog"), ("dog", "bird")], ids=["same-names", "other-names"])
def test_narrower_class_branch_starts_fresh_with_a_warning(
    names: tuple[str, ...], log: pytest.LogCaptureFixture
) -> None:
    # The published head of two classes has 64 hidden channels at scale n; ours keeps 80 for every class count.
    foreign = weights_with(replace(network_config("n", 2), cls_hidden=64), ("cat", "dog"))
    state = started(names, foreign)
    fresh = fresh_state(2)
    for name in without_counters(state):
        expected = fresh[name] if name.startswith("head.cls.") else torch.from_numpy(foreign.tensors[name])
        assert torch.equal(state[name], expected), name
    (warning,) = [record for record in log.records if record.levelno == logging.WARNING]
    assert "64 channels wide, this network's 80" in warning.getMessage()


@pytest.mark.parametrize(
    ("found", "message", "hint"),
    [
        ("s", "weights of scale 's' cannot start a training of scale 'n'", "--set model.scale=s"),
        ("", "weights of no published scale", "give weights of scale 'n'"),
    ],
    ids=["other", "none"],
)
def test_weights_of_another_scale_are_refused(of_three: Weights, found: str, message: str, hint: str) -> None:
    weights = replace(of_three, metadata=replace(of_three.metadata, scale=found))
    with pytest.raises(UsageError, match=message) as caught:
        start_network("n", NAMES, SIZE, weights)
    assert caught.value.hint.startswith(hint)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"box_hidden": 32}, "box_hidden 32, expected 64"),
        ({"outer_repeats": 2, "proto_hidden": 32}, "outer_repeats 2, expected 1; proto_hidden 32, expected 64"),
    ],
    ids=["narrower", "deeper"],
)
def test_weights_of_other_sizes_are_refused(changes: dict[str, int], message: str) -> None:
    weights = weights_with(replace(network_config("n", 3), **changes), NAMES)  # type: ignore[arg-type]
    with pytest.raises(UsageError) as caught:
        start_network("n", NAMES, SIZE, weights)
    assert caught.value.message.endswith(message)


@pytest.mark.parametrize(
    ("count", "frozen"),
    [
        (0, ()),
        (1, ("backbone.stem.",)),
        (10, tuple(f"backbone.{name}." for name in BACKBONE)),
        # 10 and 11 of the published numbering have no parameters: upsampling and concatenation.
        (12, tuple(f"backbone.{name}." for name in BACKBONE)),
        (13, (*(f"backbone.{name}." for name in BACKBONE), "neck.fine4.")),
        (22, ("backbone.", "neck.")),
    ],
    ids=str,
)
def test_freeze_takes_exactly_the_leading_modules_out(count: int, frozen: tuple[str, ...]) -> None:
    network = tiny()
    freeze(network, count)
    assert {name for name, parameter in network.named_parameters() if not parameter.requires_grad} == {
        name for name, _ in network.named_parameters() if name.startswith(frozen)
    }


@pytest.mark.parametrize(
    ("count", "still"), [(0, ()), (10, ("backbone.",)), (22, ("backbone.", "neck."))], ids=["none", "10", "22"]
)
def test_running_statistics_of_frozen_modules_do_not_move(count: int, still: tuple[str, ...]) -> None:
    network = tiny().eval()
    freeze(network, count)
    train_mode(network, count)
    before = {name: tensor.clone() for name, tensor in network.named_buffers()}
    network(torch.rand(2, 3, 64, 64))
    for name, tensor in network.named_buffers():
        assert torch.equal(tensor, before[name]) == name.startswith(still or "-"), name
