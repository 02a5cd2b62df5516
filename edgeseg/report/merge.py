"""What a device found, folded into the build that the bundle came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeseg.build_manifest import NAME, inside, mapping, rows, text
from edgeseg.errors import UsageError, did_you_mean
from edgeseg.files import write_atomically

RESULT_NAME = "result.json"
METADATA_NAME = "edgeseg.json"
"""Written into a folder artifact after it is finished, so some hashes of the folder leave it out."""

REPLACED = "replaced"
"""Key of a device's result that keeps the outcome which it took the place of."""


def merge(content: dict[str, Any], result: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Put a device's result under its target, whose outcome it becomes where that was `deferred`.

    Any other outcome was found by this build itself and stays: both are shown.

    Args:
        content: of `build.json`; changed in place.
        result: from `read_result`.
        folder: the build's.

    Returns:
        The target's row.

    Raises:
        UsageError: the result is about another target, artifact, weights or limits than the build's.
    """
    file = folder / NAME
    target = _target(content, str(result["target"]), file)
    _check_same(content, target, result, file)
    own = _own_outcome(target)
    target["device_result"] = {**result}
    if own["outcome"] == "deferred":
        target["device_result"][REPLACED] = own
        target.update({key: result[key] for key in own})
    return target


def store(result: Mapping[str, Any], target: Mapping[str, Any], folder: Path) -> Path:
    """Keep a merged result in its target's folder; returns its path."""
    path = result_path(target, folder)
    write_atomically(path, dump(result))
    return path


def result_path(target: Mapping[str, Any], folder: Path) -> Path:
    """Where a target's result lies.

    Raises:
        UsageError: the target's id is no name of a folder.
    """
    name = text(target, "id", folder / NAME)
    path = inside(folder, name)
    if path is None or "/" in name or name == ".":
        raise UsageError(f"{folder / NAME}: the target id {name!r} is no name of a folder")
    return path / RESULT_NAME


def dump(value: Any) -> bytes:
    """JSON as the reports write it; bytes of a file name that are no text become JSON's own escapes."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


def _target(content: dict[str, Any], name: str, file: Path) -> dict[str, Any]:
    known = {text(target, "id", file): target for target in rows(content, "targets", file)}
    if name not in known:
        raise UsageError(f"{file}: has no target {name!r}, which the result is about", hint=did_you_mean(name, known))
    return known[name]


def _own_outcome(target: Mapping[str, Any]) -> dict[str, Any]:
    """What the build itself found, also where an earlier result has taken its place."""
    earlier = target.get("device_result") or {}
    source = earlier.get(REPLACED) or target
    return {key: source.get(key, "") for key in ("outcome", "message", "hint")}


def _check_same(content: Mapping[str, Any], target: Mapping[str, Any], result: Mapping[str, Any], file: Path) -> None:
    name = target["id"]
    _check_equal("weights", result["weights_sha256"], {text(mapping(content, "weights", file), "sha256", file)}, name)
    known = _hashes(mapping(target, "artifact", file), file)
    if known and result["artifact_sha256"]:
        _check_equal("artifact", result["artifact_sha256"], known, name)
    else:
        # What is finished on the device has no hash here: then it must come from this build's very bundle.
        _check_equal("bundle", result["bundle_sha256"], _hashes(mapping(target, "bundle", file), file), name)
    limits = mapping(target, "gates", file)
    for gate in result["gates"]:
        asked = limits.get(gate["name"], gate["limit"])
        if asked != gate["limit"]:
            raise UsageError(
                f"{name}: the device judged {gate['name']} by {gate['limit']:g}, the build asks for {asked:g}",
                hint="verify the bundle without --gate, or build with the new limit",
            )


def _check_equal(what: str, found: str, expected: set[str], name: str) -> None:
    if found and found in expected:
        return
    wanted = " or ".join(sorted(one for one in expected if one)) or "none"
    raise UsageError(
        f"{name}: the result is about another {what}: sha256 {found or 'none'}, the build's is {wanted}",
        hint="verify the bundle of this build, or merge into the build that the bundle came from",
    )


def _hashes(row: Mapping[str, Any], file: Path) -> set[str]:
    """Every hash that a file or folder is known by: a folder by all of its files, with and without its metadata."""
    files = mapping(row, "files", file)
    found = {text(row, "sha256", file)}
    if files:
        hashes = {name: text(mapping(files, name, file), "sha256", file) for name in files}
        found |= {_folder_hash(hashes), _folder_hash({k: v for k, v in hashes.items() if k != METADATA_NAME})}
    return found - {""}


def _folder_hash(hashes: Mapping[str, str]) -> str:
    """As `edgeseg.files.sha256_of_folder`, from the hashes of the files."""
    lines = {name.encode("utf-8", "surrogateescape"): of for name, of in hashes.items()}
    return hashlib.sha256(b"".join(b"%s  %s\0" % (lines[n].encode(), n) for n in sorted(lines))).hexdigest()
