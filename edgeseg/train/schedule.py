"""Learning rate, momentum and accumulation as functions of the step: the recipe of facts.md, section 3."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeseg.card.train import Train


@dataclass(frozen=True)
class Rates:
    """What the optimizer uses at one step.

    Attributes:
        weights: learning rate of weights.
        biases: learning rate of biases and of the normalisations.
        momentum: SGD's momentum, Adam's beta 1.
        accumulate: batches whose gradients are summed before the optimizer moves.
    """

    weights: float
    biases: float
    momentum: float
    accumulate: int


@dataclass(frozen=True)
class Schedule:
    """The recipe's curves over one training.

    Attributes:
        settings: the card's section, "auto" already decided.
        batch: pictures of one step, over all processes.
        steps_per_epoch: batches of one epoch.
        warmup_bias_lr: where the rate of biases starts.
    """

    settings: Train
    batch: int
    steps_per_epoch: int
    warmup_bias_lr: float

    @property
    def warmup_steps(self) -> int:
        """Steps of rising learning rate; none where the card asks for no epochs of it."""
        asked = round(self.settings.warmup_epochs * self.steps_per_epoch)
        return max(asked, self.settings.warmup_steps) if self.settings.warmup_epochs else 0

    @property
    def accumulate(self) -> int:
        """Batches that make up the nominal batch."""
        return max(1, round(self.settings.nominal_batch / self.batch))

    @property
    def weight_decay(self) -> float:
        """The recipe's, scaled by the pictures of one move of the optimizer over the nominal batch."""
        return self.settings.weight_decay * self.batch * self.accumulate / self.settings.nominal_batch

    def decay(self, epoch: float) -> float:
        """Factor on lr0 after `epoch` epochs, part of one is fine: 1 at the start, `lrf` at the end."""
        done = min(epoch / self.settings.epochs, 1.0)
        share = (1 + math.cos(math.pi * done)) / 2 if self.settings.cosine else 1 - done
        return self.settings.lrf + (1 - self.settings.lrf) * share

    def at(self, step: int) -> Rates:
        """The rates of a step, counted from 0 over the whole training."""
        settings = self.settings
        rate = settings.lr0 * self.decay(step / self.steps_per_epoch)
        risen = min(step / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        return Rates(
            weights=rate * risen,
            biases=self.warmup_bias_lr + (rate - self.warmup_bias_lr) * risen,
            momentum=settings.warmup_momentum + (settings.momentum - settings.warmup_momentum) * risen,
            accumulate=max(1, round(1 + (self.accumulate - 1) * risen)),
        )
