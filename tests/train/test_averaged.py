"""The moving average by hand, and against torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from edgeseg.model.config import NetworkConfig
from edgeseg.model.network import SegmentationNetwork
from edgeseg.train.averaged import Averaged
from edgeseg.train.start import freeze
from edgeseg.train.sync_norm import synchronised

CONFIG = NetworkConfig((8, 8, 16, 16, 16), 1, 1, 16, 16, 16, 16, 3)
HALVING = 1 / math.log(2)
"""A tau at which the ramp is 1/2, 3/4, 7/8."""


@pytest.fixture
def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork(CONFIG)


@torch.no_grad()
def fill(network: nn.Module, value: float) -> None:
    """Every parameter and statistic becomes `value`."""
    for tensor in network.state_dict().values():
        tensor.fill_(value)


@torch.no_grad()
def wander(network: nn.Module) -> None:
    """Every parameter and statistic changes as training might change it."""
    for tensor in network.state_dict().values():
        tensor.add_(torch.randn_like(tensor) if tensor.is_floating_point() else 1)


def test_decay_is_ramped_up(network: SegmentationNetwork) -> None:
    fill(network, 0)
    averaged = Averaged(network, decay=0.8, tau=HALVING)
    # Decays of 0.8 x 1/2, 3/4, 7/8: 0.6 x 1; 0.6 x 0.6 + 0.4 x 2; 0.7 x 1.16 + 0.3 x 3.
    for value, expected in ((1.0, 0.6), (2.0, 1.16), (3.0, 1.712)):
        fill(network, value)
        averaged.follow(network)
        for name, tensor in averaged.network.state_dict().items():
            # Counters have no average: they are the network's own.
            wanted = value if name.endswith("num_batches_tracked") else expected
            torch.testing.assert_close(tensor, torch.full_like(tensor, wanted))


def test_first_move_forgets_nearly_all_of_the_start_by_the_recipe(network: SegmentationNetwork) -> None:
    fill(network, 1)
    averaged = Averaged(network, decay=0.9999, tau=2000.0)
    fill(network, 0)
    averaged.follow(network)
    expected = 0.9999 * (1 - math.exp(-1 / 2000))
    assert expected == pytest.approx(4.998e-4, rel=1e-3)
    assert float(averaged.network.head.box[0][2].bias[0]) == pytest.approx(expected, rel=1e-4)  # type: ignore[index]


def test_average_equals_torchs_with_the_same_decays(network: SegmentationNetwork) -> None:
    ours = Averaged(network, decay=0.9, tau=3.0)

    def average(old: Tensor, new: Tensor, moves: Tensor | int) -> Tensor:
        if not old.is_floating_point():
            return new
        decay = 0.9 * (1 - math.exp(-int(moves) / 3.0))
        return decay * old + (1 - decay) * new

    theirs = AveragedModel(network, avg_fn=average, use_buffers=True)
    # Theirs copies the first time, since it may start from nothing; ours starts from the weights.
    theirs.n_averaged.fill_(1)
    for _ in range(6):
        wander(network)
        ours.follow(network)
        theirs.update_parameters(network)

    expected = theirs.module.state_dict()
    assert ours.moves == 6
    for name, tensor in ours.network.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6, msg=name)


def test_average_is_a_copy_in_evaluation_without_gradients(network: SegmentationNetwork) -> None:
    averaged = Averaged(network.train(), decay=0.9, tau=3.0)
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    wander(network)

    for name, tensor in averaged.network.state_dict().items():
        torch.testing.assert_close(tensor, start[name], rtol=0, atol=0, msg=name)
    assert network.training
    assert not any(module.training for module in averaged.network.modules())
    assert not any(parameter.requires_grad for parameter in averaged.network.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_following_does_not_change_the_network(network: SegmentationNetwork) -> None:
    averaged = Averaged(network, decay=0.9, tau=3.0)
    wander(network)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    averaged.follow(network)
    wander(averaged.network)

    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0, msg=name)


def test_frozen_parts_stay_to_the_bit(network: SegmentationNetwork) -> None:
    freeze(network, 22)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    averaged = Averaged(network, decay=0.9999, tau=2000.0)
    for _ in range(20):
        wander(network.head)
        averaged.follow(network)

    for name, tensor in averaged.network.state_dict().items():
        if not name.startswith("head."):
            torch.testing.assert_close(tensor, before[name], rtol=0, atol=0, msg=name)


def test_average_follows_a_network_of_another_memory_order_and_synchronised(network: SegmentationNetwork) -> None:
    averaged = Averaged(network.to(memory_format=torch.channels_last), decay=0.0, tau=1.0)  # type: ignore[call-overload]
    changed = synchronised(network)
    wander(changed)
    averaged.follow(changed)

    for name, tensor in averaged.network.state_dict().items():
        torch.testing.assert_close(tensor, changed.state_dict()[name], rtol=0, atol=0, msg=name)
