"""Python and the packages that the core imports."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from edgeseg.doctor.finding import Finding

OLDEST = (3, 10)
"""As pyproject.toml, requires-python."""

MODULES = {"opencv-python-headless": "cv2", "pyyaml": "yaml"}
"""Distribution to the module that it is imported as, where that has another name."""

_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)\s*(?:>=\s*([0-9.]+))?\s*$")


def check_python(running: Sequence[int] = sys.version_info[:3]) -> Finding:
    """The interpreter's version, and whether it is a venv's.

    Args:
        running: its version, major and minor first.
    """
    venv = sys.prefix != sys.base_prefix
    where = f"the venv {sys.prefix}" if venv else f"the system's {sys.executable}"
    found = ".".join(map(str, running[:3]))
    facts = {"version": found, "executable": sys.executable, "venv": venv, "system": platform.platform()}
    if tuple(running[:2]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        text = f"Python {found} is too old, edgeseg needs {oldest} or newer"
        return Finding("python", "problem", text, f"python{oldest} -m venv .venv", core=True, facts=facts)
    text = f"Python {found} in {where}, {platform.system()} {platform.machine()}"
    return Finding("python", "ok", text, core=True, facts=facts)


def check_packages(lines: Sequence[str] | None = None) -> Iterator[Finding]:
    """The packages that edgeseg cannot do without: there, importable, new enough.

    Args:
        lines: requirements as package metadata has them; None for those of the installed edgeseg.
    """
    versions: dict[str, str] = {}
    wrong = []
    for name, oldest in _core(lines):
        found = _installed(name)
        if found is None:
            wrong.append((f"{name} is not installed", name))
        elif oldest and _numbers(found) < _numbers(oldest):
            wrong.append((f"{name} {found} is too old, expected {oldest} or newer", name))
        versions[name] = found or ""
    for text, name in wrong:
        yield Finding("packages", "problem", text, f"pip install --upgrade {name}", core=True, facts=versions)
    if not wrong:
        listed = ", ".join(f"{name} {found}" for name, found in versions.items())
        yield Finding("packages", "ok", f"the core has what it imports: {listed}", core=True, facts=versions)


def _core(lines: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    try:
        asked = requires("edgeseg") if lines is None else lines
    except PackageNotFoundError:
        # Run from a source tree: then there is nothing to compare with.
        asked = []
    for line in asked or []:
        # What follows a semicolon is an extra's.
        if match := _REQUIREMENT.match(line):
            yield match[1], match[2] or ""


def _installed(name: str) -> str | None:
    """Version; ``unknown`` where another distribution provides the module; None where nothing does."""
    if find_spec(MODULES.get(name.lower(), name.lower().replace("-", "_"))) is None:
        return None
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _numbers(text: str) -> tuple[int, ...]:
    """Leading numbers of a version. What has none is taken as new: its provider is another distribution."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else (sys.maxsize,)
