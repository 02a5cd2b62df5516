"""`edgeseg benchmark`: time a model, or every artifact of a build."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.output import emit_json, parse_pairs, progress_bar, verbosity

if TYPE_CHECKING:
    from rich.table import Table

    from edgeseg.benchmark import BenchmarkResult, ModelSpeed

logger = logging.getLogger(__name__)

STEP_NAMES = {
    "letterbox": "letterbox",
    "network": "network",
    "decode": "decode+nms",
    "masks": "masks",
    "total": "total",
}
UNKNOWN = "not available"

PIPE_WIDTH = 160
"""Columns of a table where stdout is no terminal: it is not to be folded."""


@click.command(context_settings={"show_default": True})
@click.argument("model", type=click.Path(path_type=Path), metavar="MODEL|BUILD_DIR")
@click.option("--runs", default=50, help="Timed runs of each model.")
@click.option("--warmup", default=5, help="Runs at the start of each process that are not counted.")
@click.option("--pictures", multiple=True, metavar="SOURCE", help="What to run on; default: the shipped photos.")
@click.option("--image-size", nargs=2, type=int, metavar="H W", help="Letterbox size; default: the model's.")
@click.option("--batch", type=int, help="Pictures per run; default: the model's.")
@click.option("--option", multiple=True, metavar="KEY=VALUE", help="Of the runtime, such as threads=4.")
@click.option("--val", type=click.Path(path_type=Path), metavar="DATA", help="Validate a build's artifacts on this.")
@click.option("--split", help="Part of DATA, where it is a YOLO-seg set  [default: val].")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of DATA's pictures, where it is a COCO set.")
@click.option("--json", "json_file", help="All numbers and raw times as JSON; - for stdout.")
@verbosity
def command(model: Path, **asked: Any) -> None:
    """Time weights, an artifact, or every artifact of a build beside its reference.

    Each model runs in a process of its own, those of a build in turn. For a build, `benchmark.json` and `pareto.svg`
    go into its folder. AP is that of an earlier `edgeseg val --json` at <stem>.val.json beside an artifact, or is
    measured now on DATA.
    """
    from edgeseg.benchmark import BenchmarkOptions, benchmark
    from edgeseg.report.benchmark_json import benchmark_json, write_benchmark

    options = BenchmarkOptions(
        runs=asked["runs"],
        warmup=asked["warmup"],
        pictures=asked["pictures"],
        image_size=asked["image_size"],
        batch=asked["batch"],
        run_options=parse_pairs(asked["option"], "--option"),
        val=asked["val"],
        split=asked["split"],
        images=asked["images"],
    )
    result = benchmark(model, options, bar=progress_bar)
    written = write_benchmark(result) if result.is_build else ()
    if asked["json_file"]:
        emit_json(benchmark_json(result), asked["json_file"])
    if asked["json_file"] != "-":
        _print(result, written)
    for warning in result.warnings:
        logger.warning("%s", warning)
    error = result.error()
    if error is not None:
        raise error


def _print(result: BenchmarkResult, written: tuple[Path, ...]) -> None:
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, width=PIPE_WIDTH)
    if result.is_build and result.models:
        console.print(_build_table(result))
    for model in () if result.is_build else result.models:
        console.print(_title(model), soft_wrap=True)
        console.print(_step_table(model))
    for line in (*_lines(result), *(f"wrote {path}" for path in written)):
        console.print(line, soft_wrap=True)


def _title(model: ModelSpeed) -> str:
    first = model.turns[0]
    height, width = first.image_size
    execution = ", ".join(f"{key} {value}" for key, value in first.execution.items())
    return (
        f"{model.name}: {first.format} {first.precision}, {height} x {width}, batch {first.batch}, "
        f"{model.megabytes:.1f} MB, {execution or 'device not told'}"
    )


def _step_table(model: ModelSpeed) -> Table:
    from rich.table import Table

    table = Table("ms a run", box=None, pad_edge=False)
    for name in ("p50", "p95", "p99", "mean", "min"):
        table.add_column(name, justify="right")
    for step, name in STEP_NAMES.items():
        found = model.latency(step)
        numbers = (found.p50, found.p95, found.p99, found.mean, found.min)
        table.add_row(name, *(f"{value:.2f}" for value in numbers))
    return table


def _build_table(result: BenchmarkResult) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    # The names are what a narrow terminal must not cut.
    table.add_column("", no_wrap=True, min_width=max(len(_label(model)) for model in result.models))
    for name in ("p50 ms", "p95 ms", "network", "x reference", "pictures/s", "MB", "peak MB", "mask AP"):
        table.add_column(name, justify="right")
    for model in result.models:
        total = model.latency()
        table.add_row(
            _label(model),
            f"{total.p50:.1f}",
            f"{total.p95:.1f}",
            f"{model.latency('network').p50:.1f}",
            _known(result.ratio(model), ".2f"),
            f"{model.pictures_per_second:.1f}",
            f"{model.megabytes:.1f}",
            _known(model.peak_rss_mb, ".0f"),
            _known(model.accuracy.mask_ap if model.accuracy else None, ".4f"),
        )
    return table


def _label(model: ModelSpeed) -> str:
    return model.name if model.subject.outcome == "passed" else f"{model.name} ({model.subject.outcome})"


def _lines(result: BenchmarkResult) -> Iterator[str]:
    """What the numbers rest on."""
    for model in () if result.is_build else result.models:
        peak = "peak memory " + (UNKNOWN if model.peak_rss_mb is None else f"{model.peak_rss_mb:.0f} MB")
        yield f"{model.pictures_per_second:.1f} pictures per second, opened in {model.turns[0].open_ms:.0f} ms, {peak}"
    if result.models:
        first = result.models[0]
        turns = f" in {len(first.turns)} turns" if result.is_build else ""
        yield (
            f"{result.options.runs} runs{turns} over {first.turns[0].pictures} pictures, after "
            f"{result.options.warmup} of warm-up{' in each turn' if turns else ''} that are not counted"
        )
    yield _machine_line(result)
    for name, error in result.failures.items():
        yield f"failed: {name}: {error.message}"
    for name, outcome in result.not_built.items():
        yield f"no artifact: {name}: {outcome}"


def _machine_line(result: BenchmarkResult) -> str:
    from edgeseg.machine import throttled

    machine, before, after = result.machine, result.before, result.after
    heat = {None: UNKNOWN, True: "yes", False: "none"}[throttled(before, after)]
    words = [
        f"{machine.board}, {machine.cpu}" if machine.board else machine.cpu,
        f"{machine.cores} cores",
        f"load {_known(before.load, '.1f', UNKNOWN)} before",
        f"temperature {_known(after.temperature_c, '.0f', UNKNOWN)}" + (" °C" if after.temperature_c else ""),
        f"slowest clock {_known(after.frequency_mhz, '.0f', UNKNOWN)}"
        + (f" of {_known(after.max_frequency_mhz, '.0f', '?')} MHz" if after.frequency_mhz else ""),
        f"throttling {heat}",
    ]
    return ", ".join(words)


def _known(value: float | None, form: str, otherwise: str = "-") -> str:
    return otherwise if value is None else format(value, form)
