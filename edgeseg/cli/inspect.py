"""`edgeseg inspect`: what an artifact is made of, without running it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgeseg.cli.output import emit_json, verbosity


@click.command(context_settings={"show_default": True})
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print findings and metadata as JSON.")
@verbosity
def command(artifact: Path, as_json: bool) -> None:
    """Print what ARTIFACT says about itself and what its format's inspector finds in it, without running it.

    Where nodes compute in another precision than asked, where names are lost, or whatever else is not as it was asked,
    this ends with exit code 4. For an Edge TPU file the inspector predicts what would fall to the processor, and why.
    """
    from edgeseg.cli.artifact import given_artifact
    from edgeseg.errors import EnvironmentMissingError, StageError

    target, given = given_artifact(artifact)
    try:
        findings = target.inspect(given)
    except EnvironmentMissingError as error:
        error.target = target.name
        raise
    about = given.metadata
    if as_json:
        metadata = json.loads(about.to_json())
        emit_json({"metadata": metadata, "facts": dict(findings.facts), "problems": list(findings.problems)})
    else:
        height, width = about.image_size
        click.echo(f"{artifact}: {target.name} {about.precision}, {height} x {width}, {about.head} head")
        longest = max(map(len, findings.facts), default=0)
        for name, value in findings.facts.items():
            click.echo(f"  {name:{longest}}  {value}")
    if findings.problems:
        raise StageError("inspect_failed", f"{artifact}: " + "; ".join(findings.problems), hint="export it again")
