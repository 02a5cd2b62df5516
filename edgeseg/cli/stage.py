"""`edgeseg stage`: run one stage of a build from its request file. A build starts this in a target's environment."""

from __future__ import annotations

from pathlib import Path

import click

from edgeseg.cli.output import verbosity


@click.group()
def command() -> None:
    """Run single stages of a build."""


@command.command()
@click.argument("requests", nargs=-1, required=True, metavar="REQUEST...")
@verbosity
def run(requests: tuple[str, ...]) -> None:
    """Run the stage of each REQUEST file and write answer.json beside it; - reads their paths from stdin.

    Exit 4 where a stage did not pass.
    """
    from edgeseg.build.worker import run_request, serve
    from edgeseg.errors import StageError

    if requests == ("-",):
        serve()
        return
    for path in requests:
        result = run_request(Path(path))
        if not result.passed:
            raise StageError(result.outcome, f"{path}: {result.message}", hint=result.hint)
