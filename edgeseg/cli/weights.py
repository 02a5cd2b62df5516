"""`edgeseg weights`: import a foreign checkpoint safely, show what weights hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from edgeseg.cli.output import emit_json, verbosity


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
    if not weights.metadata.license:
        click.echo("the checkpoint names no licence; --license NAME keeps one in every artifact", err=True)


@command.command()
@click.argument("weights", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbosity
def show(weights: Path, as_json: bool) -> None:
    """Print what WEIGHTS hold: scale, classes, parameters, training, source."""
    from edgeseg.model.weights import load_weights

    loaded = load_weights(weights)
    metadata = json.loads(loaded.metadata.to_json())
    learned = [a for name, a in loaded.tensors.items() if "running_" not in name]
    facts: dict[str, Any] = {**metadata, "parameters": int(sum(array.size for array in learned))}
    if as_json:
        emit_json(facts)
        return
    facts["names"] = f"{len(metadata['names'])}: " + ", ".join(metadata["names"][:8]) + " ..."[: len(facts["names"])]
    for name, value in facts.items():
        click.echo(f"{name:<12} {value}")
