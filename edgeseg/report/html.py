"""A build as one HTML page that needs nothing else: no network, no script, no font, pictures inside."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeseg.report import numbers
from edgeseg.report.measurements import reference_rows
from edgeseg.report.pictures import ONLY_ARTIFACT, ONLY_REFERENCE, TINT
from edgeseg.report.target_section import section_of
from edgeseg.report.template import render_page
from edgeseg.report.words import DATA_LISTS, OutcomeWords, State, counted, fact_rows

COLUMNS = (
    ("iou_min", "Mask IoU min.", False),
    ("iou_median", "Median", True),
    ("score", "Score error", True),
    ("box", "Box error, px", True),
    ("kept", "Mask AP kept", False),
    ("p50", "Latency, median", False),
    ("size", "Size", True),
)
"""Columns of the overview: key, title, and whether a phone has no room for it."""


def render(content: Mapping[str, Any], folder: Path) -> str:
    """The page for a build.

    Args:
        content: of `build.json`, of this version or an older one.
        folder: the build's folder. Pictures of worst instances are read from it, and from nowhere else.

    Raises:
        EnvironmentMissingError: jinja2 is not installed.
        UsageError: an outcome or a gate that this version does not know.
    """
    reference = content.get("reference") or {}
    rows = [section_of(target, reference, folder) for target in content["targets"]]
    targets = [{**row, "number": number} for number, row in enumerate(rows, start=1)]
    shown = [target for target in targets if not target["listed"]]
    listed = [target for target in targets if target["listed"]]
    several = len(targets) > 1
    return render_page(
        "report.html",
        build=content,
        verdict=_verdict(targets),
        instances=max((place["parity"]["instances"] for t in targets for place in t["places"]), default=0),
        shown=[{**t, "command": _wrapped(_only(content["command"], t["id"])) if several else ""} for t in shown],
        columns=_columns(shown),
        listed=_by_outcome(listed),
        absent=_by_remedy(listed),
        unjudged=_unjudged(targets),
        command=_wrapped(content["command"]),
        source=_source(content["weights"]),
        reference=reference_rows(reference),
        data=list(_data(content)),
        hashes=[(what, of) for what, of in _hashes(content) if of],
        finished=numbers.moment(content.get("finished") or ""),
        legend={"both": _css(TINT), "reference": _css(ONLY_REFERENCE), "artifact": _css(ONLY_ARTIFACT)},
    )


def _verdict(targets: list[dict[str, Any]]) -> dict[str, str]:
    states: list[State] = [target["words"].state for target in targets]
    passed, failed, left = (states.count(state) for state in ("passed", "failed", "open"))
    parts = [f"{passed} of {len(states)} target{'' if len(states) == 1 else 's'} passed"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{left} not finished here"] if left else []
    return {"state": "failed" if failed else "open" if left else "passed", "text": ", ".join(parts)}


def _columns(targets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The overview's columns that say something; what was measured nowhere needs no column."""
    cells = [row["cells"] for target in targets for row in target["rows"]]
    return [
        {"key": key, "title": title, "optional": optional}
        for key, title, optional in COLUMNS
        if any(one[key] for one in cells)
    ]


def _by_outcome(targets: list[dict[str, Any]]) -> list[tuple[OutcomeWords, list[str]]]:
    """Outcomes of the targets that have no section, with the ids of each."""
    groups: dict[OutcomeWords, list[str]] = {}
    for target in targets:
        groups.setdefault(target["words"], []).append(target["id"])
    return list(groups.items())


def _by_remedy(targets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Targets that were not built here, those with the same remedy together."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for target in targets:
        groups.setdefault(target["hint"], []).append(target)
    return [{"remedy": remedy, "targets": members} for remedy, members in groups.items()]


def _unjudged(targets: list[dict[str, Any]]) -> list[str]:
    """Labels of gates that targets passed without: asked for, but nothing measured them."""
    passed = [target for target in targets if target["words"].state == "passed"]
    return list(dict.fromkeys(label for target in passed for label in target["unjudged"]))


def _source(weights: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where the weights come from, without what the page says elsewhere."""
    return [row for row in fact_rows(weights["source"]) if row[0] not in ("file", "sha256")]


def _data(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each list of pictures: what for, and how many of which annotations."""
    for one in content.get("data") or []:
        of = f" of {one['annotations']}" if one["annotations"] else ""
        yield DATA_LISTS.get(one["name"], one["name"]), f"{counted(one['pictures'], 'picture')}{of}"


def _hashes(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the build was made from, with its sha256; empty where it is not known."""
    card, weights = content["card"], content["weights"]
    yield "Card with overrides, as content", card["sha256"]
    yield "Card, the file as given", card.get("file_sha256") or ""
    given, of_source = weights.get("from_sha256") or "", str(weights["source"].get("sha256") or "")
    yield "Weights as given", given
    if of_source != given:
        yield "Weights that those were made from", of_source
    yield f"Reference, {weights['path']}", weights["sha256"]
    for one in content.get("data") or []:
        yield f"Annotations, {one['annotations']}", one["sha256"]
        yield f"{counted(one['pictures'], 'picture')}, listed in {one['list']}", one["list_sha256"]


def _only(words: Sequence[str], target: str) -> list[str]:
    """A build's command for one of its targets."""
    kept: list[str] = []
    left = list(words)
    while left:
        # Every option has a value, which may look like an option itself.
        size = 2 if left[0].startswith("--") else 1
        if left[0] != "--only":
            kept += left[:size]
        del left[:size]
    return [*kept, "--only", target]


def _wrapped(words: Sequence[str]) -> str:
    """A command for a POSIX shell, one option a line."""
    lines: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--"):
            lines.append([])
        lines[-1].append(word)
    return " \\\n  ".join(shlex.join(line) for line in lines)


def _css(colour: Any) -> str:
    red, green, blue = (int(channel) for channel in colour)
    return f"rgb({red}, {green}, {blue})"
