"""One target of a build as its section of the page shows it: worked out, and put in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgeseg.report import numbers
from edgeseg.report.measurements import accuracy_of, parity_of, speed_of
from edgeseg.report.words import ENVIRONMENTS, GATES, OUTCOMES, OutcomeWords, fact_rows, words_for

LISTED = ("env_missing", "skipped")
"""Outcomes that share one list instead of a section each, where no stage has run."""

SHOWN_APART = ("export", "inspect", "verify", "validate", "benchmark", "gates", "bundle")
"""Stages whose facts have a place of their own; those of others are listed."""

NOTED = ("sentences", "lines", "log", "where")
"""Parts of a note; one without any of them says nothing."""

HERE, THERE = "in this build", "on its device"

_CONTROLS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
"""A terminal's colours and cursor moves (ECMA-48, 5.4), and other characters that a page has no use for."""

Rows = list[tuple[str, str]]


def section_of(target: Mapping[str, Any], reference: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the template shows of one target.

    Args:
        target: its row of `build.json`, of this version or an older one.
        reference: AP of the reference, empty where it was not judged.
        folder: the build's.

    Raises:
        UsageError: an outcome or a gate that this version does not know.
    """
    stages, result = target["stages"], target.get("device_result")
    gates = _gates(target)
    here = _place(HERE, stages.get("verify") or {}, stages.get("benchmark") or {}, folder)
    places = [here, _place(THERE, result["verify"], result["benchmark"] or {}, folder)] if result else [here]
    return {
        **{key: target[key] for key in ("id", "format", "device", "precision", "artifact", "message", "hint")},
        "words": words_for(OUTCOMES, target["outcome"], "outcome"),
        "rows": _overview(target, places, stages.get("validate") or {}),
        "listed": target["outcome"] in LISTED and not stages and not result,
        "notes": [note for note in _notes(target, places) if any(note[part] for part in NOTED)],
        "skipped": target.get("skipped") or [],
        "gates": gates,
        "unjudged": [row["words"].label for row in gates if row["met"] is None],
        "missing": _missing(gates),
        "accuracy": accuracy_of(stages.get("validate") or {}, reference),
        "places": places,
        "bundle": target.get("bundle"),
        "environment": _environment(target.get("environment") or {}),
        "stages": _stages(target),
        "details": [(title, rows) for title, rows in _details(stages, result or {}) if rows],
    }


def _place(name: str, verify: Mapping[str, Any], benchmark: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What was measured in one place."""
    return {"name": name, "parity": parity_of(verify, folder), "speed": speed_of(benchmark)}


def _own(target: Mapping[str, Any]) -> Mapping[str, Any]:
    """Outcome, message and hint of the build itself, also where a device's result has taken their place."""
    return (target.get("device_result") or {}).get("replaced") or target


def _overview(
    target: Mapping[str, Any], places: list[dict[str, Any]], validate: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A row of the overview for each place."""
    artifact = target["artifact"]
    rows = []
    for place, source in zip(places, (_own(target), target.get("device_result")), strict=False):
        here = place["name"] == HERE
        parity, speed = place["parity"], place["speed"]
        cells = {
            "iou_min": parity["iou"].get("min", ""),
            "iou_median": parity["iou"].get("median", ""),
            "score": parity["points"].get("score", ""),
            "box": parity["points"].get("box", ""),
            "kept": numbers.percent(validate["ap_retention"]) if here and "ap_retention" in validate else "",
            "p50": speed["p50"] if speed else "",
            "size": numbers.megabytes(artifact["bytes"]) if here and artifact else "",
        }
        words: OutcomeWords = words_for(OUTCOMES, (source or target)["outcome"], "outcome")
        rows.append({"place": "" if here else place["name"], "words": words, "cells": cells})
    return rows


def _notes(target: Mapping[str, Any], places: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Why it did not pass here and on its device, what to do, and what that was found from."""
    result = target.get("device_result")
    for place in places:
        here = place["name"] == HERE
        source = target if here else result or {}
        # The device has done what the build's own message asked for.
        said = {} if here and (result or {}).get("replaced") else source
        hint = said.get("hint") or ""
        sentences = [text for text in (said.get("message"), hint) if text]
        diagnosis = [text for text in place["parity"]["diagnosis"] if text not in hint]
        # A broken contract is also the message of the stage that judges.
        problems = [text for text in place["parity"]["problems"] if text not in (said.get("message") or "")]
        where = {} if here else source
        yield {
            "state": words_for(OUTCOMES, source["outcome"], "outcome").state,
            "place": "" if here else place["name"],
            "words": words_for(OUTCOMES, source["outcome"], "outcome"),
            "sentences": sentences,
            "lines": problems + diagnosis,
            "log": _CONTROLS.sub("", target.get("log") or "") if here else "",
            "where": [*fact_rows(where.get("environment") or {}), *_finished(where)],
        }


def _finished(source: Mapping[str, Any]) -> Rows:
    return [("finished", numbers.moment(source["finished"]))] if source.get("finished") else []


def _gates(target: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every gate: the judged ones first, each followed by what the device found, then those that nobody judged."""
    # Older builds judged in the stage that compares, this one in a stage of its own.
    here = {gate["name"]: gate for stage in target["stages"].values() for gate in stage.get("gates") or []}
    there = {gate["name"]: gate for gate in (target.get("device_result") or {}).get("gates") or []}
    rows = []
    for name in [*here, *(name for name in there if name not in here)]:
        rows += [_gate(found[name], place) for found, place in ((here, ""), (there, THERE)) if name in found]
    left = {name: limit for name, limit in target["gates"].items() if name not in {**here, **there}}
    return rows + [
        {"name": name, "place": "", "words": words_for(GATES, name, "gate"), "limit": _limit(name, limit), "met": None}
        for name, limit in left.items()
    ]


def _gate(gate: Mapping[str, Any], place: str) -> dict[str, Any]:
    return {
        "name": gate["name"],
        "place": place,
        "words": words_for(GATES, gate["name"], "gate"),
        "limit": _limit(gate["name"], gate["limit"]),
        "value": numbers.number(gate["value"]),
        "margin": numbers.margin(gate["margin"]),
        "met": gate["met"],
    }


def _limit(name: str, limit: float) -> str:
    return ("≥ " if name.endswith("_min") else "≤ ") + numbers.number(limit)


def _missing(rows: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """What had to run before the gates that were not judged, with their labels."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        if row["met"] is None:
            groups.setdefault(row["words"].needs, []).append(row["words"].label)
    return list(groups.items())


def _environment(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where the stages ran; None where an older build does not say it."""
    if not found:
        return None
    return {
        "kind": ENVIRONMENTS.get(found["kind"], found["kind"]),
        "description": found["description"],
        "versions": list((found.get("versions") or {}).items()),
    }


def _stages(target: Mapping[str, Any]) -> dict[str, Any] | None:
    """How long each stage took, and which did not run; None where an older build does not say it."""
    if "seconds" not in target:
        return None
    seconds = target["seconds"]
    rows = [
        (stage, numbers.duration(seconds[stage]) if stage in seconds else "unchanged since an earlier build")
        for stage in target["stages"]
    ]
    rows += [(stage, "not run: a stage before it failed") for stage in target.get("skipped") or []]
    total = (
        f"{numbers.duration(sum(seconds.values()))} in this build" if seconds else "unchanged since an earlier build"
    )
    return {"rows": rows, "summary": total} if rows else None


def _details(stages: Mapping[str, Any], result: Mapping[str, Any]) -> Iterator[tuple[str, Rows]]:
    """Titles with rows of name and value: what the stages tell besides numbers that were compared."""
    export = stages.get("export") or {}
    yield "Findings in the artifact", list(fact_rows(stages.get("inspect") or {}))
    yield from _execution(stages, "")
    yield from _execution(result, f", {THERE}")
    yield "Export options", list(fact_rows(export.get("options") or {}, absent="not given"))
    kept = ("head", "batch", "dynamic", "license")
    yield "The artifact says", list(fact_rows({key: export[key] for key in kept if key in export}))
    yield "Made with", list(fact_rows(export.get("tool_versions") or {}))
    for stage in stages:
        if stage not in SHOWN_APART:
            yield f"Stage {stage}", list(fact_rows(stages[stage]))


def _execution(found: Mapping[str, Any], where: str) -> Iterator[tuple[str, Rows]]:
    """How both sides ran, of stages or of a device's result."""
    facts = (found.get("verify") or {}).get("facts") or {}
    yield f"How the artifact ran{where}", list(fact_rows(facts.get("artifact_runs_as") or {}))
    yield f"How the reference ran{where}", list(fact_rows(facts.get("reference_runs_as") or {}))
    timed = (found.get("benchmark") or {}).get("runs_as") or {}
    yield f"How it ran when it was timed{where}", list(fact_rows(timed))
    thresholds = (("score", "score"), ("NMS IoU", "iou"))
    compared = {f"{name} threshold": facts[key] for name, key in thresholds if key in facts}
    yield f"Compared with{where}", list(fact_rows(compared))
