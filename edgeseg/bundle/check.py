"""Finish a bundle's artifact here, verify it against the recorded reference, time it, judge its gates."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeseg import registry
from edgeseg.benchmark_turn import Turn, run_turn
from edgeseg.bundle.manifest import GOLDEN_FOLDER, BundleManifest
from edgeseg.bundle.portable import open_portable
from edgeseg.bundle.result import Trial, result_json
from edgeseg.bundle.unpack import unpack
from edgeseg.errors import ArtifactError, EdgesegError, EnvironmentMissingError, StageError, UsageError
from edgeseg.export import artifact_sha256
from edgeseg.files import bytes_of, make_folder
from edgeseg.gates import INSPECTED, gates_for, judge
from edgeseg.metrics.latency import spread
from edgeseg.predict import Model
from edgeseg.recording.playback import Recording
from edgeseg.report.schema import verify_json
from edgeseg.target import Artifact, Options, Target
from edgeseg.verify import VerifyOptions, verify

logger = logging.getLogger(__name__)

RUNS = 20
"""Timed runs by default: enough for a median, and for a 95th percentile that is no single run."""

WARMUP = 3

Progress = Callable[[str], None]


@dataclass(frozen=True)
class _Place:
    """Where things are while a bundle is checked.

    Attributes:
        folder: the unpacked bundle.
        finished: what the target compiles goes here.
        worst: pictures of the worst instances go here; None writes none.
        run_options: of the runtime.
        runs: timed runs; 0 times nothing.
    """

    folder: Path
    finished: Path
    worst: Path | None = None
    run_options: Mapping[str, Any] = field(default_factory=dict)
    runs: int = RUNS


def verify_bundle(
    bundle: Path,
    *,
    run_options: Mapping[str, Any] | None = None,
    runs: int = RUNS,
    progress: Progress = lambda _: None,
    finished: Path | None = None,
    worst: Path | None = None,
) -> dict[str, Any]:
    """Check a bundle on this machine, with the core install and the artifact's runtime alone.

    Args:
        bundle: the tar.
        run_options: of the runtime, such as ``{"threads": 4}``.
        runs: timed runs; 0 times nothing, and judges no gate on time or memory.
        progress: called with each picture's name.
        finished: folder that keeps what the target compiles here; None throws it away.
        worst: folder for pictures of the worst instances; None writes none.

    Returns:
        The content of `result.json`; its ``outcome`` says what became of it.

    Raises:
        ArtifactError: the bundle is damaged or was changed. Nothing of it was opened.
        UsageError: a run option that the target does not have; a number of runs below 0.
    """
    if runs < 0:
        raise UsageError(f"{runs} runs: expected 0 or more")
    trial = Trial()
    with tempfile.TemporaryDirectory(prefix="edgeseg-bundle-") as name:
        place = _Place(Path(name) / "bundle", finished or Path(name) / "finished", worst, run_options or {}, runs)
        manifest = unpack(bundle, place.folder)
        try:
            _try(manifest, place, trial, progress)
        except StageError as error:
            trial.outcome, trial.message, trial.hint = error.outcome, error.message, error.hint
    return result_json(bundle, manifest, trial)


def _try(manifest: BundleManifest, place: _Place, trial: Trial, progress: Progress) -> None:
    portable = _portable(manifest, place.folder)
    recording = Recording(place.folder / GOLDEN_FOLDER)
    target = _target(manifest.format)
    options = registry.parse_run_options(target, dict(place.run_options))
    lacking = target.deferral()
    if lacking:
        raise StageError("env_missing", lacking, hint="take the bundle to a machine that has it")
    with _failing("compile_failed"):
        finished = target.finish(portable, make_folder(place.finished))
    _verify(manifest, (target, finished, options), recording, place, trial, progress)
    if trial.outcome == "passed":
        _judge_budget(manifest, finished, recording, place, trial)


def _target(name: str) -> Target:
    try:
        return registry.load(name)
    except UsageError as error:
        raise StageError(
            "env_missing",
            f"no target for the format {name!r} is installed here",
            hint="update edgeseg, or install the package that the bundle's maker has it from",
        ) from error
    except EnvironmentMissingError as error:
        raise StageError("env_missing", error.message, hint=error.hint) from error


def _portable(manifest: BundleManifest, folder: Path) -> Artifact:
    """The artifact that the manifest speaks of."""
    path = folder / manifest.artifact
    artifact = open_portable(path)
    said = (manifest.artifact_sha256, manifest.format, manifest.precision)
    found = (artifact_sha256(path), artifact.metadata.format, artifact.metadata.precision)
    if said != found:
        raise ArtifactError(
            f"{manifest.artifact}: sha256, format and precision are {found}, the manifest says {said}",
            hint="make the bundle again",
        )
    return artifact


def _verify(
    manifest: BundleManifest,
    opening: tuple[Target, Artifact, Options],
    recording: Recording,
    place: _Place,
    trial: Trial,
    progress: Progress,
) -> None:
    target, artifact, options = opening
    with _failing("load_failed"):
        runner = target.open(artifact, options)
    with contextlib.closing(Model(runner, Path(manifest.artifact))) as model:
        trial.threads = model.runner.execution.get("threads", "")
        asked = VerifyOptions(manifest.gates, recording.score, recording.iou)
        with _failing("run_failed"):
            report = verify(recording, model, recording.frames(), asked, progress)
    trial.verify = verify_json(report, place.worst)
    trial.gates += report.gates
    if not report.passed:
        trial.outcome, trial.message = "parity_failed", "; ".join(report.failures)
        trial.hint = "; ".join(report.diagnosis)


def _judge_budget(
    manifest: BundleManifest, artifact: Artifact, recording: Recording, place: _Place, trial: Trial
) -> None:
    """Time the artifact in a process of its own, and judge gates on time, memory and size."""
    measured = {"artifact_mb_max": bytes_of(artifact.path) / 1e6}
    if place.runs:
        trial.benchmark = _timed(artifact, recording, place)
        latency, peak = trial.benchmark["latency_ms"], trial.benchmark["peak_rss_mb"]
        measured |= {"latency_p50_ms_max": latency["p50"], "latency_p95_ms_max": latency["p95"]}
        measured |= {} if peak is None else {"peak_rss_mb_max": peak}
    measured |= _inspected(manifest, artifact)
    budget = judge(gates_for(manifest.precision, manifest.gates), measured)
    trial.gates += budget
    judged = {gate.name for gate in budget}
    trial.verify["not_judged"] = [name for name in trial.verify["not_judged"] if name not in judged]
    missed = [f"{gate.name} is {gate.value:.6g}, limit {gate.limit:g}" for gate in budget if not gate.met]
    if missed:
        trial.outcome, trial.message = "budget_failed", "; ".join(missed)
        trial.hint = "`edgeseg benchmark` shows which step takes the time; a lower precision is faster and smaller"


def _inspected(manifest: BundleManifest, artifact: Artifact) -> dict[str, float]:
    """Gate to what the target finds in the artifact, where one of these gates is asked: finding may need more packages
    than running."""
    if not any(getattr(manifest.gates, gate) is not None for gate in INSPECTED):
        return {}
    facts = _target(manifest.format).inspect(artifact).facts
    return {gate: float(facts[fact]) for gate, fact in INSPECTED.items() if fact in facts}


def _timed(artifact: Artifact, recording: Recording, place: _Place) -> dict[str, Any]:
    pictures = tuple(str(path) for path in recording.files)
    with _failing("run_failed"):
        found = run_turn(Turn(str(artifact.path), pictures, place.runs, WARMUP, run_options=place.run_options))
    return {
        "latency_ms": spread(found.times_ms["total"]),
        **({"device_ms": spread(found.device_ms)} if found.device_ms else {}),
        "runs_as": dict(found.execution),
        "runs": place.runs,
        "peak_rss_mb": found.peak_rss_mb,
        "open_ms": found.open_ms,
    }


@contextlib.contextmanager
def _failing(outcome: str) -> Iterator[None]:
    """What fails here becomes a `StageError` of this outcome, a missing runtime one of its own."""
    try:
        yield
    except StageError:
        raise
    except EnvironmentMissingError as error:
        raise StageError("env_missing", error.message, hint=error.hint) from error
    except EdgesegError as error:
        raise StageError(outcome, error.message, hint=error.hint) from error
    except Exception as error:
        # A vendor's runtime fails in any way; the result must tell of it all the same.
        logger.debug("%s", outcome, exc_info=True)
        raise StageError(
            outcome, f"{type(error).__name__}: {error}", hint="edgeseg verify -v shows the trace"
        ) from error
