"""What an earlier run left: taken where its key is the same and its outputs are what they were, else why not."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeseg.build.file_hashes import content_sha256
from edgeseg.build.stage import StageRequest, StageResult, key_of
from edgeseg.errors import OutputError
from edgeseg.files import write_atomically

MANIFEST_SCHEMA = 2

FORCED = "asked with --force"

_LONGEST_VALUE = 60
"""Letters of a value that a reason shows."""


def find(request: StageRequest, content: Mapping[str, Any]) -> tuple[StageResult | None, str]:
    """An earlier result of the very same request.

    Args:
        request: what is to run.
        content: `request.content()`.

    Returns:
        The result, and an empty reason; or None, and why the stage has to run.
    """
    manifest, reason = read_manifest(request.manifest)
    if manifest is None:
        return None, reason
    if manifest["key"] != key_of(content):
        return None, first_difference(manifest, content)
    if manifest["outcome"] != "passed":
        return None, f"the last time it ended with {manifest['outcome']}"
    try:
        result = StageResult.from_json(manifest, request.folder)
    except (KeyError, TypeError, ValueError) as error:
        return None, f"its manifest is not readable: {error}"
    damage = damaged_output(result.outputs, manifest["output_sha256"])
    return (None, damage) if damage else (replace(result, seconds=0.0, cached=True), "")


def damaged_output(outputs: Mapping[str, Path], sha256s: Mapping[str, str]) -> str:
    """What is wrong with the first output that is not as its manifest says; empty where all are."""
    for name, path in outputs.items():
        if not path.exists():
            return f"its output {path.name} is gone"
        if content_sha256(path) != sha256s.get(name):
            return f"its output {path.name} was changed"
    return ""


def keep(
    request: StageRequest, content: Mapping[str, Any], result: StageResult, reason: str, files: Sequence[str] = ()
) -> None:
    """Write the manifest, the last act of a stage.

    Args:
        request: what ran.
        content: `request.content()`.
        result: what came of it.
        reason: why it ran.
        files: names of all that it left in its folder, outputs and others.

    Raises:
        OutputError: it cannot be written.
    """
    manifest = {
        "schema": MANIFEST_SCHEMA,
        "key": key_of(content),
        **content,
        "target": request.target,
        **result.to_json(request.folder),
        "output_sha256": {name: content_sha256(path) for name, path in result.outputs.items()},
        "files": list(files),
        "ran_because": reason,
        "python": platform.python_version(),
    }
    write_atomically(request.manifest, (json.dumps(manifest, indent=1, default=str) + "\n").encode())


def files_of(request: StageRequest) -> set[str]:
    """Names of all that the last run of a stage left in its folder."""
    manifest, _ = read_manifest(request.manifest)
    return {name for name in (manifest or {}).get("files", []) if Path(name).name == name}


def forget(request: StageRequest) -> None:
    """Remove the manifest before anything of the stage is replaced.

    Raises:
        OutputError: it cannot be removed.
    """
    try:
        request.manifest.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{request.manifest}: cannot be replaced: {error.strerror}", hint="choose a place that you may write to"
        ) from error


def first_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What changed, in words: a parameter before an input, that before a tool, that before the code."""
    for part, what in (("parameters", "`{}`"), ("inputs", "the input `{}`"), ("tools", "the tool {}")):
        before, after = (side.get(part) for side in (old, new))
        if not isinstance(before, Mapping) or not isinstance(after, Mapping):
            continue
        found = _changed(before, after)
        if found is not None:
            name, was, now = found
            values = "" if part == "inputs" else f": {_shown(was)} -> {_shown(now)}"
            return what.format(name) + " changed" + values
    return f"the code changed: {old.get('code', 'none')} -> {new.get('code', 'none')}"


def _changed(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> tuple[str, Any, Any] | None:
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            return _changed(was, now, f"{prefix}{name}.")
        return f"{prefix}{name}", was, now
    return None


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else "none" if value is None else json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def read_manifest(path: Path) -> tuple[dict[str, Any] | None, str]:
    """The content of a manifest of this schema and an empty reason, or None and why there is none."""
    if not path.is_file():
        return None, "it has not run here to its end"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        known = {"schema", "key", "outcome", "outputs", "output_sha256"}
        if not isinstance(manifest, dict) or not known <= manifest.keys() or manifest["schema"] != MANIFEST_SCHEMA:
            return None, "its manifest is of another version of edgeseg"
    except (OSError, ValueError) as error:
        return None, f"its manifest is not readable: {error}"
    return manifest, ""
