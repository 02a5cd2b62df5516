"""Rates computed by hand, and torch's own schedulers on the same curves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from edgeseg.card.train import Train
from edgeseg.train.schedule import Rates, Schedule

EPOCHS, STEPS = 10, 10
RECIPE: dict[str, Any] = {
    "epochs": EPOCHS,
    "lr0": 0.1,
    "lrf": 0.1,
    "momentum": 0.9,
    "warmup_epochs": 2.0,
    "warmup_steps": 0,
    "warmup_momentum": 0.5,
}
NO_WARMUP: dict[str, Any] = {"warmup_epochs": 0.0}


def schedule(batch: int = 16, steps_per_epoch: int = STEPS, bias_lr: float = 0.2, **changes: Any) -> Schedule:
    """20 steps of warm-up in 100; four batches make up the nominal one."""
    return Schedule(Train(**{**RECIPE, **changes}), batch, steps_per_epoch, bias_lr)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        pytest.param(0, Rates(0.0, 0.2, 0.5, 1), id="start"),
        # 1 of 10 epochs: 0.1 x (1 - 0.9 / 10) = 0.091; half of the warm-up, 1 + 3 / 2 rounds to the even 2.
        pytest.param(10, Rates(0.0455, 0.1455, 0.7, 2), id="middle"),
        pytest.param(19, Rates(0.1 * 0.829 * 0.95, 0.2 + (0.0829 - 0.2) * 0.95, 0.88, 4), id="last-of-warmup"),
        pytest.param(20, Rates(0.082, 0.082, 0.9, 4), id="end-of-warmup"),
        pytest.param(60, Rates(0.046, 0.046, 0.9, 4), id="after"),
        pytest.param(99, Rates(0.0109, 0.0109, 0.9, 4), id="last-step"),
        pytest.param(100, Rates(0.01, 0.01, 0.9, 4), id="end"),
    ],
)
def test_rates_follow_the_recipe(step: int, expected: Rates) -> None:
    found = schedule().at(step)

    assert (found.weights, found.biases) == pytest.approx((expected.weights, expected.biases), rel=1e-12)
    assert found.momentum == pytest.approx(expected.momentum, rel=1e-12)
    assert found.accumulate == expected.accumulate


def test_biases_rise_where_their_warmup_starts_at_zero() -> None:
    assert [schedule(bias_lr=0.0).at(step).biases for step in (0, 10)] == pytest.approx([0.0, 0.0455])


@pytest.mark.parametrize("cosine", [False, True], ids=["linear", "cosine"])
def test_learning_rate_equals_torchs_scheduler_on_the_same_curve(cosine: bool) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs: lr_scheduler.LRScheduler
    if cosine:
        theirs = lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS * STEPS, eta_min=0.1 * 0.1)
    else:
        theirs = lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.1, total_iters=EPOCHS * STEPS)
    ours = schedule(cosine=cosine, **NO_WARMUP)
    for step in range(EPOCHS * STEPS + 1):
        assert ours.at(step).weights == pytest.approx(theirs.get_last_lr()[0], rel=1e-6)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("cosine", [False, True], ids=["linear", "cosine"])
def test_decay_goes_from_one_to_lrf_and_stays_there(cosine: bool) -> None:
    ours = schedule(cosine=cosine)
    assert [ours.decay(epoch) for epoch in (0, 5, 10, 11)] == pytest.approx([1.0, 0.55, 0.1, 0.1])


@pytest.mark.parametrize(
    ("epochs", "least", "steps_per_epoch", "expected"),
    [
        pytest.param(3.0, 100, 1000, 3000, id="epochs"),
        pytest.param(3.0, 100, 10, 100, id="least"),
        pytest.param(0.5, 0, 10, 5, id="part-of-an-epoch"),
        pytest.param(0.1, 100, 4, 100, id="less-than-half-a-step"),
        pytest.param(0.1, 0, 4, 0, id="less-than-half-a-step-and-no-least"),
        pytest.param(0.0, 100, 10, 0, id="none"),
    ],
)
def test_warmup_lasts_the_asked_epochs_but_not_less_than_the_asked_steps(
    epochs: float, least: int, steps_per_epoch: int, expected: int
) -> None:
    ours = schedule(steps_per_epoch=steps_per_epoch, warmup_epochs=epochs, warmup_steps=least)
    assert ours.warmup_steps == expected


def test_first_step_has_full_rates_without_warmup() -> None:
    assert schedule(**NO_WARMUP).at(0) == Rates(0.1, 0.1, 0.9, 4)


@pytest.mark.parametrize(
    ("batch", "accumulate", "weight_decay"),
    [(1, 64, 5e-4), (16, 4, 5e-4), (40, 2, 6.25e-4), (48, 1, 3.75e-4), (64, 1, 5e-4), (128, 1, 1e-3)],
)
def test_batches_add_up_to_the_nominal_one_and_decay_follows_what_they_add_up_to(
    batch: int, accumulate: int, weight_decay: float
) -> None:
    ours = schedule(batch)
    assert ours.accumulate == accumulate
    assert ours.weight_decay == pytest.approx(weight_decay, rel=1e-12)


def test_accumulation_rises_over_the_warmup() -> None:
    # 1 + 3 x step / 6, halves to the even number.
    ours = schedule(steps_per_epoch=3)
    assert [ours.at(step).accumulate for step in range(8)] == [1, 2, 2, 2, 3, 4, 4, 4]


def test_rates_of_a_step_are_the_same_after_a_resume() -> None:
    undisturbed = [schedule().at(step) for step in range(100)]
    resumed = schedule()
    assert [resumed.at(step) for step in range(37, 100)] == undisturbed[37:]
