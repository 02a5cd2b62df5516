"""A verification as text: tables on stdout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgeseg.report.words import counted

WORST_SHOWN = 3


def print_verification(content: Mapping[str, Any]) -> None:
    """Print the content of `edgeseg.report.schema.verify_json`."""
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    if content["tensors"]:
        table = Table("tensor", "max error", "mean error", "SQNR dB", "cosine", box=None)
        for row in content["tensors"]:
            formats = {"max_abs": ".2e", "mean_abs": ".2e", "sqnr_db": ".1f", "cosine": ".6f"}
            table.add_row(row["name"], *(_number(row[key], form) for key, form in formats.items()))
        console.print(table)
    if content["masks"]:
        masks = content["masks"]
        console.print(
            f"\n{masks['pictures']} pictures, {masks['matched']} instances matched, {masks['missing']} missing, "
            f"{masks['extra']} extra"
        )
    print_gates(content["gates"])
    if content["not_judged"]:
        console.print(
            "not judged here: "
            + ", ".join(content["not_judged"])
            + " (a build judges it on data.val; see edgeseg val)",
            soft_wrap=True,
        )
    for worst in content["worst"][:WORST_SHOWN]:
        console.print(f"worst: {worst['source']}: {worst['what']}")
    if "blame" in content:
        found = content["blame"]
        console.print(f"blame: {found['step'] or 'no step'}: {'; '.join(found['because'])}", soft_wrap=True)
    if "bisect" in content:
        found = content["bisect"]
        console.print(
            f"bisect: {found['verdict']} ({counted(found['runs'], 'run')}, {counted(found['layers'], 'layer')})",
            soft_wrap=True,
        )


def print_gates(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of `edgeseg.report.schema.gate_json`."""
    from rich.console import Console
    from rich.table import Table

    table = Table("gate", "value", "limit", "margin", "", box=None)
    for row in rows:
        met = "met" if row["met"] else "NOT MET"
        table.add_row(
            row["name"], _number(row["value"], ".6g"), f"{row['limit']:g}", _number(row["margin"], "+.3g"), met
        )
    Console(markup=False, highlight=False).print(table)


def _number(value: float | None, form: str) -> str:
    """A number; what JSON has no number for, NaN and infinity, is a dash."""
    return "-" if value is None else format(value, form)
