"""One target through its stages."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeseg.build.judging import judge_target, measured_by
from edgeseg.build.plan import Plan
from edgeseg.build.running import find_or_run
from edgeseg.build.session import Session
from edgeseg.build.stage import StageRequest, StageResult
from edgeseg.build.steps import TARGET_STEPS, Step
from edgeseg.build.worker import code_version_of
from edgeseg.card.resolve import ResolvedTarget
from edgeseg.environments.contract import Environment
from edgeseg.export import sidecar_path
from edgeseg.files import write_atomically

logger = logging.getLogger(__name__)

Listener = Callable[[str, str, str], None]
"""Called with target id, stage and outcome: an empty outcome where the stage starts, ``cached`` where it need not."""

UNFINISHED = ("deferred", "env_missing", "skipped")


@dataclass
class TargetBuild:
    """What became of one target.

    Attributes:
        target: as resolved.
        outcome: one word of design.md, section 6.
        message: why it did not pass.
        hint: what to do.
        log: last lines of the stage that failed.
        artifact: the exported file; None where there is none.
        stages: stage name to its facts.
        seconds: stage name to how long it took; a stage that was taken from an earlier run is not there.
        skipped: stages that did not run since an earlier one failed.
        environment: kind, description and tool versions of where it ran.
        bundle: what finishes it on its device; None where it needs none.
    """

    target: ResolvedTarget
    outcome: str = "passed"
    message: str = ""
    hint: str = ""
    log: str = ""
    artifact: Path | None = None
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    bundle: Path | None = None

    def fail(self, outcome: str, message: str, hint: str = "", log: str = "") -> None:
        """Take an outcome; the first that is not ``passed`` stays."""
        if self.outcome == "passed":
            self.outcome, self.message, self.hint, self.log = outcome, message, hint, log


@dataclass(frozen=True)
class TargetRun:
    """What runs the stages of one target.

    Attributes:
        plan: the whole build's.
        target: which one.
        environment: where its stages run.
        shared: name to file: `weights` and, where AP is judged, `reference`.
        force: stages to run in any case; ``all`` for every one.
        keep_going: run what still can run after a stage failed.
        deferral: why its artifact cannot be finished or run here; empty where it can.
        finished_by_device: whether a compiler of the device makes the artifact of what `export` makes.
        portable: whether what `export` makes opens here all the same, and is proven before it is deferred.
        listener: is told of every stage.
        stop: set where the build was interrupted: nothing starts any more.
        sessions: that run its stages now, to be ended then.
    """

    plan: Plan
    target: ResolvedTarget
    environment: Environment
    shared: Mapping[str, Path]
    force: frozenset[str] = frozenset()
    keep_going: bool = False
    deferral: str = ""
    finished_by_device: bool = False
    portable: bool = False
    listener: Listener = lambda *_: None
    stop: threading.Event = field(default_factory=threading.Event)
    sessions: list[Session] = field(default_factory=list)

    def steps(self, *, alone: bool) -> Iterator[Step]:
        """Steps that are to run beside others, or alone."""
        for step in TARGET_STEPS:
            if step.alone != alone or (step.name == "compile" and not self.finished_by_device):
                continue
            if not (step.on_device and self.deferral) or (step.portable and self.portable):
                yield step

    def run(self, build: TargetBuild, session: Session, *, alone: bool) -> None:
        """Run these steps; what fails is in `build`."""
        for step in self.steps(alone=alone):
            if self.stop.is_set():
                raise KeyboardInterrupt
            if build.outcome != "passed" and not self.keep_going:
                build.skipped.append(step.name)
                continue
            request = self.request(step, build.artifact)
            if request is None:
                continue
            self._run(build, session, request, step)

    def request(self, step: Step, artifact: Path | None) -> StageRequest | None:
        """The request of a step; None where an input is not there."""
        files = {**self.shared, **({"artifact": artifact} if artifact else {})}
        if not files.keys() >= set(step.inputs):
            return None
        parameters, places = self.plan.parameters(self.target)[step.name]
        return StageRequest(
            stage=step.name,
            target=self.target.id,
            folder=self.plan.target_folder(self.target),
            inputs={name: files[name] for name in step.inputs},
            parameters=parameters,
            places=places,
            versions=self.environment.versions,
            code=code_version_of(self.target.format),
        )

    def judge(self, build: TargetBuild) -> None:
        """Hold what was measured against the gates."""
        if build.artifact is not None:
            self._take(build, "gates", self._found(self.gates_request(build.stages), judge_target))

    def gates_request(self, stages: Mapping[str, Mapping[str, Any]]) -> StageRequest:
        """The request of the stage that judges, from the facts of the others."""
        verified = stages.get("verify", {})
        measured = measured_by(stages)
        if self.deferral and self.finished_by_device:
            # The size that counts is that of what the device makes.
            measured.pop("artifact_mb_max", None)
        parameters = {
            "gates": self.target.gates.model_dump(exclude_none=True),
            "measured": measured,
            "problems": verified.get("problems", []),
            "diagnosis": verified.get("diagnosis", []),
            # A device judges the rest.
            "required": [] if self.deferral else list(self.target.asked),
        }
        folder = self.plan.target_folder(self.target)
        return StageRequest("gates", self.target.id, folder, {}, parameters, code=code_version_of(""))

    def _run(self, build: TargetBuild, session: Session, request: StageRequest, step: Step) -> None:
        def run(inner: StageRequest) -> StageResult:
            result = session.run(inner, step.failure, self.target.limits)
            if self.stop.is_set():
                # Whatever came of it came of being ended: no result.
                raise KeyboardInterrupt
            return result

        result = self._found(request, run)
        self._take(build, step.name, result)
        if step.name == "verify" and result.passed and build.artifact is not None:
            _add_parity(build.artifact, result.facts)

    def _found(self, request: StageRequest, run: Callable[[StageRequest], StageResult]) -> StageResult:
        self.listener(self.target.id, request.stage, "")
        forced = bool({request.stage, "all"} & self.force)
        result = find_or_run(request, run, self.plan.scratch / self.target.id, force=forced)
        self.listener(self.target.id, request.stage, "cached" if result.cached else result.outcome)
        return result

    def _take(self, build: TargetBuild, stage: str, result: StageResult) -> None:
        build.stages[stage] = dict(result.facts)
        build.artifact = result.outputs.get("artifact", build.artifact)
        if not result.cached:
            build.seconds[stage] = round(result.seconds, 3)
        if not result.passed:
            build.fail(result.outcome, result.message, result.hint, result.log)


def _add_parity(artifact: Path, facts: Mapping[str, Any]) -> None:
    """Tell the artifact's sidecar what parity was found; nothing is written where it says so already."""
    path = sidecar_path(artifact)
    if not path.is_file():
        logger.warning("%s is gone: --force export writes it again", path)
        return
    content = json.loads(path.read_text(encoding="utf-8"))
    parity = {"points": facts["points"], "masks": facts["masks"]}
    if content.get("parity") != parity:
        text = json.dumps({**content, "parity": parity}, indent=1, ensure_ascii=False)
        write_atomically(path, (text + "\n").encode())
