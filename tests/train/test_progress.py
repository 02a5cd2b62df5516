"""The progress of a training: lines that stay everywhere, bars on a terminal only."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from edgeseg.data.dataset import Dataset
from edgeseg.train.callbacks import End, Run
from edgeseg.train.progress import Pace, Progress, epoch_line, settings_lines
from tests.report.validation import write_set
from tests.train.records import epoch, run_of, step, validated

END = End("failed", "out of memory", None, None, ())
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    dataset: Dataset = write_set(tmp_path / "set")
    return run_of(Path("runs/cats"), dataset)


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def terminal(written: io.StringIO) -> Console:
    return Console(file=written, force_terminal=True, width=100, height=20, color_system=None)


def frames(written: io.StringIO) -> list[str]:
    return [line for line in ESCAPE.sub("", written.getvalue()).replace("\r", "\n").splitlines() if line.strip()]


def test_settings_are_two_lines(run: Run) -> None:
    assert settings_lines(run) == (
        "4 epochs of 10 steps, 2 pictures, 2 to validate on; output in runs/cats",
        "batch 8, image_size 64x96, optimizer adamw, lr0 0.00119, device cpu, precision fp32, processes 1, seed 0",
    )


def test_settings_of_a_resumed_run_say_where_it_goes_on(tmp_path: Path) -> None:
    first, _ = settings_lines(run_of(tmp_path, write_set(tmp_path / "set"), first_epoch=3, val_set=None))
    assert first.startswith("4 epochs of 10 steps, from epoch 3, 2 pictures, none to validate on; ")


def test_epoch_line_has_losses_and_scores() -> None:
    assert epoch_line(validated(3, best=True), 100) == (
        "epoch   3/100: losses box 3.1250, cls 3.2500, dfl 3.5000, mask 3.7500; "
        "box AP 0.4123, mask AP 0.3456 (best so far); 13.0 s, 36.3 images/s, validated in 2.0 s"
    )


def test_epoch_line_has_no_scores_when_it_was_not_validated() -> None:
    line = epoch_line(epoch(3, best=True), 100)
    assert "AP" not in line and "best" not in line and line.endswith("13.0 s, 36.3 images/s")


def test_without_a_terminal_only_the_lines_are_written(run: Run) -> None:
    written = io.StringIO()
    progress = Progress(Console(file=written, width=40))
    progress.on_start(run, [])
    progress.on_step(step(1, 1))
    progress.on_epoch(epoch(1), None)
    progress.on_end(End("finished", "4 epochs", None, None, (epoch(1),)))
    # Whole lines, however narrow the console: a log is searched by line.
    assert written.getvalue().splitlines() == [*settings_lines(run), epoch_line(epoch(1), run.epochs)]


def test_names_in_brackets_are_printed_as_they_are(tmp_path: Path) -> None:
    written = io.StringIO()
    run = run_of(Path("runs/[red]cats[/red]"), write_set(tmp_path / "set"))
    Progress(Console(file=written)).on_start(run, [])
    assert "runs/[red]cats[/red]" in written.getvalue()


def test_lines_go_to_stderr(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from edgeseg.train.progress import Progress\n"
        "from tests.train.records import epoch\n"
        "Progress().on_epoch(epoch(1), None)\n"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "TTY_COMPATIBLE")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("", epoch_line(epoch(1), 1) + "\n")


def test_bars_show_steps_speed_losses_and_what_is_left(run: Run, clock: Clock) -> None:
    written = io.StringIO()
    progress = Progress(terminal(written), clock)
    progress.on_start(run, [])
    for number in (1, 2):
        clock.now += 3
        progress.on_step(step(1, number))
    progress.on_end(END)  # the bars are drawn a last time, then erased
    epoch_bar, run_bar = (" ".join(line.split()) for line in frames(written)[-2:])
    # 2 of 10 steps in 6 s: 8 more take 24 s, and the 30 of three more epochs 90 s; 16 pictures in 6 s.
    assert re.fullmatch(r"epoch 1/4 .* 2/10 0:00:24 left 2\.7 images/s", epoch_bar)
    assert re.fullmatch(r"run .* 5\.0 % 0:01:54 left box 1\.23 cls 0\.88 dfl 1\.10 mask 2\.35", run_bar)


def test_bars_are_gone_after_the_end(run: Run, clock: Clock) -> None:
    written = io.StringIO()
    progress = Progress(terminal(written), clock)
    progress.on_start(run, [])
    progress.on_step(step(1, 1))
    progress.on_end(END)
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    text = written.getvalue()
    assert text.rindex(shown) > text.rindex(hidden)
    before = len(text)
    progress.on_step(step(1, 2))
    assert len(written.getvalue()) == before


def test_rest_of_the_run_counts_the_validations_once_one_is_known() -> None:
    pace = Pace(epochs=4, steps_per_epoch=10)
    pace.stepped(step(1, 1), 2.0)
    assert pace.run_left(step(1, 1)) == 2.0 * 39
    pace.finished(epoch(1, val_seconds=5.0))
    pace.stepped(step(2, 1), 1.0)
    # 9 + 20 steps of 1 s, and the validations of epochs 2, 3 and 4.
    assert pace.run_left(step(2, 1)) == 29 + 3 * 5.0


def test_pace_of_a_resumed_epoch_is_that_of_its_new_steps() -> None:
    pace = Pace(epochs=1, steps_per_epoch=10)
    pace.stepped(step(1, 8), 3.0)
    assert pace.epoch_left(step(1, 8)) == 2 * 3.0
