"""A training as TensorBoard's event files: losses, AP, learning rate and speed by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.errors import needs_extra
from edgeseg.files import make_folder
from edgeseg.report.words import fact_rows
from edgeseg.train.callbacks import Callback, End, Epoch, Run

if TYPE_CHECKING:
    from edgeseg.validate import Metrics


class TensorBoardLog(Callback):
    """Writes event files for ``tensorboard --logdir FOLDER``; the step of every number is its epoch.

    Args:
        folder: of the event files.

    Raises:
        EnvironmentMissingError: the package `tensorboard` is not installed.
    """

    def __init__(self, folder: Path) -> None:
        if find_spec("tensorboard") is None:
            raise needs_extra("tensorboard", "tensorboard", "a TensorBoard log")
        self._folder = folder
        self._writer: Any = None

    def on_start(self, run: Run, before: Sequence[Epoch]) -> None:
        """Open a new event file and note the settings.

        TensorBoard hides what older files of the folder hold from the first epoch on: an epoch that a resumed run
        does once more is shown once.
        """
        from torch.utils.tensorboard import SummaryWriter

        writer: Any = SummaryWriter
        self._writer = writer(str(make_folder(self._folder)), purge_step=run.first_epoch)
        rows = "\n".join(f"| {name} | {value} |" for name, value in fact_rows(run.settings))
        self._writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}")

    def on_epoch(self, epoch: Epoch, metrics: Metrics | None) -> None:
        """Write the epoch's numbers; they are on disk when this returns."""
        numbers = {f"loss/{part}": loss for part, loss in epoch.losses.items()}
        numbers |= {f"validation/{name}": score for name, score in epoch.scores.items()}
        numbers |= {
            "training/learning_rate": epoch.learning_rate,
            "training/images_per_second": epoch.images_per_second,
            "training/seconds": epoch.seconds,
            "training/val_seconds": epoch.val_seconds,
            "training/memory_mb": epoch.memory_mb,
        }
        for tag, value in numbers.items():
            self._writer.add_scalar(tag, value, epoch.epoch)
        self._writer.flush()

    def on_end(self, end: End) -> None:
        """Close the event file."""
        self._writer.close()
