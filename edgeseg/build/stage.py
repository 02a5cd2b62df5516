"""A stage: a function of declared files and JSON, which writes only into its own folder, its manifest last.

The same request can run in this process, in another environment or in an image: it holds nothing but paths and
plain values.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeseg import __version__
from edgeseg.errors import EdgesegError, EnvironmentMissingError, StageError
from edgeseg.files import sha256_of, write_atomically

MANIFEST_SCHEMA = 1


@dataclass(frozen=True)
class StageRequest:
    """What to run.

    Attributes:
        stage: its name.
        target: id of the target in the card; empty for a stage that all targets share.
        folder: the stage's own folder; nothing is written elsewhere.
        inputs: name to file.
        parameters: plain values.
    """

    stage: str
    target: str
    folder: Path
    inputs: Mapping[str, Path]
    parameters: Mapping[str, Any]

    def content(self) -> dict[str, Any]:
        """What the result depends on: parameters and the hashes of the input files, not where they lie."""
        hashes = {name: sha256_of(path) for name, path in sorted(self.inputs.items())}
        return {
            "stage": self.stage,
            "code": __version__,
            "parameters": dict(self.parameters),
            "inputs": hashes,
        }

    @property
    def manifest(self) -> Path:
        """Where the manifest goes."""
        return self.folder / f"{self.stage}.manifest.json"


@dataclass(frozen=True)
class StageResult:
    """What came of it.

    Attributes:
        outcome: ``passed`` or another word of design.md, section 6.
        message: why it did not pass.
        hint: what to do.
        outputs: name to file, inside the stage's folder.
        facts: plain values for the report.
    """

    outcome: str = "passed"
    message: str = ""
    hint: str = ""
    outputs: Mapping[str, Path] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


Work = Callable[[StageRequest], StageResult]


def run_stage(request: StageRequest, work: Work, failure: str) -> StageResult:
    """Run one stage and write its manifest.

    Args:
        request: what to run.
        work: the stage's function.
        failure: the outcome word where it raises.

    Returns:
        The result; an exception becomes an outcome, since one target's failure never loses another's work.
    """
    request.folder.mkdir(parents=True, exist_ok=True)
    request.manifest.unlink(missing_ok=True)
    content = request.content()
    start = time.perf_counter()
    log = ""
    try:
        result = work(request)
    except EnvironmentMissingError as error:
        result = StageResult("env_missing", error.message, error.hint)
    except StageError as error:
        result = StageResult(error.outcome, error.message, error.hint)
    except EdgesegError as error:
        result = StageResult(failure, error.message, error.hint)
    except Exception as error:  # noqa: BLE001 - an SDK may raise anything; the manifest keeps the trace
        log = traceback.format_exc()
        result = StageResult(failure, f"{type(error).__name__}: {error}", f"the trace is in {request.manifest}")
    _write_manifest(request, content, result, time.perf_counter() - start, log)
    return result


def key_of(content: Mapping[str, Any]) -> str:
    """Hex sha256 of a request's content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _write_manifest(
    request: StageRequest, content: dict[str, Any], result: StageResult, seconds: float, log: str
) -> None:
    manifest = {
        "schema": MANIFEST_SCHEMA,
        "key": key_of(content),
        **content,
        "target": request.target,
        "outcome": result.outcome,
        "message": result.message,
        "hint": result.hint,
        "outputs": {
            name: {"path": path.relative_to(request.folder).as_posix(), "sha256": sha256_of(path)}
            for name, path in result.outputs.items()
        },
        "seconds": round(seconds, 3),
        "python": platform.python_version(),
        "log": log,
    }
    write_atomically(request.manifest, (json.dumps(manifest, indent=1, default=str) + "\n").encode())
