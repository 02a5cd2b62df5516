"""`edgeseg weights`: import a foreign checkpoint safely, show what weights hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from edgeseg.cli.output import emit_json, is_quiet, verbosity

SHOWN_CLASSES = 8


@click.group()
def command() -> None:
    """Import a checkpoint safely; show what weights hold."""


@command.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--license", "license_name", help="Licence of the weights, kept in every artifact made from them.")
@verbosity
def import_weights(source: Path, destination: Path, license_name: str | None) -> None:
    """Read a foreign checkpoint SOURCE without running anything in it, write safetensors DESTINATION."""
    from edgeseg.errors import UsageError
    from edgeseg.model.weights import import_checkpoint, save_weights

    if destination.suffix != ".safetensors":
        raise UsageError(f"{destination}: expected a name that ends in .safetensors")
    weights = import_checkpoint(source)
    if license_name:
        weights = replace(weights, metadata=replace(weights.metadata, license=license_name))
    save_weights(weights, destination)
    click.echo(destination)
    if not weights.metadata.license and not is_quiet():
        click.echo("the checkpoint names no licence; --license NAME keeps one in every artifact", err=True)


@command.command()
@click.argument("weights", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbosity
def show(weights: Path, as_json: bool) -> None:
    """Print what WEIGHTS hold: scale, classes, parameters, training, source."""
    from edgeseg.model.weights import load_weights

    loaded = load_weights(weights)
    learned = [array for name, array in loaded.tensors.items() if "running_" not in name]
    facts = {**json.loads(loaded.metadata.to_json()), "parameters": int(sum(array.size for array in learned))}
    if as_json:
        emit_json(facts)
        return
    for name, value in _shown(facts):
        click.echo(f"{name:<16} {value}")


def _shown(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and text of each fact that is known, the most asked for first; `--json` has all of them."""
    names, image_size, arguments = facts["names"], facts["image_size"], facts["train_args"]
    yield "family", f"{facts['family']} {facts['scale']}".rstrip()
    yield "parameters", f"{facts['parameters']:,}"
    yield "image size", f"{image_size[0]} {image_size[1]} (height width)"
    yield "classes", f"{len(names)}: " + ", ".join(names[:SHOWN_CLASSES]) + ", ..." * (len(names) > SHOWN_CLASSES)
    yield "licence", facts["license"] or "not stated"
    if facts["missing"]:
        yield "missing", ", ".join(facts["missing"])
    for name, value in (("trained on", facts["data"]), *((f"source {k}", v) for k, v in facts["source"].items())):
        if value:
            yield name, str(value)
    if arguments:
        yield "train arguments", f"{len(arguments)}, see --json"
