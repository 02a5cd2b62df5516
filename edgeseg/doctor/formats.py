"""Every format: where its target can work."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from edgeseg.doctor.finding import Finding, Level
from edgeseg.errors import EnvironmentMissingError
from edgeseg.registry import Entry, entries


def check_formats(*, images: bool) -> Iterator[Finding]:
    """One finding a format.

    Args:
        images: whether to ask the container engine for each target's image; False where its daemon is silent.
    """
    for entry in entries().values():
        yield _format(entry, images)


def _format(entry: Entry, images: bool) -> Finding:
    facts: dict[str, Any] = {
        "format": entry.name,
        "registered": entry.target is not None,
        "usable": entry.target is not None and entry.report.usable,
        "versions": dict(entry.report.versions),
        "problems": list(entry.report.problems),
    }
    if entry.target is None:
        # A target that is there and broken is worth mending; one that this version does not have is not.
        level: Level = "problem" if entry.summary == "broken" else "note"
        return Finding("formats", level, entry.report.problems[0], entry.report.remedy, facts=facts)
    places = _places(entry.name, images)
    ready = [place for place, (works, _) in places.items() if works]
    facts["environments"] = {place: {"ready": works, "what": what} for place, (works, what) in places.items()}
    versions = ", ".join(f"{name} {found}" for name, found in entry.report.versions.items())
    if facts["usable"]:
        also = f"; also its {' and its '.join(ready)}" if ready else ""
        return Finding("formats", "ok", f"{entry.name}: works here ({versions or 'needs nothing'}){also}", facts=facts)
    why = "; ".join(entry.report.problems)
    if ready:
        return Finding("formats", "ok", f"{entry.name}: works in its {' and its '.join(ready)}, not here", facts=facts)
    outdated = "; ".join(what for works, what in places.values() if what and not works)
    text = f"{entry.name}: works nowhere here: {why}{f'; {outdated}' if outdated else ''}"
    remedy = f"{entry.report.remedy}, or edgeseg targets install {entry.name}"
    return Finding("formats", "note", text, remedy, facts=facts)


def _places(name: str, images: bool) -> dict[str, tuple[bool, str]]:
    """Kind of environment to whether it is ready, and what it is or what is wrong with it."""
    from edgeseg.environments import image, venv

    ways: dict[str, Callable[[str], Any]] = {"venv": venv.find, **({"image": image.find} if images else {})}
    found = {}
    for kind, find in ways.items():
        found[kind] = (False, "")
        try:
            # A package that registers a target need not ship a recipe for an environment.
            with contextlib.suppress(OSError, LookupError):
                environment = find(name)
                found[kind] = (environment is not None, environment.describe() if environment else "")
        except EnvironmentMissingError as error:
            found[kind] = (False, error.message)
    return found
