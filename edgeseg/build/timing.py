"""The stage that times an artifact, in a fresh process beside which nothing of the build runs."""

from __future__ import annotations

import dataclasses

from edgeseg.benchmark_turn import STEPS, Turn, run_turn
from edgeseg.build.stage import StageRequest, StageResult
from edgeseg.machine import read_machine, read_state
from edgeseg.metrics.latency import latency_of, spread


def time_artifact(request: StageRequest) -> StageResult:
    """Latency of the whole prediction and peak memory. Parameters: runs, warmup, machine. Places: pictures."""
    want = request.parameters
    turn = Turn(
        model=str(request.inputs["artifact"]),
        pictures=tuple(request.places["pictures"]),
        runs=want["runs"],
        warmup=want["warmup"],
    )
    before = read_state()
    result = run_turn(turn)
    medians = {step: latency_of(result.times_ms[step]).p50 for step in STEPS}
    return StageResult(
        facts={
            "latency_ms": spread(result.times_ms["total"]),
            **({"device_ms": spread(result.device_ms)} if result.device_ms else {}),
            "steps_p50_ms": medians,
            "runs": want["runs"],
            "open_ms": result.open_ms,
            "peak_rss_mb": result.peak_rss_mb,
            "runs_as": dict(result.execution),
            "pictures": result.pictures,
            "machine": dataclasses.asdict(read_machine()),
            "load_before": before.load,
        }
    )
