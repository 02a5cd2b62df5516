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


@functools.cache
def code_version(target_module: str = "") -> str:
    """``<release>+<digest>``: the digest covers the core and, where given, the folder of a target's module.

    Args:
        target_module: import name of the module whose folder has the target's code; it is imported already.
    """
    root = Path(edgeseg.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if relative.parts[0] not in IRRELEVANT:
            digest.update(f"{relative.as_posix()}\0".encode() + path.read_bytes() + b"\0")
    file = getattr(sys.modules.get(target_module), "__file__", None) if target_module else None
    if file:
        for path in sorted(Path(file).parent.glob("*.py")):
            digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return f"{__version__}+{digest.hexdigest()[:12]}"
