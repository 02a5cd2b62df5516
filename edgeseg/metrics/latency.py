"""Times of repeated runs as numbers: quantiles, rate, and whether they moved while they were taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeseg.errors import UsageError

MIN_FOR_DRIFT = 6
"""Runs below which a third of them is a single one, whose time says nothing about a trend."""


@dataclass(frozen=True)
class Latency:
    """The spread of some times, in milliseconds.

    Quantiles are interpolated linearly between the two nearest runs (type 7 of Hyndman and Fan, 1996, NumPy's
    default). Of fewer than 100 runs, p99 lies between the two slowest.

    Attributes:
        p50: median.
        p95: 95th percentile.
        p99: 99th percentile.
        mean: arithmetic mean.
        min: the fastest run.
        count: how many runs.
    """

    p50: float
    p95: float
    p99: float
    mean: float
    min: float
    count: int


def latency_of(times_ms: Sequence[float]) -> Latency:
    """The spread of at least one time.

    Args:
        times_ms: milliseconds of each run, in any order.

    Raises:
        UsageError: no times.
    """
    if not times_ms:
        raise UsageError("a latency of no runs: expected at least one")
    p50, p95, p99 = (float(value) for value in np.quantile(times_ms, (0.5, 0.95, 0.99)))
    return Latency(p50, p95, p99, float(np.mean(times_ms)), float(min(times_ms)), len(times_ms))


SPREAD = ("p50", "p95", "p99", "mean", "min")
"""What a report keeps of the times of one kind."""


def spread(times_ms: Sequence[float]) -> dict[str, float]:
    """`SPREAD` by name, in milliseconds, of at least one time."""
    latency = latency_of(times_ms)
    return {key: getattr(latency, key) for key in SPREAD}


def drift_of(times_ms: Sequence[float]) -> float | None:
    """How much slower the last third of the runs is than the first: 0.1 is 10 % slower, -0.1 faster.

    Args:
        times_ms: milliseconds of each run, in the order of the runs.

    Returns:
        The ratio of the medians minus 1; None for fewer than `MIN_FOR_DRIFT` runs.
    """
    third = len(times_ms) // 3
    if len(times_ms) < MIN_FOR_DRIFT:
        return None
    return float(np.median(times_ms[-third:]) / np.median(times_ms[:third])) - 1


def per_second(times_ms: Sequence[float], batch: int) -> float:
    """Pictures per second of runs one after the other.

    Args:
        times_ms: milliseconds of each run.
        batch: pictures in each run.
    """
    return 1e3 * batch * len(times_ms) / sum(times_ms)
