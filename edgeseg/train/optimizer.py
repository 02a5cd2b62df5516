"""The optimizer: which parameters decay, and what "auto" means."""

from __future__ import annotations

from typing import Any

from torch import nn, optim

from edgeseg.card.train import Train
from edgeseg.train.schedule import Rates

AUTO_ITERATIONS = 10_000
"""Below this many steps "auto" takes AdamW (facts.md, section 3)."""


def decided(settings: Train, num_classes: int, steps: int) -> Train:
    """The settings with "auto" replaced by what it stands for.

    Args:
        settings: as in the card.
        num_classes: of the head; AdamW's rate falls with it.
        steps: batches of the whole training.
    """
    if settings.optimizer != "auto":
        return settings
    if steps >= AUTO_ITERATIONS:
        return settings.model_copy(update={"optimizer": "sgd"})
    rate = 0.002 * 5 / (4 + num_classes)
    return settings.model_copy(update={"optimizer": "adamw", "lr0": rate, "momentum": 0.9})


def warmup_bias_lr(settings: Train) -> float:
    """Where the biases' learning rate starts: the card's for SGD, 0 for AdamW.

    AdamW moves every parameter by about its learning rate at each step, so that 0.1 would wreck a trained head.
    """
    return settings.warmup_bias_lr if settings.optimizer == "sgd" else 0.0


def make_optimizer(network: nn.Module, settings: Train, weight_decay: float) -> optim.Optimizer:
    """Two groups, both at rate 0 until `set_rates`: weights with decay; biases and normalisations without.

    Args:
        network: its trained parameters, those that need a gradient.
        settings: with "auto" decided.
        weight_decay: scaled (`Schedule.weight_decay`).
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    # A bias or a normalisation's scale has one axis; decay would pull it to 0 for nothing.
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # One call for all parameters: hundreds of small ones would take longer than the arithmetic.
    if settings.optimizer == "sgd":
        return optim.SGD(groups, lr=0.0, momentum=settings.momentum, fused=True)
    return optim.AdamW(groups, lr=0.0, betas=(settings.momentum, 0.999), fused=True)


def set_rates(optimizer: optim.Optimizer, rates: Rates) -> None:
    """Bring an optimizer to the rates of a step."""
    for group, rate in zip(optimizer.param_groups, (rates.weights, rates.biases), strict=True):
        group["lr"] = rate
        if "betas" in group:
            group["betas"] = (rates.momentum, group["betas"][1])
        else:
            group["momentum"] = rates.momentum
            # torch refuses nesterov without momentum.
            group["nesterov"] = rates.momentum > 0
