"""A training as one HTML page that needs nothing else, written again after every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgeseg
from edgeseg.files import write_atomically
from edgeseg.metrics.confusion import SCORE
from edgeseg.report.train_curves import loss_plots, pace_plots, score_plot
from edgeseg.report.train_labels import label_statistics
from edgeseg.report.train_pictures import Album
from edgeseg.report.words import State, counted, fact_rows
from edgeseg.train.callbacks import LOSSES, Callback, End, Epoch, Run

if TYPE_CHECKING:
    from edgeseg.train.batch import Batch
    from edgeseg.validate import Metrics

FIRST_STEPS = 3
"""Batches of the first epoch that are drawn."""

PICTURES = "train_pictures"
"""Folder of the drawn pictures, beside the page."""

REFRESH_S = 30
"""A page of a running training loads itself again after this many seconds."""

CLASSES_OPEN = 24
"""Further classes are folded away."""

ABSENT = "–"

ENDS: dict[str, tuple[State, str]] = {
    "finished": ("passed", "finished"),
    "early_stop": ("passed", "stopped early"),
    "failed": ("failed", "failed"),
}
"""State and words of each `End.reason`."""


@dataclass(frozen=True)
class Training:
    """What the page shows.

    Attributes:
        run: what is trained.
        epochs: all that are over, those before a resume too.
        labels: `label_statistics` of the training set.
        pictures: `Album.embedded`.
        end: how it ended; None while it runs.
    """

    run: Run
    epochs: Sequence[Epoch]
    labels: dict[str, Any]
    pictures: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"batches": [], "validation": []})
    end: End | None = None


class TrainPage(Callback):
    """Keeps a page of the training: settings, curves, labels, first batches and what the best weights find.

    The pictures are kept beside the page, in `train_pictures/`, so that a resumed training shows all of it.

    Args:
        path: of the page; its folder is made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._album = Album(path.parent / PICTURES)
        self._training: Training | None = None

    def on_start(self, run: Run, before: Sequence[Epoch]) -> None:
        """Write the page with the settings, the labels and the epochs before.

        Raises:
            EnvironmentMissingError: jinja2 is not installed.
            OutputError: the page cannot be written.
        """
        self._album.open(validated=bool(before))
        height, width = run.settings["image_size"]
        self._write(Training(run, list(before), label_statistics(run.train_set, (height, width))))

    def on_batch(self, epoch: int, step: int, batch: Batch) -> None:
        """Draw the first batches."""
        if epoch == 1 and step <= FIRST_STEPS:
            training = self._started()
            self._album.keep_batch(step, batch, training.run.names)
            self._write(training)

    def on_epoch(self, epoch: Epoch, metrics: Metrics | None) -> None:
        """Add the epoch; draw validation pictures where it is the best so far."""
        training = self._started()
        if epoch.best and metrics is not None and training.run.val_set is not None:
            self._album.keep_validation(epoch.epoch, metrics, training.run.val_set)
        self._write(Training(training.run, [*training.epochs, epoch], training.labels))

    def on_end(self, end: End) -> None:
        """Write the page a last time: with how it ended, and without loading itself again."""
        training = self._started()
        self._write(Training(training.run, training.epochs, training.labels, end=end))

    def _started(self) -> Training:
        if self._training is None:
            raise RuntimeError("TrainPage: on_start comes first")
        return self._training

    def _write(self, training: Training) -> None:
        self._training = training
        shown = Training(training.run, training.epochs, training.labels, self._album.embedded(), training.end)
        write_train_page(self._path, shown)


def write_train_page(path: Path, training: Training) -> None:
    """Write the page, whole or not at all.

    Raises:
        EnvironmentMissingError: jinja2 is not installed.
        OutputError: it cannot be written.
    """
    # A file name of a Linux disk may hold bytes that are no text: they show as question marks.
    write_atomically(path, render_train(training).encode(errors="replace"))


def render_train(training: Training) -> str:
    """The page of a training.

    Raises:
        EnvironmentMissingError: jinja2 is not installed.
    """
    from edgeseg.report.template import render_page

    run, epochs = training.run, training.epochs
    best = next((epoch for epoch in reversed(epochs) if epoch.best and epoch.scores), None)
    return render_page(
        "train.html",
        name=run.name,
        folder=run.folder,
        run=run,
        state=_state(training),
        refresh_s=None if training.end else REFRESH_S,
        best=best,
        headline=_headline(best),
        validated_on=counted(len(run.val_set or ()), "validation picture"),
        scores=score_plot(epochs),
        summary=_summary(epochs, best),
        losses=loss_plots(epochs),
        pace=pace_plots(epochs),
        pace_facts=_pace_facts(epochs),
        loss_names=LOSSES,
        rows=[_row(epoch) for epoch in epochs],
        labels=training.labels,
        classes_open=CLASSES_OPEN,
        pictures=training.pictures,
        score=SCORE,
        settings=list(fact_rows(run.settings)),
        end=training.end,
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC"),
        version=edgeseg.__version__,
    )


def _state(training: Training) -> dict[str, str]:
    done = f"{len(training.epochs)} of {training.run.epochs} epochs"
    if training.end is None:
        return {"state": "open", "text": f"running, {done}"}
    state, words = ENDS[training.end.reason]
    return {"state": state, "text": f"{words}, {done}"}


def _headline(best: Epoch | None) -> str:
    if best is None:
        return ""
    return f"mask AP {_share(best.scores['mask_ap'])}, box AP {_share(best.scores['box_ap'])} at epoch {best.epoch}"


def _summary(epochs: Sequence[Epoch], best: Epoch | None) -> list[dict[str, Any]]:
    """The best and the last validated epoch, once where they are one."""
    last = next((epoch for epoch in reversed(epochs) if epoch.scores), None)
    named = [("best", best), ("last", last if last is not best else None)]
    return [{**_row(epoch), "name": f"{name}, epoch {epoch.epoch}"} for name, epoch in named if epoch is not None]


def _row(epoch: Epoch) -> dict[str, Any]:
    return {
        "epoch": epoch.epoch,
        "best": epoch.best,
        "losses": [f"{epoch.losses[part]:.4f}" for part in LOSSES],
        "scores": [
            _share(epoch.scores[name]) if epoch.scores else ABSENT
            for name in ("box_ap", "box_ap50", "mask_ap", "mask_ap50")
        ],
        "learning_rate": f"{epoch.learning_rate:.3g}",
        "images_per_second": f"{epoch.images_per_second:.1f}",
    }


def _share(value: float) -> str:
    """Four decimals, as the terminal rounds."""
    return f"{value:.4f}"


def _pace_facts(epochs: Sequence[Epoch]) -> list[tuple[str, str]]:
    """Means over all epochs, the slow first one too."""
    if not epochs:
        return []
    count = len(epochs)
    validated = [epoch.val_seconds for epoch in epochs if epoch.scores]
    rows = [("an epoch's steps, mean", f"{sum(epoch.seconds for epoch in epochs) / count:.1f} s")]
    if validated:
        rows.append(("a validation, mean", f"{sum(validated) / len(validated):.1f} s"))
    total = sum(epoch.seconds + epoch.val_seconds for epoch in epochs)
    peak = f"{max(epoch.memory_mb for epoch in epochs):.0f} MB"
    return [*rows, ("all epochs", f"{total:.0f} s"), ("peak memory", peak)]
