"""Who listens to a training: the progress display, the CSV, the page, TensorBoard, or a user's own logger.

A callback reads; it never changes the training. In a run of several processes only the first one calls them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeseg.data.dataset import Dataset
    from edgeseg.train.batch import Batch
    from edgeseg.validate import Metrics

LOSSES = ("box", "cls", "dfl", "mask")
"""Parts of the loss, in the order of every table."""


@dataclass(frozen=True)
class Run:
    """A training that starts or goes on.

    Attributes:
        name: of the card.
        folder: where its results go.
        settings: the `train` section with what "auto" became, and batch, image_size, device, precision, processes.
        names: class names by id.
        train_set: what is trained on.
        val_set: what is validated on; None where there is none.
        epochs: how many in all.
        steps_per_epoch: batches of one epoch.
        first_epoch: 1, or a later one after a resume.
    """

    name: str
    folder: Path
    settings: dict[str, Any]
    names: tuple[str, ...]
    train_set: Dataset
    val_set: Dataset | None
    epochs: int
    steps_per_epoch: int
    first_epoch: int = 1


@dataclass(frozen=True)
class Step:
    """One batch that was learned.

    Attributes:
        epoch: 1-based.
        step: 1-based, within the epoch.
        losses: part of `LOSSES` to its mean over the epoch so far, gains included.
        learning_rate: of the weights (not of the biases, which warm up from above).
        pictures: in this batch, over all processes.
        objects: in this batch, in this process.
        image_size: (height, width) px of this batch.
    """

    epoch: int
    step: int
    losses: dict[str, float]
    learning_rate: float
    pictures: int
    objects: int
    image_size: tuple[int, int]


@dataclass(frozen=True)
class Epoch:
    """One pass over the training set.

    Attributes:
        epoch: 1-based.
        losses: part of `LOSSES` to its mean, gains included.
        learning_rate: at its end.
        seconds: wall time of its steps.
        val_seconds: wall time of its validation.
        images_per_second: trained pictures over `seconds`.
        memory_mb: peak memory so far, of the GPU where one is used, else of this process.
        scores: ``box_ap``, ``box_ap50``, ``mask_ap``, ``mask_ap50`` of the averaged weights; empty where the epoch was
            not validated.
        best: whether these are the best weights so far.
    """

    epoch: int
    losses: dict[str, float]
    learning_rate: float
    seconds: float
    val_seconds: float
    images_per_second: float
    memory_mb: float
    scores: dict[str, float] = field(default_factory=dict)
    best: bool = False


def best_epoch(epochs: Sequence[Epoch]) -> Epoch | None:
    """The epoch whose weights are the best ones: the last that was the best so far; None where there is none."""
    return next((epoch for epoch in reversed(epochs) if epoch.best), None)


@dataclass(frozen=True)
class End:
    """A training that is over.

    Attributes:
        reason: ``finished``, ``early_stop`` or ``failed``.
        message: in words, such as why it stopped early.
        best: weights of the best epoch; None where none was finished.
        last: weights of the last epoch.
        epochs: all epochs, those before a resume too.
    """

    reason: str
    message: str
    best: Path | None
    last: Path | None
    epochs: Sequence[Epoch]


class Callback:
    """Base of all listeners: does nothing. Override what you need."""

    def on_start(self, run: Run, before: Sequence[Epoch]) -> None:
        """The training starts; `before` are the epochs of the run that is resumed."""

    def on_batch(self, epoch: int, step: int, batch: Batch) -> None:
        """A batch is about to be learned; 1-based numbers."""

    def on_step(self, step: Step) -> None:
        """A batch was learned."""

    def on_epoch(self, epoch: Epoch, metrics: Metrics | None) -> None:
        """An epoch is over, its checkpoint written; `metrics` are those of its validation."""

    def on_end(self, end: End) -> None:
        """The training is over."""
