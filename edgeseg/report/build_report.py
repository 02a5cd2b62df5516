"""`build.json` and `report.html` of a finished build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeseg.build.execute import Build, TargetBuild
from edgeseg.files import sha256_of, write_atomically

REPORT_SCHEMA = 1


def build_json(build: Build) -> dict[str, Any]:
    """Everything about a build, plain values only; paths are relative to the build's folder."""
    plan = build.plan
    return {
        "schema": REPORT_SCHEMA,
        "name": plan.card.card.name,
        "card": {"path": str(plan.card.path), "sha256": plan.card.sha256},
        "image_size": list(plan.card.image_size),
        "scale": plan.card.card.model.scale,
        "classes": len(plan.card.class_names),
        "weights": {**build.weights, "sha256": build.weights_sha256, "path": "weights.safetensors"},
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


def _target(build: TargetBuild, folder: Path) -> dict[str, Any]:
    target = build.target
    artifact = None
    if build.artifact is not None:
        digest = sha256_of(build.artifact) if build.artifact.is_file() else ""
        artifact = {"path": build.artifact.relative_to(folder).as_posix(), "sha256": digest}
    return {
        "id": target.id,
        "format": target.format,
        "device": target.device,
        "precision": target.precision,
        "outcome": build.outcome,
        "message": build.message,
        "hint": build.hint,
        "artifact": artifact,
        "stages": build.stages,
    }
