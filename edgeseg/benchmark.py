"""How fast and how large: one model, or every artifact of a build beside its reference.

result = benchmark(Path("n.onnx"), BenchmarkOptions(runs=100, run_options={"threads": 1}))
result.models[0].latency("total").p95
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.benchmark_accuracy import Accuracy, Bar, read_accuracy, validate_model
from edgeseg.benchmark_turn import Turn, TurnResult, run_turn
from edgeseg.errors import ArtifactError, EdgesegError, UsageError
from edgeseg.files import bytes_of
from edgeseg.machine import Machine, MachineState, read_machine, read_state, throttled
from edgeseg.metrics.latency import Latency, drift_of, latency_of, per_second
from edgeseg.photos import shipped_photos

if TYPE_CHECKING:
    from edgeseg.data.dataset import Dataset

logger = logging.getLogger(__name__)

ROUNDS = 3
"""Turns of each model of a build: A B C A B C A B C, so that a machine that slows down slows all alike."""

DRIFT_LIMIT = 0.1
"""Difference between the first and the last third of the runs above which the times are not to be trusted."""

BUILD_FILE = "build.json"
BUILD_SCHEMA = 1
REFERENCE = "reference"


@dataclass(frozen=True)
class BenchmarkOptions:
    """How to time.

    Attributes:
        runs: timed runs of each model.
        warmup: runs at the start of each process that are not counted.
        pictures: sources as `predict` takes them; empty for the photos that ship with edgeseg.
        image_size: (height, width) of the letterbox in pixels; None takes the model's own.
        batch: pictures per run; None takes the model's own.
        run_options: of the runtimes, such as ``{"threads": 2}``.
        val: data set to validate every artifact of a build on; None reads earlier validations beside them.
        split: part of that set, where it is a YOLO-seg one; None takes ``val``.
        images: folder of its pictures, where it is a COCO one; None looks for it.
    """

    runs: int = 50
    warmup: int = 5
    pictures: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    batch: int | None = None
    run_options: Mapping[str, Any] = field(default_factory=dict)
    val: Path | None = None
    split: str | None = None
    images: Path | None = None


@dataclass(frozen=True)
class Subject:
    """A model to time.

    Attributes:
        name: a target's id, ``reference``, or a file name.
        path: of the weights or the artifact.
        outcome: of its target in the build; ``passed`` for a model that no build speaks of.
    """

    name: str
    path: Path
    outcome: str = "passed"


@dataclass(frozen=True)
class ModelSpeed:
    """One model's numbers.

    Attributes:
        subject: which model.
        turns: one per process, in the order of time.
        bytes: size of the file, or of all files of the folder.
        accuracy: AP, None where nothing is known.
    """

    subject: Subject
    turns: tuple[TurnResult, ...]
    bytes: int
    accuracy: Accuracy | None = None

    @property
    def name(self) -> str:
        """As the tables call it."""
        return self.subject.name

    @property
    def megabytes(self) -> float:
        """Size in 10^6 bytes."""
        return self.bytes / 1e6

    @property
    def batch(self) -> int:
        """Pictures per run."""
        return self.turns[0].batch

    @property
    def peak_rss_mb(self) -> float | None:
        """Largest peak memory of its processes, 10^6 bytes; None where the system does not tell."""
        found = [turn.peak_rss_mb for turn in self.turns if turn.peak_rss_mb is not None]
        return max(found) if found else None

    @property
    def pictures_per_second(self) -> float:
        """Throughput of runs one after the other, all steps included."""
        return per_second(self.times_ms("total"), self.batch)

    @property
    def drift(self) -> float | None:
        """`edgeseg.metrics.latency.drift_of` of the network, whose work is the same for every picture."""
        return drift_of(self.times_ms("network"))

    def times_ms(self, step: str) -> list[float]:
        """Milliseconds of every timed run, of one of `edgeseg.benchmark_turn.STEPS`."""
        return [time for turn in self.turns for time in turn.times_ms[step]]

    def latency(self, step: str = "total") -> Latency:
        """The spread of a step's times."""
        return latency_of(self.times_ms(step))


@dataclass(frozen=True)
class BenchmarkResult:
    """All that was timed.

    Attributes:
        path: the model or the build's folder.
        is_build: whether it is a folder of a build.
        options: how it was timed.
        models: fastest median first.
        failures: name to error, of models that could not be timed or not be validated.
        not_built: target id to outcome, of targets of the build without an artifact.
        machine: where.
        before: the machine's state before the first run.
        after: the state after the last.
        warnings: why the numbers may mislead, a sentence each.
    """

    path: Path
    is_build: bool
    options: BenchmarkOptions
    models: tuple[ModelSpeed, ...]
    failures: Mapping[str, EdgesegError]
    not_built: Mapping[str, str]
    machine: Machine
    before: MachineState
    after: MachineState
    warnings: tuple[str, ...]

    @property
    def reference(self) -> ModelSpeed | None:
        """The build's weights in PyTorch, None where they were not timed."""
        return next((model for model in self.models if self.is_build and model.name == REFERENCE), None)

    def ratio(self, model: ModelSpeed) -> float | None:
        """Median time of `model` over the reference's: below 1 is faster. None without a reference."""
        if self.reference is None:
            return None
        return model.latency().p50 / self.reference.latency().p50

    def error(self) -> EdgesegError | None:
        """What the run ends with: a failed run before anything else that kept a model from being timed."""
        failed = sorted(self.failures.values(), key=lambda error: -error.exit_code)
        return failed[0] if failed else None


@contextlib.contextmanager
def no_bar(name: str, total: int) -> Iterator[Callable[[], None]]:
    """Shows no progress."""
    yield lambda: None


def benchmark(path: Path, options: BenchmarkOptions | None = None, *, bar: Bar = no_bar) -> BenchmarkResult:
    """Time a model, or every artifact of a build and its reference in turn, each in processes of its own.

    Args:
        path: weights, an artifact, or a folder with a `build.json`.
        options: how; None for the defaults.
        bar: shows the progress of a validation. Timing shows none, since it would take time itself.

    Raises:
        UsageError: an option is wrong; a single model cannot be opened or does not take what is asked.
        EnvironmentMissingError: the runtime of a single model is not here.
        StageError: the process of a single model broke down. Of a build, the failures are in the result.
    """
    path, options = Path(path), options or BenchmarkOptions()
    is_build = (path / BUILD_FILE).is_file()
    _check(options, is_build)
    subjects, not_built = _subjects(path) if is_build else ((Subject(path.name, path),), {})
    dataset = None
    if options.val is not None:
        from edgeseg.data.open import open_dataset

        # Before the timing, so that a wrong name costs no minutes.
        dataset = open_dataset(options.val, split=options.split or "val", images=options.images)
    machine, before = read_machine(), read_state()
    turns, failures = _take_turns(subjects, options, ROUNDS if is_build else 1)
    after = read_state()
    if failures and not is_build:
        raise failures[path.name]
    timed = [subject for subject in subjects if subject.name not in failures]
    if dataset is not None:
        failures |= _validate(timed, dataset, options, bar)
    models = [_speed(subject, turns[subject.name], is_build) for subject in timed]
    models.sort(key=lambda model: model.latency().p50)
    warnings = (*_state_warnings(machine, before, after), *_model_warnings(models))
    return BenchmarkResult(
        path, is_build, options, tuple(models), failures, not_built, machine, before, after, warnings
    )


def _check(options: BenchmarkOptions, is_build: bool) -> None:
    if options.runs < 1:
        raise UsageError(f"{options.runs} runs: expected at least 1")
    if options.warmup < 0:
        raise UsageError(f"{options.warmup} warm-up runs: expected 0 or more")
    if options.val is not None and not is_build:
        raise UsageError(
            "a data set is for the folder of a build, whose AP and speed are drawn together",
            hint="`edgeseg val MODEL DATA` validates a single model",
        )
    if options.val is None and (options.split, options.images) != (None, None):
        raise UsageError(
            f"{'split' if options.split else 'images'} {options.split or options.images}: of which data set?",
            hint="--val DATA names the one to validate on",
        )


def _subjects(folder: Path) -> tuple[tuple[Subject, ...], dict[str, str]]:
    """The reference and every artifact of a build, and the outcome of targets that have none."""
    file = folder / BUILD_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["schema"] != BUILD_SCHEMA:
            raise ArtifactError(
                f"{file}: schema {content['schema']}, expected {BUILD_SCHEMA}",
                hint="use the edgeseg that wrote it, or build again",
            )
        built = [target for target in content["targets"] if target["artifact"]]
        artifacts = [Subject(t["id"], folder / t["artifact"]["path"], t["outcome"]) for t in built]
        reference = Subject(REFERENCE, folder / content["weights"]["path"])
        missing = {t["id"]: t["outcome"] for t in content["targets"] if not t["artifact"]}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(f"{file}: is not readable: {error!r}", hint="build again") from error
    return (reference, *artifacts), missing


def _take_turns(
    subjects: tuple[Subject, ...], options: BenchmarkOptions, rounds: int
) -> tuple[dict[str, list[TurnResult]], dict[str, EdgesegError]]:
    """Every model in each round; one that failed is left out of the later ones."""
    turns: dict[str, list[TurnResult]] = {subject.name: [] for subject in subjects}
    failures: dict[str, EdgesegError] = {}
    first = 0
    for number, runs in enumerate(_split(options.runs, rounds), start=1):
        for subject in subjects:
            if subject.name in failures:
                continue
            logger.info("%s: turn %d of %d, %d runs", subject.name, number, min(rounds, options.runs), runs)
            try:
                turns[subject.name].append(run_turn(_turn(subject, options, runs, first)))
            except EdgesegError as error:
                failures[subject.name] = error
        first += runs
    return turns, failures


def _split(runs: int, rounds: int) -> list[int]:
    """Runs of each round, as even as can be, none of them empty."""
    rounds = min(rounds, runs)
    return [runs // rounds + (index < runs % rounds) for index in range(rounds)]


def _turn(subject: Subject, options: BenchmarkOptions, runs: int, first: int) -> Turn:
    return Turn(
        model=str(subject.path),
        pictures=options.pictures or tuple(str(path) for path in shipped_photos()),
        runs=runs,
        warmup=options.warmup,
        first=first,
        image_size=options.image_size,
        batch=options.batch,
        run_options=options.run_options,
    )


def _validate(
    subjects: list[Subject], dataset: Dataset, options: BenchmarkOptions, bar: Bar
) -> dict[str, EdgesegError]:
    """Validate each model; returns the errors of those that could not be, whose times are kept."""
    failures: dict[str, EdgesegError] = {}
    for subject in subjects:
        try:
            validate_model(subject.path, dataset, options.run_options, bar)
        except EdgesegError as error:
            failures[subject.name] = error
    return failures


def _speed(subject: Subject, turns: list[TurnResult], is_build: bool) -> ModelSpeed:
    return ModelSpeed(subject, tuple(turns), bytes_of(subject.path), read_accuracy(subject.path) if is_build else None)


def _state_warnings(machine: Machine, before: MachineState, after: MachineState) -> Iterator[str]:
    if before.load is not None and before.load > machine.cores:
        yield f"the machine was busy before: load {before.load:.1f} on {machine.cores} cores"
    if throttled(before, after):
        yield "heat slowed the cores down while they were timed"


def _model_warnings(models: list[ModelSpeed]) -> Iterator[str]:
    for model in models:
        if model.drift is not None and abs(model.drift) > DRIFT_LIMIT:
            yield (
                f"{model.name}: the network's time changed by {100 * model.drift:+.0f} % from the first third of the "
                "runs to the last: throttling or noise"
            )
    data = {model.accuracy.data for model in models if model.accuracy is not None}
    if len(data) > 1:
        yield f"AP comes from different data sets, which do not compare: {', '.join(sorted(data))}"
