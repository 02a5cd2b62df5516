"""`edgeseg doctor`: what this machine has, what is missing and how to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeseg.cli.output import emit_json, verbosity

if TYPE_CHECKING:
    from edgeseg.doctor.finding import Finding

STYLES = {"ok": "green", "note": "yellow", "problem": "red"}


@click.command()
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Where results go."
)
@click.option("--deep", is_flag=True, help="Also import PyTorch and ask it for GPUs; takes seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbosity
def command(output: Path, deep: bool, as_json: bool) -> None:
    """Look at Python, memory, disk, GPU, container engine, formats and known conflicts. Changes nothing.

    Exit 0 where nothing that edgeseg itself needs is broken, else 3. Remedies are printed, never run.
    """
    from edgeseg.doctor.examine import examine, findings_json
    from edgeseg.errors import EnvironmentMissingError

    findings = examine(output, deep=deep)
    if as_json:
        emit_json(findings_json(findings))
    else:
        _print(findings)
    broken = [finding for finding in findings if finding.breaks_core]
    if broken:
        raise EnvironmentMissingError("; ".join(finding.text for finding in broken), hint=broken[0].remedy)


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "", "what was found", box=None, pad_edge=False, show_header=False)
    for column in table.columns[:2]:
        column.no_wrap = True
    before = ""
    for finding, after in zip(findings, [*findings[1:], None], strict=True):
        text = Text(finding.text)
        # One remedy for a row of findings stands under the last of them.
        if finding.remedy and (after is None or after.remedy != finding.remedy):
            text.append(f"\n-> {finding.remedy}", style="bold")
        # An area's name stands once, at its first row.
        table.add_row(finding.area if finding.area != before else "", Text(finding.level, STYLES[finding.level]), text)
        before = finding.area
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        # A log has no width: commands must not be cut in two.
        console.width = max(console.width, 200)
    console.print(table)
    count = sum(finding.level != "ok" for finding in findings)
    console.print(f"\n{count} of {len(findings)} findings are worth a look" if count else "\nall is well")
