"""Times that a device's own clock counted, from a result to the page."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgeseg.metrics.latency import spread
from edgeseg.report.measurements import speed_of
from edgeseg.report.result_schema import _Benchmark

TIMES = [4.0, 1.0, 3.0, 2.0, 5.0]


def benchmark(**more: Any) -> dict[str, Any]:
    return {"latency_ms": spread([10 * one for one in TIMES]), "runs": 5, **more}


def test_spread_keeps_three_quantiles_mean_and_fastest() -> None:
    """By hand: between the 4th and 5th of five runs lie the 75th and the 100th percentile."""
    found = spread(TIMES)
    assert (found["p50"], found["mean"], found["min"]) == (3.0, 3.0, 1.0)
    assert found["p95"] == pytest.approx(4 + (0.95 - 0.75) / 0.25)
    assert found["p99"] == pytest.approx(4 + (0.99 - 0.75) / 0.25)


def test_page_shows_both_clocks() -> None:
    shown = speed_of(benchmark(device_ms=spread(TIMES)))
    assert shown is not None
    rows = dict(shown["rows"])
    assert rows["99th percentile"].startswith("49.6")
    assert rows["Network by the device's clock, median"].startswith("3")
    assert rows["Network by the device's clock, 99th percentile"].startswith("4.96")


def test_result_of_an_older_device_has_neither() -> None:
    times = {key: value for key, value in spread(TIMES).items() if key != "p99"}
    shown = speed_of({"latency_ms": times, "runs": 5})
    assert shown is not None
    assert not {"99th percentile", "Network by the device's clock, median"} & dict(shown["rows"]).keys()


def test_a_strangers_times_are_checked() -> None:
    _Benchmark.model_validate(benchmark(device_ms=spread(TIMES), runs_as={"gpu": "Orin"}))
    for wrong in ({"device_ms": {"p50": "<b>"}}, {"runs_as": {"gpu": ["Orin"]}}):
        with pytest.raises(ValidationError):
            _Benchmark.model_validate(benchmark(**wrong))
