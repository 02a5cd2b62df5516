"""What builds and data sets left on disk: listed, and pruned where nothing needs it any more."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeseg.build.cache import damaged_output, read_manifest
from edgeseg.build.plan import SCRATCH
from edgeseg.build.running import remove
from edgeseg.build.stage import StageResult
from edgeseg.data.index_cache import cache_folder
from edgeseg.errors import UsageError
from edgeseg.files import bytes_of

MANIFESTS = "*.manifest.json"

PERSONAL = ("datasets", "hashes", "blobs")
"""Folders of the user's cache: indices of data sets, hashes of pictures, what Ray has brought to this node."""


@dataclass(frozen=True)
class StageEntry:
    """A finished stage of a build.

    Attributes:
        build: folder of the build.
        target: id of its target; empty for what targets share.
        stage: its name.
        outcome: its word.
        state: ``good``, or why it would run again.
        bytes: of all that it left.
        age_s: since it ended, seconds.
    """

    build: Path
    target: str
    stage: str
    outcome: str
    state: str
    bytes: int
    age_s: float


def builds_in(folders: Iterable[Path]) -> list[Path]:
    """The given folders that hold a build, and those right below them.

    Raises:
        UsageError: a folder is not there.
    """
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder", hint="name folders of builds, or one that holds them")
        candidates = [folder, *(path for path in sorted(folder.iterdir()) if path.is_dir())]
        found += [path for path in candidates if (path / "weights.manifest.json").is_file()]
    return list(dict.fromkeys(found))


def stages_of(build: Path) -> Iterator[StageEntry]:
    """Every stage that has ended in a build, with what became of its outputs."""
    for path in sorted([*build.glob(MANIFESTS), *build.glob(f"*/{MANIFESTS}")]):
        manifest, problem = read_manifest(path)
        if manifest is None:
            yield StageEntry(build, path.parent.name, path.name.partition(".")[0], "", problem, 0, _age(path))
            continue
        outputs = StageResult.from_json(manifest, path.parent).outputs
        problem = damaged_output(outputs, manifest["output_sha256"])
        if manifest["outcome"] != "passed":
            problem = f"it ended with {manifest['outcome']}"
        size = sum(bytes_of(path.parent / name) for name in manifest["files"])
        row = (manifest["target"], manifest["stage"], manifest["outcome"], problem or "good", size, _age(path))
        yield StageEntry(build, *row)


def needless(build: Path) -> list[Path]:
    """What a build's folder holds for nothing: scratch of a killed build, results of targets that it no longer has.

    Only files that a manifest names are taken, never what somebody else has put there.
    """
    found = [build / SCRATCH] if (build / SCRATCH).is_dir() else []
    try:
        content = json.loads((build / "build.json").read_text())
        # A build with --only has not all targets of its card.
        current = {*content["card"]["targets"], *(target["id"] for target in content["targets"])}
    except (OSError, ValueError, KeyError, TypeError):
        # Without a finished build nobody knows what is old.
        return found
    for path in sorted(build.glob(f"*/{MANIFESTS}")):
        manifest, _ = read_manifest(path)
        if manifest is not None and manifest["target"] and manifest["target"] not in current:
            found += [path.parent / name for name in manifest["files"] if Path(name).name == name]
            found.append(path)
    return [path for path in found if path.exists()]


def personal_files(older_than_days: float = 0.0) -> list[Path]:
    """Files of the user's cache that were not written for so long; all of them cost only time to make again."""
    folder = cache_folder()
    if folder is None:
        return []
    files = (path for name in PERSONAL for path in (folder / name).glob("*") if path.is_file())
    return sorted(path for path in files if _age(path) >= older_than_days * 86400)


def prune(paths: Iterable[Path]) -> int:
    """Remove files and folders, and folders that this leaves empty; how many bytes they had.

    Raises:
        OSError: one cannot be removed.
    """
    total = 0
    for path in paths:
        total += bytes_of(path)
        remove(path)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
    return total


def _age(path: Path) -> float:
    # A clock that was set back makes files of the future, which are new.
    return max(time.time() - path.stat().st_mtime, 0.0)
