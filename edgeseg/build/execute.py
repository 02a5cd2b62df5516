"""Run a plan: what targets share, each target's stages, then what is timed, the gates and the bundles.

One target's failure never loses another's work.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgeseg import __version__, registry
from edgeseg.build.admission import Admission, available_memory_mb
from edgeseg.build.bundling import bundle_target
from edgeseg.build.folder_lock import locked
from edgeseg.build.plan import Plan
from edgeseg.build.running import find_or_run
from edgeseg.build.session import ProcessSession, Session
from edgeseg.build.stage import attempt
from edgeseg.build.steps import SHARED_STEPS
from edgeseg.build.target_build import Listener, TargetBuild, TargetRun
from edgeseg.card.resolve import ResolvedTarget
from edgeseg.environment import installed_version
from edgeseg.environments.choose import choose
from edgeseg.environments.contract import Environment, Isolation
from edgeseg.environments.process import ProcessEnvironment
from edgeseg.errors import EdgesegError, EnvironmentMissingError, GateError, StageError, UsageError
from edgeseg.files import sha256_of

REPORTED_PACKAGES = {"numpy": "numpy", "opencv-python-headless": "cv2", "torch": "torch"}
"""Distribution to the module that it is imported as."""

GATES_MISSED = ("parity_failed", "metric_failed", "budget_failed")
"""Outcomes of a target that was built, but does not meet a gate."""

SessionMaker = Callable[[Environment, ResolvedTarget | None, Path, Sequence[Path]], Session]
"""From environment, target (None for what all share), scratch folder and readable folders to a session."""


def process_session(
    environment: Environment, target: ResolvedTarget | None, scratch: Path, readable: Sequence[Path]
) -> Session:
    """A session on this machine."""
    return ProcessSession(environment, target.format if target else "", scratch, readable)


@dataclass(frozen=True)
class Place:
    """Where a target's stages run.

    Attributes:
        environment: with its tools.
        deferral: why the artifact can be neither finished nor run there; empty where it can.
    """

    environment: Environment
    deferral: str = ""


def place_here(target: ResolvedTarget, options: ExecuteOptions) -> Place:
    """This machine.

    Raises:
        EnvironmentMissingError: the target has no environment here.
    """
    found = choose(registry.entries()[target.format], options.isolation, options.engine)
    return Place(found, registry.load(target.format).deferral())


@dataclass(frozen=True)
class ExecuteOptions:
    """How a plan runs.

    Attributes:
        isolation: where targets' stages run.
        engine: command of the container engine; empty to look for one.
        jobs: targets at once.
        force: stages to run in any case; ``all`` for every one.
        keep_going: run what still can run of a target after one of its stages failed.
        session: makes what runs a target's stages.
        place: finds where they run.
        memory_mb: that targets may use together, 10^6 bytes; None for what is free here.
    """

    isolation: Isolation = "auto"
    engine: str = ""
    jobs: int = 1
    force: frozenset[str] = frozenset()
    keep_going: bool = False
    session: SessionMaker = process_session
    place: Callable[[ResolvedTarget, ExecuteOptions], Place] = place_here
    memory_mb: float | None = None


@dataclass
class Build:
    """A finished build.

    Attributes:
        plan: what was asked.
        weights: facts about the reference.
        weights_sha256: of the build's own safetensors.
        reference: AP of the reference; empty where it was not judged.
        targets: in the plan's order.
        environment: versions and platform.
        finished: when, UTC, ISO 8601.
        isolation: as asked.
        shared_ran: stages of all targets that were not taken from an earlier build.
    """

    plan: Plan
    weights: dict[str, Any]
    weights_sha256: str
    reference: dict[str, Any]
    targets: list[TargetBuild]
    environment: dict[str, str]
    finished: str = ""
    isolation: Isolation = "auto"
    shared_ran: tuple[str, ...] = ()

    @property
    def ran(self) -> list[str]:
        """Stages, with their target, of everything that was not taken from an earlier build."""
        own = [f"{build.target.id} {stage}" for build in self.targets for stage in build.seconds]
        return [*self.shared_ran, *own]

    def error(self) -> EdgesegError | None:
        """What the build ends with: a failed stage before a missed gate, that before a missing environment."""
        by_outcome = {build.outcome: build for build in reversed(self.targets)}
        failed = [b for b in self.targets if b.outcome not in ("passed", "deferred", "env_missing", *GATES_MISSED)]
        demanded = [b for b in self.targets if b.outcome == "deferred" and b.target.require == "device"]
        if failed:
            return StageError(failed[0].outcome, f"{failed[0].target.id}: {failed[0].message}", hint=failed[0].hint)
        missed = [(outcome, GateError) for outcome in GATES_MISSED]
        for outcome, kind in (*missed, ("env_missing", EnvironmentMissingError)):
            if outcome in by_outcome:
                build = by_outcome[outcome]
                return kind(f"{build.target.id}: {outcome}: {build.message}", hint=build.hint)
        if demanded:
            message = f"{demanded[0].target.id}: deferred, and the card says `require: device`: {demanded[0].message}"
            return EnvironmentMissingError(message, hint=demanded[0].hint)
        return None


def train(plan: Plan, *, force: bool = False) -> Plan:
    """Train the card's weights where it asks for that, or go on with a training that was cut off.

    Raises:
        StageError: the training failed.
        UsageError: the folder holds a training of another card, or the data cannot be read.
    """
    if plan.weights is not None:
        return plan
    from edgeseg.build.training import train_weights

    with locked(plan.folder, plan.scratch):
        return plan.with_weights(train_weights(plan.train_request(), force=force))


def execute(plan: Plan, options: ExecuteOptions | None = None, listener: Listener = lambda *_: None) -> Build:
    """Run the shared stages, then each target's.

    Raises:
        UsageError: the weights do not fit the card; another build works in the folder.
        EnvironmentMissingError: a package that reading the weights needs is absent.
        StageError: the reference could not be validated.
        OutputError: the folder cannot be written.
    """
    options = options or ExecuteOptions()
    with locked(plan.folder, plan.scratch):
        return _execute(plan, options, listener)


def environment() -> dict[str, str]:
    """Where the build ran."""
    found = {name: installed_version(name, module) for name, module in REPORTED_PACKAGES.items()}
    return {
        "edgeseg": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        **{name: version for name, version in found.items() if version},
    }


def _execute(plan: Plan, options: ExecuteOptions, listener: Listener) -> Build:
    shared_ran: list[str] = []

    def tell(target: str, stage: str, outcome: str) -> None:
        if not target and outcome == "passed":
            shared_ran.append(stage)
        listener(target, stage, outcome)

    weights, facts = _weights(plan, options, tell)
    builds = [TargetBuild(target) for target in plan.targets]
    places = [_place(build, options) for build in builds]
    reference, numbers = _reference(plan, weights, options, tell, wanted=any(places))
    shared = {"weights": weights, **reference}
    pairs = [
        (build, _run_of(plan, build, found, shared, options, listener))
        for build, found in zip(builds, places, strict=True)
        if found is not None
    ]
    room = Admission(options.jobs, available_memory_mb() if options.memory_mb is None else options.memory_mb)
    with ThreadPoolExecutor(options.jobs) as pool:
        done = [pool.submit(_stages, build, run, options, room) for build, run in pairs]
        try:
            for one in done:
                one.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for _, run in pairs:
                run.stop.set()
                for session in run.sessions:
                    session.close()
            raise
    for build, run in pairs:
        _finish(build, run, options)
    for build, found in zip(builds, places, strict=True):
        if found is None:
            listener(build.target.id, "", build.outcome)
    finished = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Build(
        plan, facts, sha256_of(weights), numbers, builds, environment(), finished, options.isolation, tuple(shared_ran)
    )


def _stages(build: TargetBuild, run: TargetRun, options: ExecuteOptions, room: Admission) -> None:
    """All stages of a target that may run beside others'."""
    with room.admitted(build.target.id, build.target.limits.memory_mb), _session(run, options) as session:
        run.sessions.append(session)
        run.run(build, session, alone=False)


def _finish(build: TargetBuild, run: TargetRun, options: ExecuteOptions) -> None:
    """What runs alone: timing; then the gates, and the bundle of what its device has to finish."""
    with _session(run, options) as session:
        run.run(build, session, alone=True)
    run.judge(build)
    if run.deferral and build.outcome == "passed":
        bundle_target(build, run)


@contextlib.contextmanager
def _session(run: TargetRun, options: ExecuteOptions) -> Any:
    scratch = run.plan.scratch / run.target.id
    session = options.session(run.environment, run.target, scratch, run.plan.readable())
    with contextlib.closing(session):
        yield session


def _weights(plan: Plan, options: ExecuteOptions, listener: Listener) -> tuple[Path, dict[str, Any]]:
    step = SHARED_STEPS["weights"]
    listener("", step.name, "")
    result = find_or_run(
        plan.weights_request(),
        lambda request: attempt(request, step.work, step.failure),
        plan.scratch,
        force=bool({step.name, "all"} & options.force),
    )
    listener("", step.name, "cached" if result.cached else result.outcome)
    if not result.passed:
        kind = EnvironmentMissingError if result.outcome == "env_missing" else UsageError
        raise kind(result.message, hint=result.hint)
    return result.outputs["weights"], dict(result.facts)


def _reference(
    plan: Plan, weights: Path, options: ExecuteOptions, listener: Listener, *, wanted: bool
) -> tuple[dict[str, Path], dict[str, Any]]:
    """AP of the reference, where there are validation pictures and something to compare with it."""
    if plan.validation is None or not wanted:
        return {}, {}
    step = SHARED_STEPS["reference"]
    here = ProcessEnvironment("")
    listener("", step.name, "")
    limits = plan.card.card.limits
    with contextlib.closing(options.session(here, None, plan.scratch, plan.readable())) as session:
        result = find_or_run(
            plan.reference_request(weights),
            lambda request: session.run(request, step.failure, limits),
            plan.scratch,
            force=bool({step.name, "all"} & options.force),
        )
    listener("", step.name, "cached" if result.cached else result.outcome)
    if not result.passed:
        raise StageError(result.outcome, f"AP of the reference: {result.message}", hint=result.hint)
    return dict(result.outputs), dict(result.facts)


def _place(build: TargetBuild, options: ExecuteOptions) -> Place | None:
    """Where a target's stages run; None after noting that there is nowhere."""
    try:
        place = options.place(build.target, options)
    except EnvironmentMissingError as error:
        build.fail("env_missing", error.message, error.hint)
        return None
    build.environment = {
        "kind": place.environment.kind,
        "description": place.environment.describe(),
        "versions": dict(place.environment.versions),
    }
    return place


def _run_of(
    plan: Plan,
    build: TargetBuild,
    place: Place,
    shared: dict[str, Path],
    options: ExecuteOptions,
    listener: Listener,
) -> TargetRun:
    target = registry.load(build.target.format)
    return TargetRun(
        plan=plan,
        target=build.target,
        environment=place.environment,
        shared=shared,
        force=options.force,
        keep_going=options.keep_going,
        deferral=place.deferral,
        finished_by_device=bool(target.capabilities.compile_hardware),
        portable=target.capabilities.portable,
        listener=listener,
    )
