"""`build.json` of a finished build, and the reports made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeseg.build.data_lists import DataList
from edgeseg.build.execute import Build
from edgeseg.build.plan import Plan
from edgeseg.build.target_build import TargetBuild
from edgeseg.card.data_paths import ROOT_VARIABLE
from edgeseg.card.overrides import from_anywhere
from edgeseg.files import sha256_of, write_atomically
from edgeseg.report.rerender import write_reports_of

REPORT_SCHEMA = 1


def build_json(build: Build) -> dict[str, Any]:
    """Everything about a build, plain values only; paths inside the build's folder are relative to it."""
    plan = build.plan
    card = plan.card
    return {
        "schema": REPORT_SCHEMA,
        "name": card.card.name,
        "finished": build.finished,
        "command": command(plan, build.isolation),
        "card": {
            "path": str(card.path.absolute()),
            "sha256": card.sha256,
            "targets": [target.id for target in card.targets],
            "file_sha256": sha256_of(card.path) if card.path.is_file() else "",
        },
        "family": card.card.model.family,
        "scale": card.card.model.scale,
        "image_size": list(card.image_size),
        "classes": len(card.class_names),
        "class_names": list(card.class_names),
        "weights": {
            "path": "weights.safetensors",
            "sha256": build.weights_sha256,
            "license": build.weights.get("license", ""),
            "from": str(plan.weights),
            "from_sha256": sha256_of(plan.weights) if plan.weights is not None else "",
            "source": {key: value for key, value in build.weights.items() if key != "license"},
        },
        "pictures": {"count": len(plan.pictures.pictures), "from": plan.pictures_from},
        "data": [one.summary() for one in _lists(plan)],
        "reference": build.reference,
        "targets": [_target(target, plan.folder) for target in build.targets],
        "environment": build.environment,
    }


def write_reports(build: Build) -> tuple[Path, Path]:
    """Write `build.json`, `report.html`, `report.md` and the lists of data; returns the paths of the first two."""
    folder = build.plan.folder
    for one in _lists(build.plan):
        write_atomically(folder / "data" / f"{one.name}.json", (json.dumps(one.rows(), indent=0) + "\n").encode())
    as_json, as_html, _ = write_reports_of(build_json(build), folder)
    return as_json, as_html


def command(plan: Plan, isolation: str = "auto") -> list[str]:
    """The command line that repeats a build from any folder, argument by argument."""
    card = plan.card
    words = ["edgeseg", "build", str(card.path.absolute())]
    # Without a licence from the card, the user named the weights; otherwise the card did, and checks them.
    words += [] if plan.license else ["--weights", str(plan.weights)]
    words += [word for override in card.overrides for word in ("--set", from_anywhere(override))]
    if len(plan.targets) < len(card.targets):
        words += [word for target in plan.targets for word in ("--only", target.id)]
    words += ["--isolation", isolation] if isolation != "auto" else []
    words += ["--output", str(plan.folder)]
    if card.card.data.root is None and card.data.root != card.path.absolute().parent.resolve():
        words = ["env", f"{ROOT_VARIABLE}={card.data.root}", *words]
    return words


def _target(build: TargetBuild, folder: Path) -> dict[str, Any]:
    target = build.target
    return {
        "id": target.id,
        "format": target.format,
        "device": target.device,
        "precision": target.precision,
        "outcome": build.outcome,
        "message": build.message,
        "hint": build.hint,
        "log": build.log,
        "skipped": build.skipped,
        "environment": build.environment,
        "seconds": build.seconds,
        "gates": target.gates.model_dump(exclude_none=True),
        "artifact": _artifact(build.artifact, folder) if build.artifact is not None else None,
        "bundle": _artifact(build.bundle, folder) if build.bundle is not None else None,
        "stages": _placed(build.stages, target.id),
    }


def _artifact(path: Path, folder: Path) -> dict[str, Any]:
    """Path, size and hash; a folder has no hash of its own, but one of each of its files."""
    relative = path.relative_to(folder).as_posix()
    if path.is_file():
        return {"path": relative, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
    files = {
        file.relative_to(path).as_posix(): {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
    return {"path": relative, "bytes": sum(file["bytes"] for file in files.values()), "sha256": "", "files": files}


def _placed(stages: dict[str, dict[str, Any]], target: str) -> dict[str, dict[str, Any]]:
    """The stages' facts; pictures, which a stage names in its own folder, named in the build's."""
    worst = stages.get("verify", {}).get("worst")
    if not worst:
        return stages
    rows = [{**row, "picture": row["picture"] and f"{target}/{row['picture']}"} for row in worst]
    return {**stages, "verify": {**stages["verify"], "worst": rows}}


def _lists(plan: Plan) -> list[DataList]:
    return [one for one in (plan.pictures, plan.validation, plan.calibration) if one is not None]
