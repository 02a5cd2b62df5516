"""A stage: a function of declared files and JSON, which writes only into its own folder, its manifest last.

A request holds nothing but paths and plain values, so that it runs alike in this process, in another environment, in
an image or on another machine. Work is done in a scratch folder; only what is finished moves to its place, and the
manifest after it. Where there is no manifest, there is no stage.
"""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeseg.build.file_hashes import content_sha256
from edgeseg.errors import EdgesegError, EnvironmentMissingError, StageError


@dataclass(frozen=True)
class StageRequest:
    """What to run.

    Attributes:
        stage: its name.
        target: id of the target in the card; empty for a stage that all targets share.
        folder: where its results go; nothing is written elsewhere.
        inputs: name to file or folder; their content counts, not where they lie.
        parameters: plain values that the result depends on.
        places: plain values that say where things lie, such as the pictures whose hashes are in `parameters`; they
            do not count.
        versions: tool to version, of the environment that runs it.
        code: version of the code that runs it.
    """

    stage: str
    target: str
    folder: Path
    inputs: Mapping[str, Path]
    parameters: Mapping[str, Any]
    places: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    code: str = ""

    def content(self) -> dict[str, Any]:
        """What the result depends on, as plain JSON values."""
        content = {
            "stage": self.stage,
            "code": self.code,
            "parameters": dict(self.parameters),
            "inputs": {name: content_sha256(path) for name, path in sorted(self.inputs.items())},
            "tools": dict(sorted(self.versions.items())),
        }
        # As it will be read back: tuples are lists, keys are text.
        plain: dict[str, Any] = json.loads(json.dumps(content, default=str))
        return plain

    @property
    def manifest(self) -> Path:
        """Where the manifest goes."""
        return self.folder / f"{self.stage}.manifest.json"

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a request that goes to another process."""
        return {
            "stage": self.stage,
            "target": self.target,
            "folder": str(self.folder),
            "inputs": {name: str(path) for name, path in self.inputs.items()},
            "parameters": dict(self.parameters),
            "places": dict(self.places),
            "versions": dict(self.versions),
            "code": self.code,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> StageRequest:
        """The request that `to_json` wrote."""
        inputs = {name: Path(path) for name, path in content["inputs"].items()}
        return cls(**{**content, "folder": Path(content["folder"]), "inputs": inputs})


@dataclass(frozen=True)
class StageResult:
    """What came of it.

    Attributes:
        outcome: ``passed`` or another word of design.md, section 6.
        message: why it did not pass.
        hint: what to do.
        outputs: name to file or folder, inside the request's folder.
        facts: plain values for the report.
        log: last lines of what the tools printed, or the trace; kept where it did not pass.
        seconds: that it took; 0 where it was taken from an earlier run.
        cached: whether it was.
    """

    outcome: str = "passed"
    message: str = ""
    hint: str = ""
    outputs: Mapping[str, Path] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    log: str = ""
    seconds: float = 0.0
    cached: bool = False

    @property
    def passed(self) -> bool:
        """Whether the stage did what it was asked."""
        return self.outcome == "passed"

    def to_json(self, folder: Path) -> dict[str, Any]:
        """Plain values; outputs relative to `folder`."""
        return {
            "outcome": self.outcome,
            "message": self.message,
            "hint": self.hint,
            "outputs": {name: path.relative_to(folder).as_posix() for name, path in self.outputs.items()},
            "facts": dict(self.facts),
            "log": self.log,
            "seconds": round(self.seconds, 3),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], folder: Path) -> StageResult:
        """The result that `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is no such result, or names an output outside of `folder`.
        """
        outputs = {name: folder / path for name, path in content["outputs"].items()}
        for path in outputs.values():
            if not path.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"output {path} is outside of {folder}")
        words = {key: content[key] for key in ("outcome", "message", "hint", "facts", "log", "seconds")}
        return cls(outputs=outputs, **words)


Work = Callable[[StageRequest], StageResult]


def attempt(request: StageRequest, work: Work, failure: str) -> StageResult:
    """Run a stage's function; an exception becomes an outcome, since one failure never loses another's work.

    Args:
        request: what to run.
        work: the stage's function.
        failure: the outcome word where it raises.
    """
    try:
        return work(request)
    except EnvironmentMissingError as error:
        return StageResult("env_missing", error.message, error.hint)
    except StageError as error:
        return StageResult(error.outcome, error.message, error.hint)
    except EdgesegError as error:
        return StageResult(failure, error.message, error.hint)
    except Exception as error:  # noqa: BLE001 - an SDK may raise anything; the log keeps the trace
        message = f"{type(error).__name__}: {error}"
        hint = f"the trace is in {request.stage}.manifest.json of the target's folder"
        return StageResult(failure, message, hint, log=traceback.format_exc())


def key_of(content: Mapping[str, Any]) -> str:
    """Hex sha256 of a request's content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
