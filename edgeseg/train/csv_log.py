"""A training as a table: one row per epoch, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.files import write_atomically
from edgeseg.train.callbacks import LOSSES, Callback, Epoch, Run

if TYPE_CHECKING:
    from edgeseg.validate import Metrics

SCORES = ("box_ap", "box_ap50", "mask_ap", "mask_ap50")
"""Columns of an epoch's scores; blank where it was not validated."""

PLAIN = ("learning_rate", "seconds", "val_seconds", "images_per_second", "memory_mb")
"""Columns that are fields of `Epoch` as they are."""

COLUMNS = ("epoch", *(f"{part}_loss" for part in LOSSES), *SCORES, *PLAIN, "best")


class CsvLog(Callback):
    """Writes one row per epoch.

    The whole file is written again after every epoch, atomically, so that it is never half a row and that an epoch
    which a resumed run does once more has one row.

    Args:
        path: the file; its folder is made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._epochs: list[Epoch] = []

    def on_start(self, run: Run, before: Sequence[Epoch]) -> None:
        """Write the rows of the run that is resumed, or the header alone."""
        self._epochs = list(before)
        self._write()

    def on_epoch(self, epoch: Epoch, metrics: Metrics | None) -> None:
        """Add a row."""
        self._epochs.append(epoch)
        self._write()

    def _write(self) -> None:
        write_atomically(self._path, csv_of(self._epochs).encode())


def csv_of(epochs: Iterable[Epoch]) -> str:
    """Epochs as CSV with a header; numbers in full, so that what is read back is what was measured."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(_row, epochs))
    return text.getvalue()


def _row(epoch: Epoch) -> dict[str, Any]:
    return {
        "epoch": epoch.epoch,
        **{f"{part}_loss": epoch.losses[part] for part in LOSSES},
        **{name: epoch.scores.get(name, "") for name in SCORES},
        **{name: getattr(epoch, name) for name in PLAIN},
        "best": int(epoch.best),
    }
