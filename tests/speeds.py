"""Benchmark results of chosen numbers."""

from __future__ import annotations

from pathlib import Path

from edgeseg.benchmark import BenchmarkOptions, BenchmarkResult, ModelSpeed, Subject
from edgeseg.benchmark_accuracy import Accuracy
from edgeseg.benchmark_turn import STEPS, TurnResult
from edgeseg.machine import Machine, MachineState

FOLDER = Path("build")
QUIET = MachineState(0.1, None, None, None, None)


def turn_of(times_ms: list[float], *, batch: int = 1, peak_rss_mb: float | None = 100.0) -> TurnResult:
    """A turn whose steps all take the same times."""
    return TurnResult(
        times_ms={step: list(times_ms) for step in STEPS},
        open_ms=5.0,
        peak_rss_mb=peak_rss_mb,
        execution={"provider": "CPU"},
        format="onnx",
        precision="fp32",
        image_size=(96, 160),
        batch=batch,
        pictures=3,
        pictures_mb=1.0,
        instances=7,
    )


def speed_of(
    name: str, ms: float, mb: float, ap: float | None = None, outcome: str = "passed", folder: Path = FOLDER
) -> ModelSpeed:
    """A model that always takes `ms`."""
    accuracy = None if ap is None else Accuracy(ap, ap + 0.1, 128, "val.json")
    return ModelSpeed(Subject(name, folder / f"{name}.onnx", outcome), (turn_of([ms] * 3),), int(mb * 1e6), accuracy)


def result_of(*models: ModelSpeed, folder: Path = FOLDER) -> BenchmarkResult:
    """A build's benchmark."""
    machine = Machine("a processor", "", 2, "Linux x86_64")
    return BenchmarkResult(folder, True, BenchmarkOptions(runs=3), models, {}, {}, machine, QUIET, QUIET, ())
