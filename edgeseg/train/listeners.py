"""The callbacks of every training: progress, CSV, page, and TensorBoard where asked."""

from __future__ import annotations

from pathlib import Path

from edgeseg.report.train_page import TrainPage
from edgeseg.train.callbacks import Callback
from edgeseg.train.csv_log import CsvLog
from edgeseg.train.progress import Progress


def standard_callbacks(folder: Path, *, quiet: bool = False, tensorboard: bool = False) -> list[Callback]:
    """Who listens, for a training whose results go to `folder`.

    Args:
        folder: of the training.
        quiet: leave out the progress display.
        tensorboard: write events for it too.

    Raises:
        EnvironmentMissingError: TensorBoard is asked for and not installed.
    """
    found: list[Callback] = [CsvLog(folder / "train.csv"), TrainPage(folder / "train.html")]
    if not quiet:
        found.append(Progress())
    if tensorboard:
        from edgeseg.train.tensorboard_log import TensorBoardLog

        found.append(TensorBoardLog(folder / "tensorboard"))
    return found
