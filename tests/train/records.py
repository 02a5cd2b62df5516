"""Records of a training made by hand, for everything that listens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeseg.data.dataset import Dataset
from edgeseg.train.callbacks import Epoch, Run, Step

SETTINGS: dict[str, Any] = {
    "batch": 8,
    "image_size": [64, 96],
    "optimizer": "adamw",
    "lr0": 0.001190476,
    "device": "cpu",
    "precision": "fp32",
    "processes": 1,
    "seed": 0,
    "gains": {"box": 7.5},
}

SCORES = {"box_ap": 0.4123, "box_ap50": 0.6, "mask_ap": 0.3456, "mask_ap50": 0.55}


def epoch(number: int, **changes: Any) -> Epoch:
    """An epoch without validation; every loss and its time tell its number."""
    losses = {"box": number + 0.125, "cls": number + 0.25, "dfl": number + 0.5, "mask": number + 0.75}
    plain = Epoch(number, losses, 0.001 / number, 10.0 + number, 2.0, 33.3 + number, 1000.0 + number)
    return replace(plain, **changes)


def validated(number: int, *, best: bool = False, **scores: float) -> Epoch:
    """An epoch with scores."""
    return epoch(number, scores={**SCORES, **scores}, best=best)


def step(epoch_number: int, number: int) -> Step:
    """A step of 8 pictures."""
    losses = {"box": 1.234, "cls": 0.876, "dfl": 1.1, "mask": 2.345}
    return Step(epoch_number, number, losses, 0.001, 8, 20, (64, 96))


def run_of(folder: Path, dataset: Dataset, **changes: Any) -> Run:
    """A run of 4 epochs of 10 steps."""
    return replace(
        Run("example", folder, SETTINGS, dataset.names, dataset, dataset, epochs=4, steps_per_epoch=10), **changes
    )
