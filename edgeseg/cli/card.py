"""`edgeseg card`: check and show model cards, print their JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.output import emit_json, verbosity

if TYPE_CHECKING:
    from edgeseg.card.resolve import ResolvedCard
    from edgeseg.errors import CardError

CARD = click.Path(path_type=Path)
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Replace a value, such as train.epochs=20."
)
weights_option = click.option(
    "--weights", type=click.Path(path_type=Path), help="Weights in place of the card's, as `edgeseg build` takes."
)


@click.group()
def command() -> None:
    """Check or show a model card, print its JSON Schema."""


@command.command()
@click.argument("cards", nargs=-1, required=True, type=CARD)
@set_option
@weights_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbosity
def check(cards: tuple[Path, ...], overrides: tuple[str, ...], weights: Path | None, as_json: bool) -> None:
    """Check CARDS and report every mistake in them.

    A target that is not installed here, or data that is not there, is no mistake: it is only named.
    """
    from edgeseg.card.load import load_card
    from edgeseg.card.resolve import resolve
    from edgeseg.errors import CardError, CardErrors

    rows: list[dict[str, Any]] = []
    failures: list[CardError] = []
    for path in cards:
        try:
            row = _found(resolve(load_card(path, overrides), weights=weights))
        except CardError as error:
            failures.append(error)
            row = {"path": str(path), "ok": False, "mistakes": _mistakes(error)}
        rows.append(row)
        if not as_json and row["ok"]:
            click.echo(_line(row))
    if as_json:
        emit_json({"cards": rows})
    if failures:
        raise failures[0] if len(failures) == 1 else CardErrors(failures)


@command.command()
@click.argument("card", type=CARD)
@set_option
@weights_option
@click.option("--resolved", is_flag=True, help="Write out defaults, absolute paths and the gates of each precision.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbosity
def show(card: Path, overrides: tuple[str, ...], weights: Path | None, resolved: bool, as_json: bool) -> None:
    """Print CARD with --set applied; the output is a card again."""
    from edgeseg.card.dump import to_yaml
    from edgeseg.card.load import load_card
    from edgeseg.card.resolve import resolve

    loaded = load_card(card, overrides)
    found = resolve(loaded, weights=weights) if resolved else None
    content = found.content() if found else loaded.card.content(defaults=False)
    if as_json:
        emit_json(content)
        return
    click.echo(to_yaml(content), nl=False)
    for target in found.targets if found else ():
        if target.reason:
            click.echo(f"# {target.id}: {target.reason}")


@command.command()
def schema() -> None:
    """Print the JSON Schema of a card, from which editors complete."""
    from edgeseg.card.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=1, ensure_ascii=False))


def _found(card: ResolvedCard) -> dict[str, Any]:
    return {
        "path": str(card.path),
        "ok": True,
        "name": card.card.name,
        "sha256": card.sha256,
        "targets": [
            {"id": target.id, "format": target.format, "registered": target.registered, "reason": target.reason}
            for target in card.targets
        ],
        "missing_data": [{"key": key, "path": str(path)} for key, path in card.missing_data()],
    }


def _line(row: dict[str, Any]) -> str:
    notes = [f"{target['id']}: {target['reason']}" for target in row["targets"] if target["reason"]]
    notes += [f"{missing['key']} is not there: {missing['path']}" for missing in row["missing_data"]]
    count = len(row["targets"])
    title = f"ok {row['path']}: {row['name']}, {count} target{'s' if count != 1 else ''}"
    return "\n".join([title, *(f"  note: {note}" for note in notes)])


def _mistakes(error: CardError) -> list[dict[str, Any]]:
    from edgeseg.errors import error_list

    return [
        {"where": one.where, "line": one.line, "column": one.column, "message": one.message, "hint": one.hint}
        for one in error_list(error)
    ]
