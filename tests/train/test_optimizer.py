"""What "auto" means, which parameters decay, and single steps computed by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn, optim

from edgeseg.card.train import Train
from edgeseg.model.config import NetworkConfig
from edgeseg.model.network import SegmentationNetwork
from edgeseg.train.optimizer import decided, make_optimizer, set_rates, warmup_bias_lr
from edgeseg.train.schedule import Rates
from edgeseg.train.start import freeze

CONFIG = NetworkConfig((8, 8, 16, 16, 16), 1, 1, 16, 16, 16, 16, 3)
BOTH = pytest.mark.parametrize("name", ["sgd", "adamw"])


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    return SegmentationNetwork(CONFIG)


def settings(name: str, **changes: Any) -> Train:
    return Train.model_validate({"optimizer": name, **changes})


@pytest.mark.parametrize(("classes", "rate"), [(1, 0.002), (6, 0.001), (80, 0.01 / 84), (6000, 0.01 / 6004)])
def test_auto_is_adamw_for_a_short_training_at_a_rate_by_the_number_of_classes(classes: int, rate: float) -> None:
    found = decided(Train(lr0=0.5, momentum=0.5, epochs=7, weight_decay=0.25), classes, steps=9999)

    assert (found.optimizer, found.momentum) == ("adamw", 0.9)
    assert found.lr0 == pytest.approx(rate, rel=1e-12)
    assert (found.epochs, found.weight_decay) == (7, 0.25)


@pytest.mark.parametrize("steps", [10_000, 1_000_000])
def test_auto_is_sgd_with_the_cards_numbers_for_a_long_training(steps: int) -> None:
    assert decided(Train(), 80, steps) == settings("sgd", lr0=0.01, momentum=0.937)
    assert decided(Train(lr0=0.02), 80, steps).lr0 == 0.02


@BOTH
@pytest.mark.parametrize("steps", [1, 1_000_000])
def test_an_asked_optimizer_keeps_its_numbers(name: str, steps: int) -> None:
    asked = settings(name, lr0=0.3, momentum=0.4)
    assert decided(asked, 80, steps) == asked


def test_biases_start_high_for_sgd_only() -> None:
    assert warmup_bias_lr(settings("sgd", warmup_bias_lr=0.2)) == 0.2
    assert warmup_bias_lr(settings("adamw", warmup_bias_lr=0.2)) == 0.0


@BOTH
def test_weights_of_convolutions_decay_and_nothing_else(network: SegmentationNetwork, name: str) -> None:
    weights, rest = make_optimizer(network, settings(name), 0.25).param_groups

    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert {id(p) for p in weights["params"]} == {id(m.weight) for m in convolutions}
    assert {id(p) for p in weights["params"] + rest["params"]} == {id(p) for p in network.parameters()}
    assert len(weights["params"]) + len(rest["params"]) == len(list(network.parameters()))
    assert (weights["weight_decay"], rest["weight_decay"]) == (0.25, 0.0)


@BOTH
def test_decay_shrinks_weights_by_rate_times_decay(name: str) -> None:
    layer = nn.Conv2d(2, 2, 1)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    optimizer = make_optimizer(layer, settings(name), 0.5)
    set_rates(optimizer, Rates(0.1, 0.1, 0.0, 1))
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()

    # With no gradient SGD's decay is lr x decay x weight, as AdamW's is.
    torch.testing.assert_close(layer.weight.detach(), before["weight"] * (1 - 0.1 * 0.5))
    assert layer.bias is not None
    torch.testing.assert_close(layer.bias.detach(), before["bias"], rtol=0, atol=0)


@BOTH
def test_frozen_parameters_are_not_in_the_optimizer(name: str) -> None:
    frozen = SegmentationNetwork(CONFIG)
    freeze(frozen, 22)
    groups = make_optimizer(frozen, settings(name), 0.25).param_groups

    assert {id(p) for group in groups for p in group["params"]} == {id(p) for p in frozen.head.parameters()}


@BOTH
def test_nothing_moves_before_the_rates_are_set(name: str) -> None:
    layer = nn.Conv2d(2, 2, 1)
    before = layer.weight.detach().clone()
    optimizer = make_optimizer(layer, settings(name), 0.5)
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()

    torch.testing.assert_close(layer.weight.detach(), before, rtol=0, atol=0)


def test_rates_go_to_their_groups(network: SegmentationNetwork) -> None:
    rates = Rates(weights=0.01, biases=0.1, momentum=0.8, accumulate=4)
    sgd, adamw = (make_optimizer(network, settings(name), 0.25) for name in ("sgd", "adamw"))
    for optimizer in (sgd, adamw):
        set_rates(optimizer, rates)
        assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.1]

    assert [(group["momentum"], group["nesterov"]) for group in sgd.param_groups] == [(0.8, True)] * 2
    assert [group["betas"] for group in adamw.param_groups] == [(0.8, 0.999)] * 2


def one_weight(name: str, **changes: Any) -> Callable[[Rates], float]:
    """Moves a weight, which is 1 at first, along a gradient of 1; tells where it is then."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    optimizer = make_optimizer(layer, settings(name, **changes), 0.0)

    def move(rates: Rates) -> float:
        layer.weight.grad = torch.ones(1, 1)
        set_rates(optimizer, rates)
        optimizer.step()
        return float(layer.weight.item())

    return move


def test_sgd_moves_with_nesterovs_momentum() -> None:
    move = one_weight("sgd")
    # Velocity 1, then 0.5 x 1 + 1; the step is rate x (gradient + momentum x velocity).
    assert move(Rates(0.1, 0.0, 0.9, 1)) == pytest.approx(1 - 0.1 * (1 + 0.9 * 1))
    assert move(Rates(0.2, 0.0, 0.5, 1)) == pytest.approx(0.81 - 0.2 * (1 + 0.5 * 1.5))


def test_sgd_without_momentum_is_plain_descent_also_after_a_warmup_with_it() -> None:
    move = one_weight("sgd", momentum=0.0)
    assert move(Rates(0.1, 0.0, 0.8, 1)) == pytest.approx(1 - 0.1 * 1.8)
    assert move(Rates(0.1, 0.0, 0.0, 1)) == pytest.approx(0.82 - 0.1)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_adamw_moves_by_its_rate_on_a_constant_gradient(momentum: float) -> None:
    move = one_weight("adamw", momentum=momentum)
    assert [move(Rates(0.1, 0.0, momentum, 1)) for _ in range(3)] == pytest.approx([0.9, 0.8, 0.7], abs=1e-6)


@BOTH
def test_a_restored_optimizer_moves_as_the_saved_one(name: str) -> None:
    layer = nn.Linear(2, 2, bias=False)
    optimizer = make_optimizer(layer, settings(name), 0.25)

    def move(layer: nn.Linear, optimizer: optim.Optimizer, gradient: float) -> None:
        layer.weight.grad = torch.full((2, 2), gradient)
        set_rates(optimizer, Rates(0.1, 0.0, 0.9, 1))
        optimizer.step()

    move(layer, optimizer, 1.0)
    restored = nn.Linear(2, 2, bias=False)
    restored.load_state_dict(layer.state_dict())
    other = make_optimizer(restored, settings(name), 0.25)
    # A copy, as a file would be: torch shares the tensors of a state that it loads.
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for gradient in (2.0, -3.0):
        move(layer, optimizer, gradient)
        move(restored, other, gradient)

    torch.testing.assert_close(restored.weight, layer.weight, rtol=0, atol=0)
