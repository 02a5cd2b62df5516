"""The bundle of a target whose artifact only its device can finish or run."""

from __future__ import annotations

import json
from pathlib import Path

from edgeseg.build.running import find_or_run
from edgeseg.build.stage import StageRequest, StageResult, attempt
from edgeseg.build.target_build import TargetBuild, TargetRun
from edgeseg.build.worker import code_version_of
from edgeseg.gates import Gates

GOLDEN_PICTURES = 8


def bundle_target(build: TargetBuild, run: TargetRun) -> None:
    """Write the bundle, or take the one of an earlier build; the target's outcome is ``deferred`` then."""
    assert build.artifact is not None  # noqa: S101 - asked for targets that were exported
    plan, target = run.plan, run.target
    # A portable graph holds its ranges already.
    calibration = None if run.portable else plan.calibration
    pictures = plan.pictures.pictures[:GOLDEN_PICTURES]
    request = StageRequest(
        stage="bundle",
        target=target.id,
        folder=plan.target_folder(target),
        inputs={"weights": run.shared["weights"], "artifact": build.artifact},
        parameters={
            "gates": target.gates.model_dump(exclude_none=True),
            "card": plan.card.content(),
            "data": plan.pictures.key(),
            "calibration": calibration.sha256 if calibration else "",
        },
        places={
            "pictures": [str(path) for path in pictures],
            "calibration": [str(path) for path in calibration.pictures] if calibration else [],
        },
        code=code_version_of(target.format),
    )
    run.listener(target.id, "bundle", "")
    result = find_or_run(
        request, lambda inner: attempt(inner, write, "run_failed"), plan.scratch, force="all" in run.force
    )
    run.listener(target.id, "bundle", "cached" if result.cached else result.outcome)
    build.stages["bundle"] = dict(result.facts)
    if not result.cached:
        build.seconds["bundle"] = round(result.seconds, 3)
    if not result.passed:
        build.fail(result.outcome, f"its bundle: {result.message}", result.hint, result.log)
        return
    build.bundle = result.outputs["bundle"]
    proven = "; the portable graph that it will be built from: parity passed here" if "verify" in build.stages else ""
    build.fail(
        "deferred",
        run.deferral + proven,
        f"copy {build.bundle.name} to the device, run `edgeseg verify {build.bundle.name}` there, then "
        f"`edgeseg report {plan.folder} --merge result.json` here",
    )


def write(request: StageRequest) -> StageResult:
    """The stage's function. Parameters: gates, card. Places: pictures, calibration."""
    from edgeseg.bundle.pack import BundleRequest, write_bundle

    artifact = request.inputs["artifact"]
    # Boards of one format have artifacts of one name: their bundles lie side by side on somebody's stick.
    path = request.folder / f"{request.parameters['card']['name']}-{request.target}.bundle.tar"
    facts = write_bundle(
        BundleRequest(
            artifact=artifact,
            reference=request.inputs["weights"],
            pictures=tuple(Path(picture) for picture in request.places["pictures"]),
            output=path,
            target_id=request.target,
            gates=Gates(**request.parameters["gates"]),
            card=json.dumps(request.parameters["card"], indent=1).encode(),
            calibration=tuple(Path(picture) for picture in request.places["calibration"]),
        )
    )
    return StageResult(outputs={"bundle": path}, facts=dict(facts))
