"""Quantiles, drift and rate of times, computed by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.errors import UsageError
from edgeseg.metrics.latency import drift_of, latency_of, per_second


@pytest.mark.parametrize(
    ("times", "p50", "p95", "p99"),
    [
        pytest.param([7.0], 7.0, 7.0, 7.0, id="one-run"),
        # Position 0.5 of 0..1 is half-way, 0.95 and 0.99 that far from the first to the second.
        pytest.param([20.0, 10.0], 15.0, 19.5, 19.9, id="two-runs-out-of-order"),
        # 11 runs: p50 is the sixth; 0.95 * 10 = 9.5, between the tenth (10) and the last (100); 0.99 * 10 = 9.9.
        pytest.param([100.0, *map(float, range(10, 0, -1))], 6.0, 55.0, 91.0, id="one-slow-run"),
        # 101 runs of 0..100 ms: every quantile is its own number.
        pytest.param([float(i) for i in range(101)], 50.0, 95.0, 99.0, id="hundred-and-one"),
    ],
)
def test_quantiles_lie_between_the_two_nearest_runs(times: list[float], p50: float, p95: float, p99: float) -> None:
    found = latency_of(times)
    assert (found.p50, found.p95, found.p99) == pytest.approx((p50, p95, p99))


def test_mean_min_and_count_are_of_all_runs() -> None:
    found = latency_of([4.0, 1.0, 7.0])
    assert (found.mean, found.min, found.count) == (4.0, 1.0, 3)


def test_no_runs_have_no_latency() -> None:
    with pytest.raises(UsageError, match="no runs"):
        latency_of([])


@given(st.lists(st.floats(0.01, 1e5), min_size=1, max_size=60))
def test_quantiles_rise_and_stay_within_the_runs(times: list[float]) -> None:
    found = latency_of(times)
    assert found.min <= found.p50 <= found.p95 <= found.p99 <= max(times)


@pytest.mark.parametrize(
    ("times", "drift"),
    [
        pytest.param([10.0, 10.0, 50.0, 50.0, 12.0, 12.0], 0.2, id="slower"),
        pytest.param([10.0, 10.0, 1.0, 1.0, 5.0, 5.0], -0.5, id="faster"),
        # Thirds of eight runs are two long; one slow run moves the median of its third half-way.
        pytest.param([10.0, 10.0, 9.0, 9.0, 9.0, 9.0, 10.0, 30.0], 1.0, id="not-divisible"),
        pytest.param([10.0, 99.0, 10.0] * 3, 0.0, id="one-outlier-in-each-third"),
    ],
)
def test_drift_compares_the_medians_of_the_first_and_last_third(times: list[float], drift: float) -> None:
    assert drift_of(times) == pytest.approx(drift)


def test_drift_of_five_runs_is_unknown() -> None:
    assert drift_of([1.0, 1.0, 1.0, 1.0, 9.0]) is None


def test_rate_counts_every_picture_of_a_batch() -> None:
    # Two runs of four pictures in half a second.
    assert per_second([200.0, 300.0], batch=4) == pytest.approx(16.0)
