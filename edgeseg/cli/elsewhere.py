"""A command whose target works only in the venv of its own runs there: the same words, by that venv's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import click

from edgeseg.cli import INTERRUPTED
from edgeseg.cli.output import is_quiet
from edgeseg.environments import venv
from edgeseg.environments.contract import Confinement
from edgeseg.errors import EnvironmentMissingError

COMMANDS = ("export", "inspect", "predict", "verify", "val", "benchmark")
"""Those that open one artifact or make one; a build finds the environment of every target by itself."""

GUARD = "EDGESEG_IN_ITS_VENV"
"""Set for the command that runs there: what is missing in there is missing."""


def run_elsewhere(error: EnvironmentMissingError, arguments: Sequence[str]) -> int | None:
    """Run the command again in the venv of the target that `error` is about.

    Args:
        error: that ended the command here, before it did anything.
        arguments: of the command line, without the program.

    Returns:
        Its exit code; None where there is no such venv that is ready, or it is not this kind of command.

    Raises:
        EnvironmentMissingError: the venv is outdated.
    """
    if not error.target or GUARD in os.environ or not arguments or arguments[0] not in COMMANDS:
        return None
    found = venv.find(error.target)
    if found is None:
        return None
    if not is_quiet():
        click.echo(f"{error.target} is not usable here, but in its venv: running in {found.folder}", err=True)
    sys.stdout.flush()
    command = found.command(arguments, Confinement(error.target))
    try:
        return subprocess.run(command, env={**os.environ, GUARD: error.target}, check=False).returncode
    except KeyboardInterrupt:
        # The terminal has told the other process, too.
        return INTERRUPTED
