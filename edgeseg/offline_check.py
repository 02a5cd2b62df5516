"""All hashes that a finished build's manifest names, checked again: nothing is run, imported or fetched.

What a build keeps in its own folder (weights, artifacts, bundles, lists of pictures) must be there and the same,
wherever the folder has moved to. What it read from elsewhere (card, given weights, data sets) is compared where this
machine can reach it, and told where it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeseg.build_manifest import NAME, inside, mapping, read_build, rows, text
from edgeseg.errors import GateError
from edgeseg.files import sha256_of, sha256_of_folder
from edgeseg.offline_data import check_data
from edgeseg.offline_entry import FAILED, NOTED, Checked, compare, compare_inside


@dataclass
class OfflineReport:
    """What a check found.

    Attributes:
        manifest: the file.
        sha256: of its bytes.
        strict: whether what is not reachable, or not covered, is a failure.
        found: everything that was looked at, in the manifest's order.
        signature: what was said about it; empty where none was asked for.
    """

    manifest: Path
    sha256: str
    strict: bool
    found: list[Checked] = field(default_factory=list)
    signature: str = ""

    @property
    def failures(self) -> list[Checked]:
        """What must not be."""
        return [one for one in self.found if one.state in FAILED or (self.strict and one.state in NOTED)]

    @property
    def notes(self) -> list[Checked]:
        """What could not be checked."""
        return [] if self.strict else [one for one in self.found if one.state in NOTED]

    def error(self) -> GateError | None:
        """The error with every failure, None where there is none."""
        if not self.failures:
            return None
        lines = "".join(f"\n  {one.line()}" for one in self.failures)
        return GateError(
            f"{self.manifest}: {len(self.failures)} of {len(self.found)} entries are not as it says:{lines}",
            hint="take the folder from where it was built, or build it again: edgeseg build",
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "schema": 1,
            "kind": "edgeseg-offline-check",
            "manifest": str(self.manifest),
            "manifest_sha256": self.sha256,
            "passed": not self.failures,
            "strict": self.strict,
            "unchanged": sum(one.state == "same" for one in self.found),
            "failures": [vars(one) for one in self.failures],
            "notes": [vars(one) for one in self.notes],
            "signature": self.signature,
        }


def check_offline(
    manifest: Path, *, strict: bool = False, listener: Callable[[Checked], None] = lambda _: None
) -> OfflineReport:
    """Check every hash of a build's manifest.

    Args:
        manifest: a `build.json`, or the folder that holds it.
        strict: take what is not reachable or not covered as a failure.
        listener: called after each file.

    Raises:
        UsageError: there is no manifest, or it is damaged.
    """
    content = read_build(manifest)
    file = manifest / NAME if manifest.is_dir() else manifest
    report = OfflineReport(file, sha256_of(file), strict)
    for one in (*_card(content, file), *_weights(content, file), *_targets(content, file), *check_data(content, file)):
        report.found.append(one)
        listener(one)
    return report


def _card(content: dict[str, Any], file: Path) -> Iterator[Checked]:
    card = mapping(content, "card", file)
    # `sha256` is that of the parsed card with its overrides; only `file_sha256` is of bytes.
    name = text(card, "path", file)
    yield compare("card", name, Path(name), text(card, "file_sha256", file), "unreachable")


def _weights(content: dict[str, Any], file: Path) -> Iterator[Checked]:
    weights = mapping(content, "weights", file)
    yield compare_inside("weights", file.parent, text(weights, "path", file), text(weights, "sha256", file))
    if name := text(weights, "from", file):
        expected = text(weights, "from_sha256", file)
        yield compare("weights given", name, Path(name), expected, "unreachable")


def _targets(content: dict[str, Any], file: Path) -> Iterator[Checked]:
    for target in rows(content, "targets", file):
        name = text(target, "id", file)
        if artifact := mapping(target, "artifact", file):
            yield from _entry(f"artifact of {name}", artifact, file)
        if bundle := mapping(target, "bundle", file):
            yield from _entry(f"bundle of {name}", bundle, file)


def _entry(what: str, row: dict[str, Any], file: Path) -> Iterator[Checked]:
    """A file with its hash, or a folder with one of each of its files, or one of them all together."""
    name, expected = text(row, "path", file), text(row, "sha256", file)
    path = inside(file.parent, name)
    if path is None:
        yield Checked(what, name, "outside")
    elif files := mapping(row, "files", file):
        yield from _files(f"file of the {what}", path, name, {key: _hash(files, key, file) for key in files})
    elif path.is_dir() and expected:
        found = sha256_of_folder(path)
        detail = "" if found == expected else f"sha256 of its files {found}, expected {expected}"
        yield Checked(what, name, "changed" if detail else "same", detail)
    else:
        yield compare_inside(what, file.parent, name, expected)


def _files(what: str, folder: Path, name: str, hashes: dict[str, str]) -> Iterator[Checked]:
    for part, expected in hashes.items():
        # Each must stay in the artifact's own folder, not only in the build's.
        yield replace(compare_inside(what, folder, part, expected), path=f"{name}/{part}")
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    for part in sorted(there - hashes.keys()):
        yield Checked(what, f"{name}/{part}", "added")


def _hash(files: dict[str, Any], key: str, file: Path) -> str:
    return text(mapping(files, key, file), "sha256", file)
