"""Versions of installed packages that are known not to work together, each found by running them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from edgeseg.doctor.finding import Finding

Version = tuple[int, ...]


@dataclass(frozen=True)
class Trap:
    """Two packages.

    Attributes:
        package: whose use fails.
        other: the package whose version decides; may be the same.
        bad: whether that version fails.
        says: what happens.
        remedy: a command that mends it.
    """

    package: str
    other: str
    bad: Callable[[Version], bool]
    says: str
    remedy: str


TRAPS = (
    Trap(
        "coremltools",
        "numpy",
        lambda found: found > (2, 3, 5),
        "its converter stops: only 0-dimensional arrays can be converted to Python scalars",
        "pip install 'numpy<=2.3.5'",
    ),
    Trap(
        "tflite-runtime",
        "numpy",
        lambda found: found >= (2,),
        "it imports, and the first interpreter fails: _ARRAY_API not found",
        "keep it in a venv of its own: pip install tflite-runtime 'numpy<2'",
    ),
    Trap(
        "paddlepaddle",
        "paddlepaddle",
        lambda found: found >= (3, 3),
        "oneDNN refuses its files, and 3.2 cannot read them",
        "pip install paddlepaddle==3.2.2",
    ),
)


def check_traps(installed: Callable[[str], str] | None = None) -> Iterator[Finding]:
    """Known conflicts among installed packages.

    Args:
        installed: a package's version, empty where it is not there; None asks package metadata.
    """
    ask = installed or _installed
    found = [finding for trap in TRAPS if (finding := _sprung(trap, ask)) is not None]
    yield from found or [Finding("conflicts", "ok", "no known conflict among the installed packages")]


def _sprung(trap: Trap, ask: Callable[[str], str]) -> Finding | None:
    package, other = ask(trap.package), ask(trap.other)
    if not package or not other or not trap.bad(_numbers(other)):
        return None
    beside = "" if trap.package == trap.other else f" beside {trap.other} {other}"
    facts: Mapping[str, str] = {trap.package: package, trap.other: other}
    return Finding("conflicts", "problem", f"{trap.package} {package}{beside}: {trap.says}", trap.remedy, facts=facts)


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _numbers(text: str) -> Version:
    """The release part of a version: 2.4.0rc1 is (2, 4, 0)."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()
