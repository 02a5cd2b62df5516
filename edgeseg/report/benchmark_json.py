"""`benchmark.json`: every number of a benchmark, with the raw times."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from edgeseg import __version__
from edgeseg.benchmark import BenchmarkResult, ModelSpeed
from edgeseg.benchmark_turn import STEPS
from edgeseg.files import write_atomically
from edgeseg.machine import throttled
from edgeseg.report.pareto import front, panels_of, pareto_svg

BENCHMARK_SCHEMA = 1


def benchmark_json(result: BenchmarkResult) -> dict[str, Any]:
    """A benchmark as plain values; null stands for what is not known."""
    options = result.options
    return {
        "schema": BENCHMARK_SCHEMA,
        "edgeseg": __version__,
        "path": str(result.path),
        "options": {
            "runs": options.runs,
            "warmup_per_turn": options.warmup,
            "pictures": list(options.pictures),
            "image_size": list(options.image_size) if options.image_size else None,
            "batch": options.batch,
            "run_options": {key: str(value) for key, value in options.run_options.items()},
            "val": str(options.val) if options.val else None,
            "split": options.split,
            "images": str(options.images) if options.images else None,
        },
        "machine": {
            **dataclasses.asdict(result.machine),
            "before": dataclasses.asdict(result.before),
            "after": dataclasses.asdict(result.after),
            "throttled": throttled(result.before, result.after),
        },
        "models": [_model(result, model) for model in result.models],
        "failures": {
            name: {"exit_code": error.exit_code, "message": error.message, "hint": error.hint}
            for name, error in result.failures.items()
        },
        "not_built": dict(result.not_built),
        "pareto": {
            panel.key: [point.name for point in front(panel.points, y_up=panel.y_up)] for panel in panels_of(result)
        }
        if result.is_build
        else {},
        "warnings": list(result.warnings),
    }


def write_benchmark(result: BenchmarkResult) -> tuple[Path, Path]:
    """Write `benchmark.json` and `pareto.svg` into the folder of a build; returns their paths."""
    as_json, as_svg = result.path / "benchmark.json", result.path / "pareto.svg"
    text = json.dumps(benchmark_json(result), indent=1, ensure_ascii=False) + "\n"
    write_atomically(as_json, text.encode(errors="backslashreplace"))
    write_atomically(as_svg, pareto_svg(result).encode())
    return as_json, as_svg


def _model(result: BenchmarkResult, model: ModelSpeed) -> dict[str, Any]:
    first = model.turns[0]
    return {
        "name": model.name,
        # Of a build, inside its folder, which can move.
        "path": model.subject.path.relative_to(result.path).as_posix() if result.is_build else str(model.subject.path),
        "outcome": model.subject.outcome,
        "format": first.format,
        "precision": first.precision,
        "image_size": list(first.image_size),
        "batch": model.batch,
        "execution": dict(first.execution),
        "bytes": model.bytes,
        "latency_ms": {step: dataclasses.asdict(model.latency(step)) for step in STEPS},
        "ratio_to_reference": result.ratio(model),
        "pictures_per_second": model.pictures_per_second,
        "drift": model.drift,
        "open_ms": [turn.open_ms for turn in model.turns],
        "peak_rss_mb": model.peak_rss_mb,
        "pictures": first.pictures,
        "pictures_mb": first.pictures_mb,
        "instances": sum(turn.instances for turn in model.turns),
        "accuracy": dataclasses.asdict(model.accuracy) if model.accuracy else None,
        "runs_per_turn": [len(turn.times_ms["total"]) for turn in model.turns],
        "times_ms": {step: [round(time, 4) for time in model.times_ms(step)] for step in STEPS},
    }
