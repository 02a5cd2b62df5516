"""A finished build on the terminal: targets, gates with value, limit and margin, last lines of what failed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from edgeseg.build.execute import Build
    from edgeseg.build.target_build import TargetBuild

LOG_WIDTH = 140
"""A log has no width: names must not be cut."""


def print_build(build: Build, page: Path) -> None:
    """Print it to stdout."""
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, LOG_WIDTH)
    _targets(console, build)
    _gates(console, build)
    for target in build.targets:
        if target.outcome != "passed":
            _failure(console, target)
    pictures = len(build.plan.pictures.pictures)
    masks = [found for t in build.targets if (found := t.stages.get("verify", {}).get("masks"))]
    compared = f"{max(found['matched'] for found in masks)} instances matched" if masks else "no masks were compared"
    console.print(f"{pictures} pictures ({build.plan.pictures_from}), {compared}")
    ran = build.ran
    console.print(f"ran: {', '.join(ran)}" if ran else "nothing had to run again", soft_wrap=True)
    console.print(f"report: {page}", soft_wrap=True)


def _targets(console: Console, build: Build) -> None:
    from rich.table import Table

    heads = (
        "target",
        "outcome",
        "mask IoU min",
        "median",
        "score error, any point",
        "box error px, any point",
        "p50 ms",
        "MB",
    )
    table = Table(*heads, box=None)
    for target in build.targets:
        verified, timed = (target.stages.get(stage, {}) for stage in ("verify", "benchmark"))
        masks, points = verified.get("masks", {}), verified.get("points", {})
        table.add_row(
            target.target.id,
            target.outcome,
            _number(masks.get("mask_iou_min"), ".4f"),
            _number(masks.get("mask_iou_median"), ".4f"),
            _number(points.get("score_error_max"), ".1e"),
            _number(points.get("box_error_px_max"), ".4f"),
            _number(timed.get("latency_ms", {}).get("p50"), ".1f"),
            _number(target.stages.get("export", {}).get("artifact_mb"), ".1f"),
        )
    console.print(table)


def _gates(console: Console, build: Build) -> None:
    from rich.table import Table

    table = Table("target", "gate", "value", "limit", "margin", "", box=None)
    for target in build.targets:
        for gate in target.stages.get("gates", {}).get("gates", []):
            table.add_row(
                target.target.id,
                gate["name"],
                _number(gate["value"], ".6g") or "no number",
                f"{gate['limit']:g}",
                _number(gate["margin"], "+.3g"),
                "met" if gate["met"] else "NOT MET",
            )
    if table.row_count:
        console.print()
        console.print(table)


def _failure(console: Console, target: TargetBuild) -> None:
    console.print(f"\n{target.target.id}: {target.outcome}: {target.message}", soft_wrap=True)
    for line in target.log.splitlines():
        console.print(f"  | {line}", soft_wrap=True)
    if target.skipped:
        console.print(f"  not run since then: {', '.join(target.skipped)}", soft_wrap=True)
    if target.hint:
        console.print(f"  hint: {target.hint}", soft_wrap=True)
    if target.bundle is not None:
        console.print(f"  bundle: {target.bundle}", soft_wrap=True)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
