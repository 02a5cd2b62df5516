"""`edgeseg targets`: the formats, and what is usable here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.output import emit_json, verbosity

if TYPE_CHECKING:
    from edgeseg.registry import Entry

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(invoke_without_command=True)
@json_option
@verbosity
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the formats and what is usable here."""
    from edgeseg.registry import entries

    if context.invoked_subcommand is not None:
        return
    if as_json:
        emit_json({"targets": [_row(entry) for entry in entries().values()]})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("target", "here", "precisions", "what it is", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    remedies: dict[str, list[str]] = {}
    for entry in entries().values():
        row = _row(entry)
        table.add_row(entry.name, "yes" if row["usable"] else "no", ", ".join(row["precisions"]), entry.summary)
        if not row["usable"]:
            remedies.setdefault(entry.report.remedy, []).append(entry.name)
    console = Console(markup=False, highlight=False)
    console.print(table)
    for remedy, names in remedies.items():
        console.print(f"\n{', '.join(names)}: {remedy}")


@command.command()
@click.argument("name")
@json_option
@verbosity
def check(name: str, as_json: bool) -> None:
    """Say whether the target NAME is usable here: exit 0, or 3 with what is missing."""
    from edgeseg.registry import entries, load_usable

    if as_json and name in entries():
        emit_json(_row(entries()[name]))
    load_usable(name)
    if not as_json:
        versions = entries()[name].report.versions
        listed = ", ".join(f"{package} {version}" for package, version in versions.items())
        click.echo(f"{name}: usable" + (f" ({listed})" if listed else ""))


def _row(entry: Entry) -> dict[str, Any]:
    from edgeseg.devices import catalogue

    known = catalogue().format_rows.get(entry.name)
    expected = known.precisions if known else ()
    return {
        "name": entry.name,
        "summary": entry.summary,
        "registered": entry.target is not None,
        "usable": entry.target is not None and entry.report.usable,
        "precisions": list(entry.target.capabilities.precisions if entry.target else expected),
        "problems": list(entry.report.problems),
        "remedy": entry.report.remedy,
        "versions": dict(entry.report.versions),
    }
