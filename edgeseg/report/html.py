"""A build as one HTML page that needs nothing else: no network, no script, no font, pictures inside."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from edgeseg.report import numbers
from edgeseg.report.pictures import ONLY_ARTIFACT, ONLY_REFERENCE, TINT
from edgeseg.report.template import render_page
from edgeseg.report.words import GATES, OUTCOMES, OutcomeWords, State, fact_rows, words_for

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
LISTED = ("env_missing", "skipped")
"""Outcomes that share one list instead of a section each, where no stage has run."""


def render(content: Mapping[str, Any], folder: Path) -> str:
    """The page for a build.

    Args:
        content: of `build.json`.
        folder: the build's folder. Pictures of worst instances are read from it, and from nowhere else.

    Raises:
        EnvironmentMissingError: jinja2 is not installed.
        UsageError: an outcome or a gate that this version does not know.
    """
    targets = [{**_target(target, folder), "number": n} for n, target in enumerate(content["targets"], start=1)]
    return render_page(
        "report.html",
        build=content,
        verdict=_verdict(targets),
        instances=max((target["masks"].get("reference_instances", 0) for target in targets), default=0),
        shown=[target for target in targets if not target["listed"]],
        listed=_by_outcome([target for target in targets if target["listed"]]),
        absent=_by_remedy([target for target in targets if target["listed"]]),
        unjudged=_unjudged(targets),
        command=_wrapped(content["command"]),
        source=[row for row in fact_rows(content["weights"]["source"]) if row[0] != "file"],
        legend={"both": _css(TINT), "reference": _css(ONLY_REFERENCE), "artifact": _css(ONLY_ARTIFACT)},
    )


def _target(target: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the template shows of one target, worked out and put in words."""
    stages = target["stages"]
    verify = stages.get("verify", {})
    facts = verify.get("facts", {})
    rows = _gates(target)
    return {
        **target,
        "words": words_for(OUTCOMES, target["outcome"], "outcome"),
        "listed": target["outcome"] in LISTED and not stages,
        "gate_rows": rows,
        "missing": _missing(rows),
        "tensors": _tensors(verify.get("tensors", [])),
        "points": verify.get("points", {}),
        "masks": verify.get("masks", {}),
        "bins": _bins(verify.get("masks", {})),
        "worst": [_worst(worst, folder) for worst in verify.get("worst", [])],
        "problems": verify.get("problems", []),
        "diagnosis": [sentence for sentence in verify.get("diagnosis", []) if sentence != target["hint"]],
        "details": [(title, rows) for title, rows in _details(stages, facts) if rows],
    }


def _details(stages: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Titles with rows of name and value: what the stages tell besides numbers that were compared."""
    export = stages.get("export", {})
    yield "Findings in the artifact", list(fact_rows(stages.get("inspect", {})))
    yield "How the artifact ran", list(fact_rows(facts.get("artifact_runs_as", {})))
    yield "How the reference ran", list(fact_rows(facts.get("reference_runs_as", {})))
    compared = {
        f"{name} threshold": facts[key] for name, key in (("score", "score"), ("NMS IoU", "iou")) if key in facts
    }
    yield "Compared with", list(fact_rows(compared))
    yield "Export options", list(fact_rows(export.get("options", {})))
    kept = ("head", "batch", "dynamic", "license")
    yield "The artifact says", list(fact_rows({key: export[key] for key in kept if key in export}))
    yield "Tool versions", list(fact_rows(export.get("tool_versions", {})))
    for stage in stages:
        if stage not in ("export", "inspect", "verify"):
            yield f"Stage {stage}", list(fact_rows(stages[stage]))


def _gates(target: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every gate: the judged ones first, then those that were asked and not judged."""
    judged = [gate for stage in target["stages"].values() for gate in stage.get("gates", [])]
    rows = [
        {
            "name": gate["name"],
            "words": words_for(GATES, gate["name"], "gate"),
            "limit": _limit(gate["name"], gate["limit"]),
            "value": numbers.number(gate["value"]),
            "margin": numbers.margin(gate["margin"]),
            "met": gate["met"],
        }
        for gate in judged
    ]
    left = {name: limit for name, limit in target["gates"].items() if name not in {gate["name"] for gate in judged}}
    return rows + [
        {"name": name, "words": words_for(GATES, name, "gate"), "limit": _limit(name, limit), "met": None}
        for name, limit in left.items()
    ]


def _missing(rows: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """What had to run before the gates that were not judged, with their labels."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        if row["met"] is None:
            groups.setdefault(row["words"].needs, []).append(row["words"].label)
    return list(groups.items())


def _limit(name: str, limit: float) -> str:
    return ("≥ " if name.endswith("_min") else "≤ ") + numbers.number(limit)


def _tensors(tensors: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows, and a sentence that sums them up."""
    rows = [
        {
            "name": tensor["name"],
            "identical": tensor["max_abs"] == 0,
            "max": numbers.number(tensor["max_abs"]),
            "mean": numbers.number(tensor["mean_abs"]),
            "sqnr": numbers.decibels(tensor["sqnr_db"]) if tensor["max_abs"] is not None else numbers.NOT_FINITE,
            "cosine": numbers.cosine(tensor["cosine"]),
        }
        for tensor in tensors
    ]
    noisy = [tensor for tensor in tensors if tensor["sqnr_db"] is not None and tensor["max_abs"] != 0]
    broken = [tensor for tensor in tensors if tensor["max_abs"] is None]
    identical = sum(row["identical"] for row in rows)
    same = {0: "none identical to the reference", len(rows): "all identical to the reference"}
    parts = [f"{len(rows)}, {same.get(identical, f'{identical} identical to the reference')}"]
    if broken:
        parts.append(f"{len(broken)} with values that are no numbers")
    if noisy:
        least = min(noisy, key=lambda tensor: float(tensor["sqnr_db"]))
        parts.append(f"least signal to noise in {least['name']}, {numbers.decibels(least['sqnr_db'])} dB")
    return {"rows": rows, "summary": "; ".join(parts)}


def _bins(masks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The mask IoU histogram, best bin first; widths in percent of the largest bin."""
    edges, counts = masks.get("mask_iou_histogram_edges", []), masks.get("mask_iou_histogram", [])
    largest = max(counts, default=0) or 1
    return [
        {"low": f"{low:g}", "high": f"{high:g}", "count": count, "width": round(100 * count / largest, 2)}
        for low, high, count in reversed(list(zip(edges[:-1], edges[1:], counts, strict=True)))
    ]


def _worst(worst: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {
        "what": worst["what"],
        "mask_iou": worst["mask_iou"],
        "source": PurePath(worst["source"]).name,
        "picture": _embedded(folder / worst["picture"], folder) if worst["picture"] else "",
    }


def _embedded(path: Path, folder: Path) -> str:
    """A PNG of the build's folder as base64; empty for anything else, so that a page never takes in other files."""
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        return ""
    data = path.read_bytes()
    return base64.b64encode(data).decode() if data.startswith(PNG_SIGNATURE) else ""


def _verdict(targets: list[dict[str, Any]]) -> dict[str, str]:
    states: list[State] = [target["words"].state for target in targets]
    passed, failed, left = (states.count(state) for state in ("passed", "failed", "open"))
    parts = [f"{passed} of {len(states)} target{'' if len(states) == 1 else 's'} passed"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{left} not finished here"] if left else []
    return {"state": "failed" if failed else "open" if left else "passed", "text": ", ".join(parts)}


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
    """Labels of gates that targets passed without: asked for, but nothing here measured them."""
    passed = [target for target in targets if target["words"].state == "passed"]
    return list(dict.fromkeys(row["words"].label for t in passed for row in t["gate_rows"] if row["met"] is None))


def _wrapped(words: list[str]) -> str:
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
