"""One model's turn on the clock, in a process of its own: two runtimes in one process fight for the cores.

    python -m edgeseg.benchmark_turn REQUEST.json ANSWER.json

The answer goes through a file, since a runtime may print whatever it likes.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.errors import EdgesegError, EnvironmentMissingError, StageError, UsageError
from edgeseg.spinning import limit_spinning

if TYPE_CHECKING:
    from edgeseg.predict import Model, PredictOptions
    from edgeseg.sources import Frame

STEPS = ("letterbox", "network", "decode", "masks", "total")
"""What is timed; ``decode`` includes the suppression, ``total`` is the clock around all of them."""

MAX_PICTURES = 32
"""Different pictures held in memory: more would count as memory of the model."""

LAST_LINES = 8
"""Lines of a crashed process that its error shows."""

_ERRORS: Mapping[int, type[EdgesegError]] = {2: UsageError, 3: EnvironmentMissingError}
"""Exit code to the error that stands for it; every other is a failed run."""


@dataclass(frozen=True)
class Turn:
    """What to time. Plain values, so that it fits into a file.

    Attributes:
        model: weights or an artifact.
        pictures: sources as `predict` takes them.
        runs: timed runs.
        warmup: runs before them that are not counted.
        first: position of the first timed run among all of this model, which chooses its pictures.
        image_size: (height, width) of the letterbox in pixels; None takes the model's own.
        batch: pictures per run; None takes the model's own.
        run_options: of the model's runtime.
    """

    model: str
    pictures: tuple[str, ...]
    runs: int
    warmup: int
    first: int = 0
    image_size: tuple[int, int] | None = None
    batch: int | None = None
    run_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class TurnResult:
    """What came of it.

    Attributes:
        times_ms: step to the milliseconds of each timed run, of all pictures of its batch.
        open_ms: milliseconds to open the model.
        peak_rss_mb: peak resident memory of the process, 10^6 bytes, pictures included; None where unknown.
        execution: how the runner says that it runs.
        format: of the model.
        precision: of the model.
        image_size: (height, width) of the letterbox.
        batch: pictures per run.
        pictures: how many different ones.
        pictures_mb: memory that they take, 10^6 bytes.
        instances: found in all timed runs.
        device_ms: milliseconds of the network in each timed run by the accelerator's own clock, without copies; empty
            where the runtime does not count them.
    """

    times_ms: Mapping[str, list[float]]
    open_ms: float
    peak_rss_mb: float | None
    execution: Mapping[str, str]
    format: str
    precision: str
    image_size: tuple[int, int]
    batch: int
    pictures: int
    pictures_mb: float
    instances: int
    device_ms: list[float] = dataclasses.field(default_factory=list)


def run_turn(turn: Turn) -> TurnResult:
    """Time a model in a fresh process, and wait for it.

    Raises:
        UsageError: the model, its options or the pictures are wrong.
        EnvironmentMissingError: its runtime is not here.
        StageError: the process broke down; the message ends with its last lines.
    """
    with tempfile.TemporaryDirectory(prefix="edgeseg-benchmark-") as folder:
        request, answer = Path(folder) / "request.json", Path(folder) / "answer.json"
        request.write_text(json.dumps(dataclasses.asdict(turn), default=str), encoding="utf-8")
        environment = dict(os.environ)
        # As the command line does for `predict`.
        limit_spinning(environment, alone=True)
        process = subprocess.run(
            [sys.executable, "-m", "edgeseg.benchmark_turn", str(request), str(answer)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            env=environment,
        )
        if process.returncode or not answer.is_file():
            raise _broken(turn, process.returncode, process.stdout.decode(errors="replace"))
        content = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in content:
        raise _error(turn, content["error"])
    return TurnResult(**{**content, "image_size": tuple(content["image_size"])})


def measure(turn: Turn) -> TurnResult:
    """Time a model in this process, which should have done nothing else before."""
    from edgeseg.machine import peak_memory_mb
    from edgeseg.predict import PredictOptions, load

    frames = _frames(turn)
    start = time.perf_counter()
    with load(turn.model, **turn.run_options) as model:
        open_ms = 1e3 * (time.perf_counter() - start)
        options = PredictOptions(image_size=turn.image_size, batch=turn.batch)
        size = model.check(options)
        batch = model.metadata.batch if turn.batch is None else turn.batch
        for index in range(turn.warmup):
            _run(model, _group(frames, index, batch), options)
        runs, device_ms = [], []
        for index in range(turn.first, turn.first + turn.runs):
            runs.append(_run(model, _group(frames, index, batch), options))
            device_ms.append(model.runner.device_ms)
        return TurnResult(
            times_ms={step: [times[step] for times, _ in runs] for step in STEPS},
            open_ms=open_ms,
            peak_rss_mb=peak_memory_mb(),
            execution=dict(model.runner.execution),
            format=model.metadata.format,
            precision=model.metadata.precision,
            image_size=size,
            batch=batch,
            pictures=len(frames),
            pictures_mb=sum(frame.picture.nbytes for frame in frames) / 1e6,
            instances=sum(found for _, found in runs),
            device_ms=[spent for spent in device_ms if spent is not None],
        )


def main() -> None:
    """Entry point of the process."""
    request, answer = (Path(argument) for argument in sys.argv[1:])
    content = json.loads(request.read_text(encoding="utf-8"))
    size = content["image_size"]
    turn = Turn(**{**content, "image_size": None if size is None else tuple(size)})
    try:
        result = dataclasses.asdict(measure(turn))
    except EdgesegError as error:
        outcome = error.outcome if isinstance(error, StageError) else ""
        result = {"error": {"code": error.exit_code, "message": error.message, "hint": error.hint, "outcome": outcome}}
    answer.write_text(json.dumps(result), encoding="utf-8")


def _frames(turn: Turn) -> list[Frame]:
    """The first pictures, read before the clock starts."""
    from edgeseg.sources import BrokenFrame, open_sources

    with closing(iter(open_sources(list(turn.pictures)))) as frames:
        found = list(itertools.islice(frames, MAX_PICTURES))
    if not found:
        raise UsageError(f"{', '.join(turn.pictures)}: no picture to time a model on")
    for frame in found:
        if isinstance(frame, BrokenFrame):
            raise frame.error
    return [frame for frame in found if not isinstance(frame, BrokenFrame)]


def _group(frames: list[Frame], index: int, batch: int) -> list[Frame]:
    """The pictures of one run: the next ones, from the start again after the last."""
    return [frames[(index * batch + offset) % len(frames)] for offset in range(batch)]


def _run(model: Model, group: list[Frame], options: PredictOptions) -> tuple[dict[str, float], int]:
    """Milliseconds of each step, and the instances found, of one batch."""
    from edgeseg.predict import Result

    start = time.perf_counter()
    results = list(model.predict_frames(group, options))
    total = 1e3 * (time.perf_counter() - start)
    good = [result for result in results if isinstance(result, Result)]
    steps = {step: sum(getattr(result.times, step) for result in good) for step in STEPS if step != "total"}
    return {**steps, "total": total}, sum(len(result.instances) for result in good)


def _error(turn: Turn, content: Mapping[str, Any]) -> EdgesegError:
    message, hint = content["message"], content["hint"]
    kind = _ERRORS.get(content["code"])
    if kind is not None:
        return kind(message, hint=hint)
    return StageError(content["outcome"] or "run_failed", f"{turn.model}: {message}", hint=hint)


def _broken(turn: Turn, code: int, printed: str) -> StageError:
    """A process that ended without an answer."""
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    lines = [line for line in printed.splitlines() if line.strip()][-LAST_LINES:]
    words = [f"{turn.model}: the process that timed it {how}", *(f"  | {line}" for line in lines)]
    return StageError("run_failed", "\n".join(words), hint="`edgeseg predict` on one picture shows more")


if __name__ == "__main__":
    main()
