"""Benchmarks of the tiny network: what is counted, what is reported, what happens where a model breaks. No speeds."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from edgeseg import benchmark_turn
from edgeseg.benchmark import BenchmarkOptions, ModelSpeed, Subject, benchmark
from edgeseg.benchmark_accuracy import Accuracy, read_accuracy, val_file
from edgeseg.benchmark_turn import STEPS, Turn, TurnResult, measure, run_turn
from edgeseg.errors import ArtifactError, EdgesegError, SourceError, StageError, UsageError
from edgeseg.photos import shipped_photos
from edgeseg.predict import Model
from edgeseg.report.benchmark_json import benchmark_json, write_benchmark
from edgeseg.testing.tiny import NAMES
from tests.media import write_picture
from tests.speeds import result_of, speed_of, turn_of

FAST = BenchmarkOptions(runs=2, warmup=1)
PHOTOS = tuple(str(path) for path in shipped_photos())


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path, tiny_onnx: Path) -> Path:
    """A folder as `edgeseg build` leaves it: an artifact, one that is damaged, one that could not be built."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copy(tiny_weights, folder / "weights.safetensors")
    (folder / "good").mkdir()
    shutil.copy(tiny_onnx, folder / "good" / "good.onnx")
    (folder / "damaged.onnx").write_bytes(tiny_onnx.read_bytes()[:2000])
    targets = [
        {"id": "good", "outcome": "passed", "artifact": {"path": "good/good.onnx"}},
        {"id": "damaged", "outcome": "passed", "artifact": {"path": "damaged.onnx"}},
        {"id": "absent", "outcome": "env_missing", "artifact": None},
    ]
    content = {"schema": 1, "weights": {"path": "weights.safetensors"}, "targets": targets}
    (folder / "build.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("batch", [pytest.param(1, id="single"), pytest.param(2, id="pairs")])
def test_warm_up_runs_are_run_and_not_counted(tiny_weights: Path, batch: int) -> None:
    sizes: list[int] = []
    run = Model.predict_frames

    def counting(self: Model, frames: Any, options: Any) -> Any:
        sizes.append(len(frames))
        return run(self, frames, options)

    with patch.object(Model, "predict_frames", counting):
        result = measure(Turn(str(tiny_weights), PHOTOS, runs=3, warmup=2, batch=batch))
    assert sizes == [batch] * 5
    assert {step: len(times) for step, times in result.times_ms.items()} == dict.fromkeys(STEPS, 3)


def test_steps_are_within_the_total_of_their_run(tiny_weights: Path) -> None:
    result = measure(Turn(str(tiny_weights), PHOTOS, runs=4, warmup=0, batch=2))
    for *steps, total in zip(*(result.times_ms[step] for step in STEPS), strict=True):
        assert 0 < sum(steps) <= total
        assert min(steps) > 0


def test_pictures_go_on_where_the_last_turn_ended(tiny_weights: Path, tmp_path: Path) -> None:
    pictures = [str(write_picture(tmp_path / f"{i}.png", i)) for i in range(3)]
    seen: list[str] = []
    run = Model.predict_frames

    def watching(self: Model, frames: Any, options: Any) -> Any:
        seen.extend(Path(frame.source).stem for frame in frames)
        return run(self, frames, options)

    with patch.object(Model, "predict_frames", watching):
        measure(Turn(str(tiny_weights), tuple(pictures), runs=4, warmup=0, first=2))
    assert seen == ["2", "0", "1", "2"]


def test_a_model_is_timed_in_a_process_of_its_own(tiny_onnx: Path) -> None:
    options = replace(FAST, runs=7, run_options={"threads": 1})
    result = benchmark(tiny_onnx, options)
    (model,) = result.models
    assert model.latency("network").count == 7
    assert model.turns[0].execution == {"provider": "CPUExecutionProvider", "threads": "1"}
    assert model.bytes == tiny_onnx.stat().st_size
    assert (model.turns[0].image_size, model.batch, model.turns[0].pictures) == ((96, 160), 1, 3)
    # The pictures lie in the memory of that process.
    assert model.peak_rss_mb is not None
    assert model.turns[0].pictures_mb < model.peak_rss_mb


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(BenchmarkOptions(runs=0), "0 runs", id="no-runs"),
        pytest.param(BenchmarkOptions(warmup=-1), "-1 warm-up", id="negative-warm-up"),
        pytest.param(BenchmarkOptions(val=Path("val.json")), "folder of a build", id="val-of-one-model"),
        pytest.param(replace(FAST, image_size=(320, 320)), "takes 96 160", id="size-of-a-fixed-file"),
        pytest.param(replace(FAST, run_options={"thread": 1}), "thread", id="unknown-run-option"),
        pytest.param(replace(FAST, pictures=("nowhere.jpg",)), "nowhere.jpg", id="no-such-picture"),
    ],
)
def test_a_wrong_request_is_refused(tiny_onnx: Path, options: BenchmarkOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        benchmark(tiny_onnx, options)


def test_a_broken_picture_is_refused_by_its_name(tiny_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    with pytest.raises(SourceError, match=r"broken\.jpg"):
        measure(Turn(str(tiny_weights), (str(tmp_path / "broken.jpg"),), runs=1, warmup=0))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        pytest.param("import sys; print('driver says no'); sys.exit(9)", ["exit code 9", "driver says no"], id="exit"),
        pytest.param("raise RuntimeError('no memory left')", ["exit code 1", "no memory left"], id="exception"),
        pytest.param("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", ["SIGKILL"], id="signal"),
        pytest.param("import sys; sys.exit(0)", ["exit code 0"], id="no-answer"),
    ],
)
def test_a_process_that_breaks_down_is_reported_with_its_last_lines(
    tiny_onnx: Path, tmp_path: Path, script: str, words: list[str]
) -> None:
    # A runtime that breaks down when it is imported.
    (tmp_path / "onnxruntime.py").write_text(script)
    with (
        patch.dict(os.environ, {"PYTHONPATH": str(tmp_path)}),
        pytest.raises(StageError) as caught,
    ):
        run_turn(Turn(str(tiny_onnx), PHOTOS, runs=1, warmup=0))
    assert (caught.value.exit_code, caught.value.outcome) == (4, "run_failed")
    for word in (tiny_onnx.name, *words):
        assert word in caught.value.message


def test_only_the_last_lines_of_a_long_trace_are_shown() -> None:
    printed = "\n".join(f"line {i}" for i in range(100))
    error = benchmark_turn._broken(Turn("m.onnx", (), 1, 0), -6, printed)
    assert error.message.splitlines()[0] == "m.onnx: the process that timed it was ended by SIGABRT"
    assert error.message.splitlines()[1:] == [f"  | line {i}" for i in range(92, 100)]


def test_a_build_times_what_it_can_and_says_what_it_could_not(build: Path) -> None:
    result = benchmark(build, FAST)
    assert {model.name for model in result.models} == {"reference", "good"}
    assert all([len(turn.times_ms["total"]) for turn in model.turns] == [1, 1] for model in result.models)
    assert isinstance(result.failures["damaged"], ArtifactError | UsageError)
    assert result.not_built == {"absent": "env_missing"}
    assert [model.latency().p50 for model in result.models] == sorted(m.latency().p50 for m in result.models)
    error = result.error()
    assert error is not None
    assert error.exit_code == 2


@pytest.mark.parametrize(
    ("runs", "turns"),
    [
        pytest.param(50, [17, 17, 16], id="uneven"),
        pytest.param(3, [1, 1, 1], id="one-each"),
        pytest.param(2, [1, 1], id="fewer-than-rounds"),
    ],
)
def test_models_of_a_build_take_turns(build: Path, runs: int, turns: list[int]) -> None:
    taken: list[tuple[str, int, int]] = []

    def noted(turn: Turn) -> TurnResult:
        taken.append((Path(turn.model).stem, turn.first, turn.runs))
        return turn_of([1.0] * turn.runs)

    with patch("edgeseg.benchmark.run_turn", noted):
        benchmark(build, BenchmarkOptions(runs=runs))
    firsts = [sum(turns[:index]) for index in range(len(turns))]
    names = ("weights", "good", "damaged")
    assert taken == [(name, first, count) for first, count in zip(firsts, turns, strict=True) for name in names]


def test_a_validated_build_keeps_the_ap_beside_each_model(build: Path, tmp_path: Path) -> None:
    write_picture(tmp_path / "one.png")
    square = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0}
    content = {
        "images": [{"id": 1, "file_name": "one.png", "height": 96, "width": 160}],
        "annotations": [{**square, "segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]]}],
        "categories": [{"id": index, "name": name} for index, name in enumerate(NAMES, start=1)],
    }
    (tmp_path / "val.json").write_text(json.dumps(content))
    folder = Path(shutil.copytree(build, tmp_path / "build"))
    with patch("edgeseg.benchmark.run_turn", lambda turn: turn_of([1.0] * turn.runs)):
        result = benchmark(folder, replace(FAST, val=tmp_path / "val.json"))
    found = {model.name: model.accuracy for model in result.models}
    judged = json.loads((folder / "good" / "good.val.json").read_text())
    assert found["good"] is not None
    assert found["good"] == Accuracy(judged["seg"]["AP"], judged["box"]["AP"], 1, str(tmp_path / "val.json"))
    assert found["reference"] is not None
    # What cannot be opened has no AP, and is said.
    assert found["damaged"] is None
    assert set(result.failures) == {"damaged"}


def test_a_model_whose_times_move_is_warned_of(build: Path) -> None:
    def noted(turn: Turn) -> TurnResult:
        # 20 % more in the last third of the artifact, 5 % more in the reference's.
        slower = {"good": 12.0, "weights": 10.5}.get(Path(turn.model).stem, 10.0)
        return turn_of([slower if turn.first >= 4 else 10.0] * turn.runs)

    with patch("edgeseg.benchmark.run_turn", noted):
        result = benchmark(build, BenchmarkOptions(runs=6))
    moved = [warning for warning in result.warnings if "throttling or noise" in warning]
    assert moved == [
        "good: the network's time changed by +20 % from the first third of the runs to the last: throttling or noise"
    ]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="no-json"),
        pytest.param("[]", id="no-object"),
        pytest.param('{"schema": 99}', id="newer-schema"),
        pytest.param('{"schema": 1, "targets": [{"id": "a"}]}', id="fields-missing"),
    ],
)
def test_a_build_json_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "build.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"build\.json"):
        benchmark(tmp_path, FAST)


def test_ratio_is_the_median_over_the_references() -> None:
    fast, reference = speed_of("fast", 10, 5), speed_of("reference", 40, 9)
    result = result_of(fast, reference)
    assert (result.ratio(fast), result.ratio(reference)) == (0.25, 1.0)
    assert result_of(fast).ratio(fast) is None


def test_a_model_adds_up_its_turns() -> None:
    turns = (turn_of([10.0, 20.0], batch=2, peak_rss_mb=80.0), turn_of([30.0], batch=2, peak_rss_mb=120.0))
    model = ModelSpeed(Subject("a", Path("a")), turns, 2_500_000)
    assert model.times_ms("network") == [10.0, 20.0, 30.0]
    assert (model.peak_rss_mb, model.megabytes) == (120.0, 2.5)
    # Six pictures in 60 ms.
    assert model.pictures_per_second == pytest.approx(100.0)


def test_the_error_of_several_failures_is_the_failed_run() -> None:
    failures: dict[str, EdgesegError] = {"a": UsageError("wrong"), "b": StageError("run_failed", "crashed")}
    assert replace(result_of(), failures=failures).error() is failures["b"]
    assert result_of().error() is None


def test_json_holds_every_number_and_the_raw_times(tmp_path: Path) -> None:
    models = (speed_of("fast", 10, 5, 0.3, folder=tmp_path), speed_of("reference", 40, 9, 0.4, folder=tmp_path))
    result = result_of(*models, folder=tmp_path)
    as_json, as_svg = write_benchmark(result)
    content = json.loads(as_json.read_text())
    assert content == benchmark_json(result)
    assert content["schema"] == 1
    assert content["pareto"] == {"ap_ms": ["fast", "reference"], "ap_mb": ["fast", "reference"]}
    first = content["models"][0]
    assert first["latency_ms"]["total"] == {"p50": 10, "p95": 10, "p99": 10, "mean": 10, "min": 10, "count": 3}
    assert first["path"] == "fast.onnx"
    assert first["times_ms"] == {step: [10.0, 10.0, 10.0] for step in STEPS}
    assert (first["bytes"], first["ratio_to_reference"], first["accuracy"]["mask_ap"]) == (5_000_000, 0.25, 0.3)
    assert content["machine"]["before"]["temperature_c"] is None
    assert content["machine"]["throttled"] is None
    assert as_svg.read_text().startswith("<svg ")


def test_accuracy_is_read_from_an_earlier_validation(tmp_path: Path) -> None:
    model = tmp_path / "a.onnx"
    model.write_bytes(b"")
    assert read_accuracy(model) is None
    content = {"seg": {"AP": 0.31}, "box": {"AP": 0.42}, "pictures": 128, "data": "val.json"}
    (tmp_path / "a.val.json").write_text(json.dumps(content))
    found = read_accuracy(model)
    assert found is not None
    assert (found.mask_ap, found.box_ap, found.pictures, found.data) == (0.31, 0.42, 128, "val.json")


def test_accuracy_older_than_the_model_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = tmp_path / "a.onnx"
    model.write_bytes(b"")
    val_file(model).write_text('{"seg": {"AP": 0.31}, "box": {"AP": 0.42}, "pictures": 1, "data": "d"}')
    os.utime(val_file(model), (1, 1))
    with caplog.at_level("WARNING"):
        assert read_accuracy(model) is None
    assert "older than" in caplog.text


def test_accuracy_that_is_no_validation_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "a.onnx"
    model.write_bytes(b"")
    val_file(model).write_text('{"AP": 1}')
    with pytest.raises(UsageError, match=r"a\.val\.json"):
        read_accuracy(model)
