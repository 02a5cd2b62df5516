"""Several runs under way at once: order, failures in their place, what is bounded, and what happens at an early end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import edgeseg
from edgeseg import Model
from edgeseg.errors import SourceError, StageError
from edgeseg.postprocess.pipeline import PostprocessOptions
from edgeseg.predict import Failure, PredictOptions
from edgeseg.quantised import real
from edgeseg.sources import BrokenFrame, Frame
from edgeseg.target import Runner
from edgeseg.tensors import Array
from edgeseg.testing.tiny import tiny_picture

ROOM = 3
OPTIONS = PredictOptions(PostprocessOptions(score=0.1))


class Ahead(Runner):
    """Another runner's runs in threads; it counts what is under way, and one of them may be made to fail."""

    def __init__(self, inner: Runner, failing: int = -1) -> None:
        super().__init__(inner.metadata)
        self._inner, self._failing = inner, failing
        self._pool = ThreadPoolExecutor(ROOM)
        self._lock = threading.Lock()
        self.begun = self.under_way = self.most = 0

    @property
    def in_flight(self) -> int:
        return ROOM

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return self._inner.run(arrays)

    def _start(self, arrays: Mapping[str, Array]) -> Callable[[], dict[str, Array]]:
        number, self.begun = self.begun, self.begun + 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        future = self._pool.submit(self._inner.run, arrays)

        def wait() -> dict[str, Array]:
            self.under_way -= 1
            if number == self._failing:
                raise StageError("run_failed", f"run {number}")
            return future.result()

        return wait


@pytest.fixture(scope="module")
def model(tiny_onnx: Path) -> Iterator[Model]:
    with edgeseg.load(tiny_onnx) as opened:
        yield opened


def pictures(count: int) -> list[Frame | BrokenFrame]:
    return [Frame(tiny_picture(80 + 10 * seed, 160, seed), f"picture {seed}") for seed in range(count)]


def broken(name: str) -> BrokenFrame:
    return BrokenFrame(name, 0, SourceError(f"{name} is broken"))


def ahead(model: Model, failing: int = -1) -> tuple[Model, Ahead]:
    runner = Ahead(model.runner, failing)
    return Model(runner, model.path), runner


def told(model: Model, frames: Iterator[Frame | BrokenFrame]) -> Iterator[tuple[str, bytes]]:
    for result in model.predict_frames(frames, OPTIONS):
        found = b"failed" if isinstance(result, Failure) else result.instances.xyxy.tobytes()
        yield result.source, found


def test_results_are_those_of_one_at_a_time_with_failures_in_their_place(model: Model) -> None:
    frames = [broken("first"), *pictures(3), broken("a"), broken("b"), *pictures(4), broken("last")]
    other, runner = ahead(model)
    wanted = list(told(model, iter(frames)))
    assert list(told(other, iter(frames))) == wanted
    assert sum(found not in (b"", b"failed") for _, found in wanted) == 7
    assert (runner.begun, runner.under_way) == (7, 0)


def test_no_more_runs_are_under_way_and_no_more_frames_read_than_there_is_room_for(model: Model) -> None:
    other, runner = ahead(model)
    read = 0

    def frames() -> Iterator[Frame | BrokenFrame]:
        nonlocal read
        for frame in pictures(8):
            read += 1
            yield frame

    for number, _ in enumerate(other.predict_frames(frames(), OPTIONS), 1):
        assert read <= number + ROOM - 1
    assert (number, runner.most) == (8, ROOM)


def test_an_error_of_the_source_comes_after_the_results_before_it(model: Model) -> None:
    def frames() -> Iterator[Frame | BrokenFrame]:
        yield from pictures(2)
        raise SourceError("the camera is gone")

    results = told(ahead(model)[0], frames())
    assert [next(results)[0], next(results)[0]] == ["picture 0", "picture 1"]
    with pytest.raises(SourceError, match="the camera is gone"):
        next(results)


def test_an_error_of_a_run_comes_in_its_turn_and_waits_for_the_others(model: Model) -> None:
    other, runner = ahead(model, failing=1)
    results = told(other, iter(pictures(6)))
    assert next(results)[0] == "picture 0"
    with pytest.raises(StageError, match="run 1"):
        next(results)
    assert (runner.begun, runner.under_way) == (4, 0)


def test_a_caller_who_stops_leaves_no_run_under_way(model: Model) -> None:
    other, runner = ahead(model)
    results = other.predict_frames(iter(pictures(6)), OPTIONS)
    next(results)
    assert runner.under_way == ROOM - 1
    results.close()  # type: ignore[attr-defined]
    assert (runner.begun, runner.under_way) == (ROOM, 0)


def test_by_default_a_run_is_made_when_it_is_waited_for(model: Model) -> None:
    images = np.random.default_rng(0).random((1, 3, 96, 160), np.float32)
    wait = model.runner.start({"images": images})
    wanted = model.runner.run({"images": images})
    assert model.runner.in_flight == 1
    found = wait()
    assert [name for name in wanted if not np.array_equal(real(found[name]), wanted[name])] == []
