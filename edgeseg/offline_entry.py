"""One file that a build's manifest names, compared with the hash that the manifest has of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeseg.build_manifest import inside
from edgeseg.files import sha256_of

State = Literal["same", "changed", "gone", "added", "outside", "unreachable", "uncovered"]

FAILED: frozenset[State] = frozenset({"changed", "gone", "added", "outside"})
NOTED: frozenset[State] = frozenset({"unreachable", "uncovered"})


@dataclass(frozen=True)
class Checked:
    """One file or folder that the manifest names.

    Attributes:
        what: its role, such as ``artifact of onnx-fp32``.
        path: as the manifest writes it.
        state: ``same``; a failure: ``changed``, ``gone``, ``added`` (a file that the manifest does not name in a
            folder that it lists), ``outside`` (a name that leads out of the build's folder); or a note:
            ``unreachable`` (not on this machine), ``uncovered`` (the manifest has no hash of it).
        detail: what was expected and found, where that says more.
    """

    what: str
    path: str
    state: State
    detail: str = ""

    def line(self) -> str:
        """One line for people."""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.what}: {self.path or 'no path'}: {WORDS[self.state]}{detail}"


WORDS: dict[State, str] = {
    "same": "unchanged",
    "changed": "changed",
    "gone": "gone",
    "added": "not named by the manifest",
    "outside": "leads out of the build's folder",
    "unreachable": "not reachable on this machine",
    "uncovered": "not covered: the manifest has no hash of it",
}


def compare(what: str, name: str, path: Path, expected: str, absent: State) -> Checked:
    """One file against its hash; `absent` is the state where it is not there."""
    if not expected:
        return Checked(what, name, "uncovered")
    try:
        if not path.is_file():
            return Checked(what, name, absent, "no regular file" if path.exists() else "")
        found = sha256_of(path)
    except OSError as error:
        return Checked(what, name, absent, error.strerror or str(error))
    if found == expected:
        return Checked(what, name, "same")
    return Checked(what, name, "changed", f"sha256 {found}, expected {expected}")


def compare_inside(what: str, folder: Path, name: str, expected: str) -> Checked:
    """One file of the build's own folder against its hash."""
    path = inside(folder, name)
    if path is None:
        return Checked(what, name, "outside")
    if not path.exists():
        return Checked(what, name, "gone")
    return compare(what, name, path, expected, "gone")
