"""Run a plan in this process. One target's failure never loses another's work."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgeseg import __version__
from edgeseg.build.plan import Plan
from edgeseg.build.stage import StageRequest, StageResult, run_stage
from edgeseg.build.steps import TARGET_STEPS, import_weights
from edgeseg.build.validation import validate_reference
from edgeseg.card.resolve import ResolvedTarget
from edgeseg.environment import installed_version
from edgeseg.errors import EdgesegError, EnvironmentMissingError, GateError, StageError, UsageError
from edgeseg.files import sha256_of

REPORTED_PACKAGES = {"numpy": "numpy", "opencv-python-headless": "cv2", "torch": "torch"}
"""Distribution to the module that it is imported as."""

GATES_MISSED = ("parity_failed", "metric_failed", "budget_failed")
"""Outcomes of a target that was built, but does not meet a gate."""

Listener = Callable[[str, str, str], None]
"""Called with target id, stage and outcome: an empty outcome where the stage starts."""


@dataclass
class TargetBuild:
    """What became of one target.

    Attributes:
        target: as resolved.
        outcome: one word of design.md, section 6.
        message: why it did not pass.
        hint: what to do.
        artifact: the exported file; None where there is none.
        stages: stage name to its facts.
    """

    target: ResolvedTarget
    outcome: str = "passed"
    message: str = ""
    hint: str = ""
    artifact: Path | None = None
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Build:
    """A finished build.

    Attributes:
        plan: what was asked.
        weights: facts about the reference.
        weights_sha256: of the build's own safetensors.
        targets: in the plan's order.
        environment: versions and platform.
        finished: when, UTC, ISO 8601.
    """

    plan: Plan
    weights: dict[str, Any]
    weights_sha256: str
    targets: list[TargetBuild]
    environment: dict[str, str]
    finished: str = ""

    def error(self) -> EdgesegError | None:
        """What the build ends with: a failed stage before a missed gate, that before a missing environment."""
        by_outcome = {build.outcome: build for build in reversed(self.targets)}
        failed = [b for b in self.targets if b.outcome not in ("passed", "deferred", "env_missing", *GATES_MISSED)]
        if failed:
            return StageError(failed[0].outcome, f"{failed[0].target.id}: {failed[0].message}", hint=failed[0].hint)
        missed = [(outcome, GateError) for outcome in GATES_MISSED]
        for outcome, kind in (*missed, ("env_missing", EnvironmentMissingError)):
            if outcome in by_outcome:
                build = by_outcome[outcome]
                return kind(f"{build.target.id}: {outcome}: {build.message}", hint=build.hint)
        return None


def train(plan: Plan) -> Plan:
    """Train the card's weights where it asks for that, or go on with a training that was cut off.

    Raises:
        StageError: the training failed.
        UsageError: the folder holds a training of another card, or the data cannot be read.
    """
    if plan.weights is not None:
        return plan
    from edgeseg.build.training import train_weights

    return plan.with_weights(train_weights(plan.train_request()))


def execute(plan: Plan, listener: Listener = lambda *_: None) -> Build:
    """Run the shared stage, then each target's.

    Raises:
        UsageError: the weights do not fit the card; no target could be built from them.
    """
    listener("", "weights", "")
    result = run_stage(plan.weights_request(), import_weights, "card_invalid")
    listener("", "weights", result.outcome)
    if result.outcome != "passed":
        kind = EnvironmentMissingError if result.outcome == "env_missing" else UsageError
        raise kind(result.message, hint=result.hint)
    weights = result.outputs["weights"]
    shared = {"weights": weights, **_reference(plan, weights, listener)}
    builds = [_build_target(plan, target, shared, listener) for target in plan.targets]
    finished = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Build(plan, dict(result.facts), sha256_of(weights), builds, environment(), finished)


def environment() -> dict[str, str]:
    """Where the build ran."""
    found = {name: installed_version(name, module) for name, module in REPORTED_PACKAGES.items()}
    return {
        "edgeseg": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        **{name: version for name, version in found.items() if version},
    }


def _reference(plan: Plan, weights: Path, listener: Listener) -> dict[str, Path]:
    """AP of the reference, where there are validation pictures and something to compare with it."""
    if plan.validation is None or all(target.reason for target in plan.targets):
        return {}
    listener("", "reference", "")
    request = StageRequest("reference", "", plan.folder, {"weights": weights}, plan.validation)
    result = run_stage(request, validate_reference, "run_failed")
    listener("", "reference", result.outcome)
    if result.outcome != "passed":
        raise StageError(result.outcome, f"AP of the reference: {result.message}", hint=result.hint)
    return dict(result.outputs)


def _build_target(plan: Plan, target: ResolvedTarget, shared: Mapping[str, Path], listener: Listener) -> TargetBuild:
    build = TargetBuild(target)
    if target.reason:
        from edgeseg.registry import entries

        build.outcome, build.message = "env_missing", target.reason
        build.hint = entries()[target.format].report.remedy
        listener(target.id, "", build.outcome)
        return build
    parameters = plan.parameters(target)
    for step in TARGET_STEPS:
        files = {**shared, **({"artifact": build.artifact} if build.artifact else {})}
        if not files.keys() >= set(step.inputs):
            continue
        listener(target.id, step.name, "")
        inputs = {name: files[name] for name in step.inputs}
        request = StageRequest(step.name, target.id, plan.target_folder(target), inputs, parameters[step.name])
        result = run_stage(request, step.work, step.failure)
        listener(target.id, step.name, result.outcome)
        _take(build, step.name, result)
        if result.outcome != "passed":
            break
    return build


def _take(build: TargetBuild, stage: str, result: StageResult) -> None:
    build.stages[stage] = dict(result.facts)
    build.outcome, build.message, build.hint = result.outcome, result.message, result.hint
    build.artifact = result.outputs.get("artifact", build.artifact)
