"""`build.json` and `report.html` of a finished build."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from edgeseg.build.execute import Build, TargetBuild
from edgeseg.build.plan import Plan
from edgeseg.card.data_paths import ROOT_VARIABLE
from edgeseg.card.overrides import from_anywhere
from edgeseg.files import sha256_of, write_atomically

REPORT_SCHEMA = 1


def build_json(build: Build) -> dict[str, Any]:
    """Everything about a build, plain values only; paths inside the build's folder are relative to it."""
    plan = build.plan
    card = plan.card
    return {
        "schema": REPORT_SCHEMA,
        "name": card.card.name,
        "finished": build.finished,
        "command": command(plan),
        "card": {"path": str(card.path), "sha256": card.sha256},
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
            "source": {key: value for key, value in build.weights.items() if key != "license"},
        },
        "pictures": {"count": len(plan.pictures), "from": plan.pictures_from},
        "targets": [_target(target, plan.folder) for target in build.targets],
        "environment": build.environment,
    }


def write_reports(build: Build) -> tuple[Path, Path]:
    """Write `build.json` and `report.html` into the build's folder; returns their paths."""
    from edgeseg.report.html import render

    folder = build.plan.folder
    content = build_json(build)
    as_json, as_html = folder / "build.json", folder / "report.html"
    write_atomically(as_json, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    write_atomically(as_html, render(content, folder).encode())
    return as_json, as_html


def command(plan: Plan) -> list[str]:
    """The command line that repeats a build from any folder, argument by argument."""
    card = plan.card
    words = ["edgeseg", "build", str(card.path.absolute())]
    # Without a licence from the card, the user named the weights; otherwise the card did, and checks them.
    words += [] if plan.license else ["--weights", str(plan.weights)]
    words += [word for override in card.overrides for word in ("--set", from_anywhere(override))]
    if len(plan.targets) < len(card.targets):
        words += [word for target in plan.targets for word in ("--only", target.id)]
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
        "gates": target.gates.model_dump(exclude_none=True),
        "artifact": _artifact(build.artifact, folder) if build.artifact is not None else None,
        "stages": _portable(build.stages, f"{folder}{os.sep}"),
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


def _portable(value: Any, prefix: str) -> Any:
    """`value` with every path under `prefix` made relative, so that the folder can move."""
    if isinstance(value, dict):
        return {key: _portable(item, prefix) for key, item in value.items()}
    if isinstance(value, list):
        return [_portable(item, prefix) for item in value]
    return Path(value.removeprefix(prefix)).as_posix() if isinstance(value, str) and value.startswith(prefix) else value
