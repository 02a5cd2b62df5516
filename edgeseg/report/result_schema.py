"""The `result.json` that a device wrote about one target: read as a stranger's file, bounded and plain."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeseg.build_manifest import read_json
from edgeseg.errors import UsageError
from edgeseg.gates import GateResult
from edgeseg.report.words import GATES, OUTCOMES, words_for

RESULT_BYTES = 8_000_000
"""Ours: a result is text, a row for each tensor and each of the worst instances."""

MOST_VALUES, DEEPEST, LONGEST_TEXT, LARGEST_INTEGER = 100_000, 12, 20_000, 2**53
"""Bounds of what goes into `build.json`; integers as JSON readers agree on them (RFC 8259, section 6)."""


class _Part(BaseModel):
    # More keys may come from a newer edgeseg: they are kept, and shown by nobody.
    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)


class _Gate(_Part):
    name: str
    limit: float
    value: float | None
    margin: float | None
    met: bool


class _Latency(_Part):
    p50: float = Field(ge=0)
    p95: float = Field(ge=0)
    p99: float | None = Field(None, ge=0)
    mean: float = Field(ge=0)
    min: float = Field(ge=0)


class _Benchmark(_Part):
    latency_ms: _Latency
    device_ms: _Latency | None = None
    runs_as: dict[str, str] = Field(default_factory=dict)
    runs: int = Field(ge=1)
    peak_rss_mb: float | None = Field(None, ge=0)
    open_ms: float | None = Field(None, ge=0)


class _Result(_Part):
    schema_: Literal[1] = Field(alias="schema")
    kind: Literal["edgeseg-result"]
    target: str = Field(min_length=1)
    format: str
    precision: str
    bundle_sha256: str
    artifact_sha256: str
    weights_sha256: str = Field(min_length=1)
    outcome: str
    message: str
    hint: str
    gates: list[_Gate]
    verify: dict[str, Any]
    benchmark: _Benchmark | None
    environment: dict[str, str]
    finished: str


def read_result(path: Path) -> dict[str, Any]:
    """A device's result.

    Raises:
        UsageError: it is absent, damaged, too large, contradicts itself, or tells of a verification that did not run.
    """
    if path.is_file() and path.stat().st_size > RESULT_BYTES:
        raise UsageError(f"{path}: {path.stat().st_size} bytes, expected at most {RESULT_BYTES}")
    content = read_json(path)
    _check_plain(content, path)
    try:
        result = _Result.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{path}: {where}: {first['msg']}", hint="expected the result.json that edgeseg verify BUNDLE wrote"
        ) from error
    _check_outcome(result, path)
    for worst in content["verify"].get("worst") or []:
        if isinstance(worst, dict):
            # A path on the device; a file of that name here would be another picture.
            worst["picture"] = ""
    return content


def _check_outcome(result: _Result, path: Path) -> None:
    if words_for(OUTCOMES, result.outcome, "outcome").state == "open":
        raise UsageError(
            f"{path}: its outcome is {result.outcome!r}: nothing was verified on the device", hint=result.hint
        )
    for gate in result.gates:
        words_for(GATES, gate.name, "gate")
        # A value that is not finite is null, and meets nothing.
        judged = gate.value is not None and GateResult(gate.name, gate.limit, gate.value).met
        if judged != gate.met:
            raise UsageError(f"{path}: gate {gate.name}: says met is {gate.met}, but its value and limit say {judged}")
    missed = [gate.name for gate in result.gates if not gate.met]
    if result.outcome == "passed" and not (result.gates and result.verify):
        raise UsageError(f"{path}: its outcome is 'passed', but it has no gates or no verification")
    if result.outcome == "passed" and missed:
        raise UsageError(f"{path}: its outcome is 'passed', but a gate is not met: {', '.join(missed)}")


def _check_plain(content: dict[str, Any], path: Path) -> None:
    """Every value within bounds, told without recursion: a stranger chooses the depth."""
    left: list[tuple[Any, int]] = [(content, 0)]
    seen = 0
    while left:
        value, depth = left.pop()
        seen += 1
        if seen > MOST_VALUES or depth > DEEPEST:
            raise UsageError(f"{path}: more than {MOST_VALUES} values, or more than {DEEPEST} levels of them")
        if isinstance(value, dict):
            left += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list):
            left += [(part, depth + 1) for part in value]
        elif isinstance(value, str) and len(value) > LONGEST_TEXT:
            raise UsageError(f"{path}: a text of {len(value)} characters, expected at most {LONGEST_TEXT}")
        elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise UsageError(f"{path}: an integer beyond {LARGEST_INTEGER}")
