"""`edgeseg targets`: the formats, what is usable here, and environments of their own."""

from __future__ import annotations

import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.output import emit_json, verbosity
from edgeseg.cli.targets_make import image, install

if TYPE_CHECKING:
    from edgeseg.environments.status import Status
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

    table = Table("target", "here", "venv", "image", "precisions", "what it is", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    remedies: dict[str, list[str]] = {}
    for entry in entries().values():
        row = _row(entry)
        places = [_word(row["environments"].get(kind)) for kind in ("venv", "docker")]
        here = "yes" if row["usable"] else "no"
        table.add_row(entry.name, here, *places, ", ".join(row["precisions"]), entry.summary)
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
    """Say whether the target NAME is usable here: exit 0, or 3 with what is missing; and what else there is of it."""
    from edgeseg.registry import entries, load_usable

    entry = entries().get(name)
    if entry is not None and as_json:
        emit_json(_row(entry))
    elif entry is not None:
        for kind, status in _environments(entry).items():
            if status.ready or status.problem:
                click.echo(f"{name}: {kind}: {status.what or status.problem}", err=not status.ready)
    load_usable(name)
    if entry is not None and not as_json:
        listed = ", ".join(f"{package} {version}" for package, version in entry.report.versions.items())
        click.echo(f"{name}: usable" + (f" ({listed})" if listed else ""))


command.add_command(install)
command.add_command(image)


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
        "python": platform.python_version(),
        "versions": dict(entry.report.versions),
        "environments": {kind: asdict(status) for kind, status in _environments(entry).items()},
    }


def _environments(entry: Entry) -> dict[str, Status]:
    from edgeseg.environments.status import statuses

    return statuses(entry.name) if entry.target is not None else {}


def _word(status: dict[str, Any] | None) -> str:
    if status is None or not (status["ready"] or status["problem"]):
        return "-"
    return "yes" if status["ready"] else "no"
