"""What `edgeseg predict` tells: a line a picture, a summary, the exit code."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict

import click
import numpy as np

from edgeseg.cli import INTERRUPTED
from edgeseg.predict import Failure, Result

READ_FAILED = 2

logger = logging.getLogger(__name__)


class RunReport:
    """Counts results as they come.

    Args:
        masks: whether masks are found, or boxes only.
        show: whether a line is printed for each picture.
    """

    def __init__(self, masks: bool, *, show: bool) -> None:
        self.interrupted = False
        self._failures = 0
        self._times: list[dict[str, float]] = []
        self._start = time.perf_counter()
        self._instances = 0
        self._what = "mask" if masks else "box"
        self._show = show

    def done(self, result: Result, echo: Callable[[str], None]) -> None:
        """Count one picture, and print its line."""
        self._times.append(asdict(result.times))
        self._instances += len(result.instances)
        if self._show:
            echo(f"{_name(result)}: {_counts(result)}")

    def failed(self, failure: Failure) -> None:
        """Count one picture that could not be read, and say so."""
        self._failures += 1
        logger.error("%s", failure.error)

    def finish(self, *, rate: bool, quiet: bool) -> None:
        """Print the summary to stderr and leave with the exit code that it calls for.

        Raises:
            SystemExit: a picture could not be read, or the run was interrupted.
        """
        elapsed = time.perf_counter() - self._start
        done = len(self._times)
        if rate and done:
            click.echo(self._rate(elapsed), err=True)
        words = [f"{done} done", _plural(self._instances, self._what)]
        if self._failures:
            words.append(f"{self._failures} could not be read")
        if self.interrupted:
            words.append("interrupted; every file written so far is complete")
        code = INTERRUPTED if self.interrupted else READ_FAILED if self._failures else 0
        if code or not quiet:
            click.echo(", ".join(words), err=True)
        if code:
            sys.exit(code)

    def _rate(self, elapsed: float) -> str:
        steps = {name: float(np.median([times[name] for times in self._times])) for name in self._times[0]}
        medians = ", ".join(f"{name} {value:.1f}" for name, value in steps.items())
        return f"{len(self._times) / elapsed:.1f} frames per second; median milliseconds: {medians}"


def _name(result: Result) -> str:
    frame = result.frame.frame_index
    return result.source if frame is None else f"{result.source} frame {frame}"


def _counts(result: Result) -> str:
    names = Counter(result.instances.names[class_id] for class_id in result.instances.class_ids.tolist())
    return ", ".join(f"{count} {name}" for name, count in names.most_common()) or "nothing"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}{'es' if word.endswith('x') else 's'}"
