"""A build as one Markdown page, for a terminal, a merge request or a wiki."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgeseg.report import numbers
from edgeseg.report.words import GATES, OUTCOMES, counted, words_for

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&#])")
"""What starts markup inside a line or ends a table's cell (CommonMark 0.31, GFM 4.10)."""

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
"""Control characters and line ends: a text of ours is one line."""


def render_markdown(content: Mapping[str, Any]) -> str:
    """The page for a build.

    Args:
        content: of `build.json`.

    Raises:
        UsageError: an outcome or a gate that this version does not know.
    """
    targets = content["targets"]
    parts = [
        f"# {escape(content['name'])}: {_verdict(targets)}",
        _table(
            ("target", "outcome", "mask IoU min", "median", "score error, any point", "latency p50, ms", "MB"),
            [row for target in targets for row in _target_rows(target)],
        ),
        "\n".join(_messages(targets)),
        "## Gates",
        _table(("target", "gate", "result", "value", "limit", "margin"), [r for t in targets for r in _gate_rows(t)]),
        "## Made from",
        _facts(_origin(content)),
        "## Environment",
        _facts(content["environment"].items()),
        "## Repeat this build",
        _code(shlex.join(content["command"])),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: object) -> str:
    """A user's text as plain text of one line of Markdown."""
    return _SPECIAL.sub(r"\\\1", _UNSEEN.sub(" ", str(text)))


def _verdict(targets: Sequence[Mapping[str, Any]]) -> str:
    states = [words_for(OUTCOMES, target["outcome"], "outcome").state for target in targets]
    passed, failed, left = (states.count(state) for state in ("passed", "failed", "open"))
    parts = [f"{passed} of {counted(len(states), 'target')} passed"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{left} left open"] if left else []
    return ", ".join(parts)


def _target_rows(target: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """What the build found, and below it what the device did."""
    stages = target["stages"]
    artifact = target.get("artifact") or {}
    size = f"{artifact['bytes'] / 1e6:.1f}" if "bytes" in artifact else ""
    result = target.get("device_result")
    own = (result or {}).get("replaced") or target
    yield (escape(target["id"]), _outcome(own), *_measured(stages.get("verify"), stages.get("benchmark")), size)
    if result:
        measured = _measured(result["verify"], result["benchmark"])
        yield (f"{escape(target['id'])}, on its device", _outcome(result), *measured, size)


def _measured(verify: Mapping[str, Any] | None, benchmark: Mapping[str, Any] | None) -> Sequence[str]:
    masks, points = (verify or {}).get("masks") or {}, (verify or {}).get("points") or {}
    latency = (benchmark or {}).get("latency_ms") or {}
    return (
        numbers.overlap(masks["mask_iou_min"]) if "mask_iou_min" in masks else "",
        numbers.overlap(masks["mask_iou_median"]) if "mask_iou_median" in masks else "",
        numbers.number(points["score_error_max"]) if "score_error_max" in points else "",
        f"{latency['p50']:.1f}" if latency.get("p50") is not None else "",
    )


def _outcome(source: Mapping[str, Any]) -> str:
    return words_for(OUTCOMES, source["outcome"], "outcome").label


def _messages(targets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Why a target did not pass, and what to do."""
    for target in targets:
        for source, where in ((target, ""), (target.get("device_result") or {}, ", on its device")):
            said = [escape(source[key]) for key in ("message", "hint") if source.get(key)]
            # A result that took a deferred outcome's place has put its message there, too.
            if said and not (where and source.get("message") == target.get("message")):
                yield f"- {escape(target['id'])}{where}: {': '.join(said)}"


def _gate_rows(target: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """Judged gates, then those that were asked and nobody judged, then the device's."""
    judged = {gate["name"]: gate for stage in target["stages"].values() for gate in stage.get("gates") or []}
    on_device = {gate["name"]: gate for gate in (target.get("device_result") or {}).get("gates") or []}
    name = escape(target["id"])
    for gate in judged.values():
        yield (name, *_gate(gate))
    for asked, limit in target["gates"].items():
        if asked not in judged and asked not in on_device:
            yield (name, _label(asked), "not judged", "", numbers.number(limit), "")
    for gate in on_device.values():
        yield (f"{name}, on its device", *_gate(gate))


def _gate(gate: Mapping[str, Any]) -> Sequence[str]:
    values = (numbers.number(gate["value"]), numbers.number(gate["limit"]), numbers.margin(gate["margin"]))
    return (_label(gate["name"]), "met" if gate["met"] else "**not met**", *values)


def _label(name: str) -> str:
    words = words_for(GATES, name, "gate")
    bound = "at least" if name.endswith("_min") else "at most"
    return f"{words.label}{f', {words.unit}' if words.unit else ''} ({bound})"


def _origin(content: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    weights, card = content["weights"], content["card"]
    yield "network", f"{content['family']}, scale {content['scale']}, {' x '.join(map(str, content['image_size']))} px"
    yield "card", card["path"]
    yield "sha256 of the card's content", card["sha256"]
    yield "sha256 of the weights", weights["sha256"]
    yield "licence of the weights", weights.get("license") or "not given"
    yield "pictures compared", f"{content['pictures']['count']} ({content['pictures']['from']})"
    yield "finished", content["finished"]


def _facts(pairs: Iterator[tuple[str, object]] | Any) -> str:
    return "\n".join(f"- {escape(name)}: {escape(value)}" for name, value in pairs)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(text: str) -> str:
    """A fenced block whose fence is longer than any row of backticks in it (CommonMark 0.31, 4.5)."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}sh\n{text}\n{fence}"
