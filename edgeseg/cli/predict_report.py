"""What `edgeseg predict` tells: a line a picture, a summary, the exit code."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import asdict

import click
import numpy as np

from edgeseg.predict import Failure, Result

READ_FAILED = 2
INTERRUPTED = 130


class RunReport:
    """Counts results as they come."""

    def __init__(self, masks: bool) -> None:
        self.interrupted = False
        self._failures: list[Failure] = []
        self._times: list[dict[str, float]] = []
        self._start = time.perf_counter()
        self._instances = 0
        self._what = "masks" if masks else "boxes"

    def done(self, result: Result, *, show: bool) -> None:
        """Count one picture, and print its line."""
        self._times.append(asdict(result.times))
        self._instances += len(result.instances)
        if show:
            click.echo(f"{_name(result)}: {_counts(result)}")

    def failed(self, failure: Failure) -> None:
        """Count one picture that could not be read, and say so."""
        self._failures.append(failure)
        click.echo(f"error: {failure.error}", err=True)

    def finish(self, *, rate: bool) -> None:
        """Print the summary to stderr and leave with the exit code that it calls for."""
        elapsed = time.perf_counter() - self._start
        done = len(self._times)
        if rate and done:
            click.echo(self._rate(elapsed))
        words = [f"{done} done", f"{self._instances} {self._what}"]
        if self._failures:
            words.append(f"{len(self._failures)} could not be read")
        if self.interrupted:
            words.append("interrupted; every file written so far is complete")
        click.echo(", ".join(words), err=True)
        if self.interrupted:
            sys.exit(INTERRUPTED)
        if self._failures:
            sys.exit(READ_FAILED)

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
