"""What a build would do, and why, without doing it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgeseg import registry
from edgeseg.build.execute import ExecuteOptions
from edgeseg.build.plan import Plan
from edgeseg.build.running import would_run
from edgeseg.build.stage import StageRequest, StageResult
from edgeseg.build.target_build import TargetRun
from edgeseg.card.resolve import ResolvedTarget
from edgeseg.environments.choose import choose
from edgeseg.errors import EnvironmentMissingError

_DONE = "done"


def plan_lines(plan: Plan, options: ExecuteOptions) -> Iterator[str]:
    """One line a stage: done, or why it runs."""
    weights = plan.weights
    if weights is None:
        request = plan.train_request()
        found, reason = would_run(request, force=_forced(options, "train"))
        start = plan.card.weights or "fresh weights"
        yield f"train     from {start}, in {request.folder}: {_said(found, reason)}"
        weights = found.outputs["weights"] if found else None
    shared: dict[str, Path] = {}
    if weights is None:
        yield f"weights   trained -> {plan.folder / 'weights.safetensors'}: runs after the training"
    else:
        found, reason = would_run(plan.with_weights(weights).weights_request(), force=_forced(options, "weights"))
        yield f"weights   {weights} -> {plan.folder / 'weights.safetensors'}: {_said(found, reason)}"
        shared = {"weights": found.outputs["weights"]} if found else {}
    if plan.validation is not None:
        yield from _reference(plan, shared, options)
    for target in plan.targets:
        yield from _target(plan, target, shared, options)
    yield f"verify on {len(plan.pictures.pictures)} pictures ({plan.pictures_from})"
    yield "report"


def _reference(plan: Plan, shared: dict[str, Path], options: ExecuteOptions) -> Iterator[str]:
    assert plan.validation is not None  # noqa: S101 - asked by the caller
    what = f"reference AP on {len(plan.validation.pictures)} pictures"
    if "weights" not in shared:
        yield f"{what}: runs after the weights"
        return
    found, reason = would_run(plan.reference_request(shared["weights"]), force=_forced(options, "reference"))
    yield f"{what}: {_said(found, reason)}"
    if found:
        shared["reference"] = found.outputs["reference"]


def _target(plan: Plan, target: ResolvedTarget, shared: dict[str, Path], options: ExecuteOptions) -> Iterator[str]:
    try:
        environment = choose(registry.entries()[target.format], options.isolation, options.engine)
    except EnvironmentMissingError as error:
        yield f"{target.id:<16} env_missing: {error.message}"
        return
    known = registry.load(target.format)
    compiles = bool(known.capabilities.compile_hardware)
    run = TargetRun(
        plan,
        target,
        environment,
        shared,
        deferral=known.deferral(),
        finished_by_device=compiles,
        portable=known.capabilities.portable,
    )
    artifact, waits, missing = None, "", False
    stages: dict[str, Mapping[str, Any]] = {}
    for alone in (False, True):
        for step in run.steps(alone=alone):
            if "reference" in step.inputs and plan.validation is None:
                continue
            request = run.request(step, artifact)
            found, reason = _found(request, waits, force=_forced(options, step.name))
            yield f"{target.id:<16} {step.name} in {environment.kind}: {_said(found, reason)}"
            if found is None and not waits and step.name in ("export", "compile"):
                waits = step.name
            artifact = found.outputs.get("artifact", artifact) if found else artifact
            missing = missing or found is None
            stages[step.name] = found.facts if found else {}
    found, reason = None, "after what it judges"
    if not missing:
        found, reason = would_run(run.gates_request(stages), force=_forced(options, "gates"))
    yield f"{target.id:<16} gates: {_said(found, reason)}"
    if run.deferral:
        yield f"{target.id:<16} deferred, with a bundle: {run.deferral}"


def _found(request: StageRequest | None, waits: str, *, force: bool) -> tuple[StageResult | None, str]:
    if waits:
        return None, f"after {waits}, where that changes the artifact"
    return would_run(request, force=force) if request is not None else (None, "after what it reads")


def _forced(options: ExecuteOptions, stage: str) -> bool:
    return bool({stage, "all"} & options.force)


def _said(found: StageResult | None, reason: str) -> str:
    return _DONE if found else f"runs: {reason}" if not reason.startswith("after") else f"runs {reason}"
