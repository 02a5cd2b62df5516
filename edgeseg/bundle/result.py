"""`result.json`: what a device found out about a bundle, and the error that stands for its outcome."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgeseg import __version__, registry
from edgeseg.bundle.manifest import BundleManifest
from edgeseg.environment import installed_version
from edgeseg.errors import EdgesegError, EnvironmentMissingError, GateError, StageError, UsageError
from edgeseg.files import sha256_of
from edgeseg.gates import GateResult
from edgeseg.machine import read_machine
from edgeseg.report.schema import gate_json

SCHEMA = 1
KIND = "edgeseg-result"
FILE_NAME = "result.json"

CORE_PACKAGES: Mapping[str, str] = {"numpy": "numpy", "opencv-python-headless": "cv2"}
"""Distribution to the module that it is imported as, of what decides every number."""

_ERRORS: Mapping[str, type[EdgesegError]] = {
    "parity_failed": GateError,
    "budget_failed": GateError,
    "env_missing": EnvironmentMissingError,
}
"""Outcome to the error that ends the command; every other one is a failed stage."""


@dataclass
class Trial:
    """What is known so far.

    Attributes:
        outcome: one word; ``passed`` until something says otherwise.
        message: why it did not pass.
        hint: what to do.
        gates: every gate that was judged.
        verify: the content of `edgeseg.report.schema.verify_json`; empty where it was not reached.
        benchmark: times in milliseconds and memory; None where nothing was timed.
        threads: as the runner says; empty where it was not opened.
    """

    outcome: str = "passed"
    message: str = ""
    hint: str = ""
    gates: list[GateResult] = field(default_factory=list)
    verify: dict[str, Any] = field(default_factory=dict)
    benchmark: dict[str, Any] | None = None
    threads: str = ""


def result_json(bundle: Path, manifest: BundleManifest, trial: Trial) -> dict[str, Any]:
    """The content of `result.json`: plain values."""
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "target": manifest.target,
        "format": manifest.format,
        "precision": manifest.precision,
        "bundle_sha256": sha256_of(bundle),
        "artifact_sha256": manifest.artifact_sha256,
        "weights_sha256": manifest.weights_sha256,
        "outcome": trial.outcome,
        "message": trial.message,
        "hint": trial.hint,
        "gates": [gate_json(gate) for gate in trial.gates],
        "verify": trial.verify,
        "benchmark": trial.benchmark,
        "environment": _environment(manifest.format, trial.threads),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def error_of(content: Mapping[str, Any], bundle: Path) -> EdgesegError | None:
    """The error that a result ends with; None where it passed."""
    outcome, hint = content["outcome"], content["hint"]
    if outcome == "passed":
        return None
    message = f"{bundle}: {outcome}: {content['message']}"
    kind = _ERRORS.get(outcome)
    return StageError(outcome, message, hint=hint) if kind is None else kind(message, hint=hint)


def _environment(format_name: str, threads: str) -> dict[str, str]:
    """Where it ran: one text for each name, as a build's own environment."""
    machine = read_machine()
    packages = {name: installed_version(name, module) for name, module in CORE_PACKAGES.items()}
    # A format that has no target here is what the outcome speaks of.
    with contextlib.suppress(UsageError, EnvironmentMissingError):
        packages.update(registry.load(format_name).check_env().versions)
    found = {
        "edgeseg": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": machine.cpu,
        "board": machine.board,
        "cores": str(machine.cores),
        "threads": threads,
        **packages,
    }
    return {name: text for name, text in found.items() if text}
