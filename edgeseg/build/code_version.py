"""Which code a stage ran with: the release, and a digest of the files that can change what a stage gives."""

from __future__ import annotations

import functools
import hashlib
import sys
from pathlib import Path

import edgeseg
from edgeseg import __version__

IRRELEVANT = ("cli", "testing", "report", "doctor")
"""Packages that only show what stages give."""


CODE = (".py", ".js", ".mjs", ".html", ".css", ".svg", ".json")
"""Suffixes of a package's files that can change what its target makes: one may bring a page of its own."""


def code_version(target_module: str = "") -> str:
    """``<release>+<digest>``: the digest covers the core and, where given, the package that brings a target.

    The whole package, since one target may build on another's code: a frozen graph on that of a SavedModel.

    Args:
        target_module: import name of the target's module, which is imported already.
    """
    return _version(target_module.partition(".")[0])


@functools.cache
def _version(package: str) -> str:
    """Once for each package: all targets of one have the same digest."""
    root = Path(edgeseg.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if relative.parts[0] not in IRRELEVANT:
            digest.update(f"{relative.as_posix()}\0".encode() + path.read_bytes() + b"\0")
    for path, name in _package_files(package):
        digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    return f"{__version__}+{digest.hexdigest()[:12]}"


def _package_files(package: str) -> list[tuple[Path, str]]:
    """The files of an imported package, or the one file of a module, with their names in it."""
    module = sys.modules.get(package)
    file = getattr(module, "__file__", None)
    if file is None:
        return []
    if not hasattr(module, "__path__"):
        return [(Path(file), Path(file).name)]
    root = Path(file).parent
    found = sorted(path for path in root.rglob("*") if path.suffix in CODE)
    return [(path, path.relative_to(root).as_posix()) for path in found]
