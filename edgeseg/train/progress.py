"""A training on the terminal: a line per epoch that stays, and below it a bar of the epoch and one of the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from edgeseg.train.callbacks import LOSSES, Callback, End, Epoch, Run, Step

if TYPE_CHECKING:
    from rich import progress
    from rich.console import Console

    from edgeseg.validate import Metrics

SETTINGS = ("batch", "image_size", "optimizer", "lr0", "device", "precision", "processes", "seed")
"""What the second line names; the page of the training has all."""


class Progress(Callback):
    """Shows a training on stderr: its settings, a line per epoch, and bars where stderr is a terminal.

    Args:
        console: where to; None for stderr.
        clock: seconds that only ever rise.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console

        self._console = console or Console(stderr=True)
        self._clock = clock
        self._pace = Pace(epochs=1, steps_per_epoch=1)
        self._since = 0.0
        self._pictures = 0
        self._bars: progress.Progress | None = None
        self._tasks: tuple[progress.TaskID, progress.TaskID] | None = None

    def on_start(self, run: Run, before: Sequence[Epoch]) -> None:
        """Print the settings and show the bars."""
        for line in settings_lines(run):
            self._print(line)
        self._pace = Pace(run.epochs, run.steps_per_epoch)
        self._restart()
        self._bars = _bars(self._console)
        steps = run.steps_per_epoch
        empty: dict[str, Any] = {"done": "", "left": "", "about": ""}
        self._tasks = (
            self._bars.add_task(_title(run.first_epoch, run.epochs), total=steps, **empty),
            self._bars.add_task("run", total=run.epochs * steps, completed=(run.first_epoch - 1) * steps, **empty),
        )
        self._bars.start()

    def on_step(self, step: Step) -> None:
        """Move the bars."""
        if self._bars is None or self._tasks is None:
            return
        self._pictures += step.pictures
        seconds = self._clock() - self._since
        self._pace.stepped(step, seconds)
        steps = self._pace.steps_per_epoch
        # After the last step come validation and checkpoint.
        speed = "finishing" if step.step == steps else f"{self._pictures / max(seconds, 1e-9):.1f} images/s"
        done = (step.epoch - 1) * steps + step.step
        epoch_task, run_task = self._tasks
        self._bars.update(
            epoch_task,
            description=_title(step.epoch, self._pace.epochs),
            completed=step.step,
            done=f"{step.step}/{steps}",
            left=_left(self._pace.epoch_left(step)),
            about=speed,
        )
        self._bars.update(
            run_task,
            completed=done,
            done=f"{100 * done / (self._pace.epochs * steps):.1f} %",
            left=_left(self._pace.run_left(step)),
            about=" ".join(f"{part} {step.losses[part]:.2f}" for part in LOSSES),
        )

    def on_epoch(self, epoch: Epoch, metrics: Metrics | None) -> None:
        """Print the epoch's line."""
        self._pace.finished(epoch)
        self._print(epoch_line(epoch, self._pace.epochs))
        self._restart()

    def on_end(self, end: End) -> None:
        """Take the bars away; how it ended is the caller's result."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _restart(self) -> None:
        self._since, self._pictures = self._clock(), 0

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class Pace:
    """How long the rest takes, by what this process has seen: earlier epochs may have run elsewhere.

    Args:
        epochs: in all.
        steps_per_epoch: batches of one epoch.
    """

    def __init__(self, epochs: int, steps_per_epoch: int) -> None:
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self._steps = 0
        self._step_seconds = 0.0
        self._val_seconds: list[float] = []

    def stepped(self, step: Step, seconds: float) -> None:
        """A step was done.

        Args:
            step: the step.
            seconds: since this process began with the epoch.
        """
        self._steps += 1
        self._step_seconds = seconds / self._steps

    def finished(self, epoch: Epoch) -> None:
        """An epoch is over; the next one's steps are counted from 1 again."""
        self._steps = 0
        self._val_seconds.append(epoch.val_seconds)

    def epoch_left(self, step: Step) -> float:
        """Seconds that the steps of this epoch still take."""
        return (self.steps_per_epoch - step.step) * self._step_seconds

    def run_left(self, step: Step) -> float:
        """Seconds that the run still takes, validations too once one is known."""
        later = self.epochs - step.epoch
        validations = (later + 1) * sum(self._val_seconds) / max(len(self._val_seconds), 1)
        return self.epoch_left(step) + later * self.steps_per_epoch * self._step_seconds + validations


def settings_lines(run: Run) -> tuple[str, str]:
    """What is trained on, for how long and with what, in two lines."""
    validated = f"{len(run.val_set)} to validate on" if run.val_set is not None else "none to validate on"
    start = f", from epoch {run.first_epoch}" if run.first_epoch > 1 else ""
    first = (
        f"{run.epochs} epochs of {run.steps_per_epoch} steps{start}, {len(run.train_set)} pictures, {validated}; "
        f"output in {run.folder}"
    )
    named = [f"{key} {_setting(run.settings[key])}" for key in SETTINGS if key in run.settings]
    return first, ", ".join(named)


def epoch_line(epoch: Epoch, epochs: int) -> str:
    """An epoch in one line: losses, AP where it was validated, time."""
    losses = ", ".join(f"{part} {epoch.losses[part]:.4f}" for part in LOSSES)
    parts = [f"{_title(epoch.epoch, epochs)}: losses {losses}"]
    if epoch.scores:
        best = " (best so far)" if epoch.best else ""
        parts.append(f"box AP {epoch.scores['box_ap']:.4f}, mask AP {epoch.scores['mask_ap']:.4f}{best}")
    pace = f"{epoch.seconds:.1f} s, {epoch.images_per_second:.1f} images/s"
    parts.append(pace + (f", validated in {epoch.val_seconds:.1f} s" if epoch.scores else ""))
    return "; ".join(parts)


def _title(epoch: int, epochs: int) -> str:
    return f"epoch {epoch:>{len(str(epochs))}}/{epochs}"


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_setting(one)}" for name, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "x".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _left(seconds: float) -> str:
    """Hours, minutes and seconds: 0:01:23 left."""
    return f"{timedelta(seconds=round(seconds))} left"


def _bars(console: Console) -> progress.Progress:
    """Both bars: they take what the texts leave of the line."""
    from rich import progress

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=None),
        progress.TextColumn("{task.fields[done]}", justify="right"),
        progress.TextColumn("{task.fields[left]}"),
        progress.TextColumn("{task.fields[about]}"),
        console=console,
        transient=True,
        expand=True,
        # stdout stays as it is: Rich would send results to the bar's stderr.
        redirect_stdout=False,
        disable=not console.is_terminal,
    )
