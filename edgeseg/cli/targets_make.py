"""`edgeseg targets install` and `edgeseg targets image`: environments of a target's own, made when asked."""

from __future__ import annotations

from pathlib import Path

import click

from edgeseg.cli.output import is_quiet, verbosity


@click.command()
@click.argument("name")
@click.option(
    "--python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Interpreter to make the venv with. Default: this one.",
)
@verbosity
def install(name: str, python: Path | None) -> None:
    """Make a venv for the target NAME from its pinned requirements."""
    from edgeseg.environments import venv

    made = venv.install(name, python, _tell)
    click.echo(f"{name}: {made.describe()}")


@click.command()
@click.argument("name")
@click.option(
    "--engine", default="", metavar="COMMAND", help="Container engine. Default: $EDGESEG_ENGINE, docker, podman."
)
@click.option("--build-arg", "pairs", multiple=True, metavar="KEY=VALUE", help="Argument of the Dockerfile: BASE, ...")
@click.option(
    "--wheelhouse",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of wheels to install from; nothing is downloaded then.",
)
@click.option("--no-cache", is_flag=True, help="Use no layers of earlier builds.")
@verbosity
def image(name: str, engine: str, pairs: tuple[str, ...], wheelhouse: Path | None, no_cache: bool) -> None:
    """Build the container image of the target NAME."""
    from edgeseg.environments.image_build import ImageRequest, build
    from edgeseg.errors import UsageError

    wrong = [pair for pair in pairs if not pair.partition("=")[0] or "=" not in pair]
    if wrong:
        raise UsageError(f"--build-arg {wrong[0]!r}: expected KEY=VALUE")
    arguments = dict(pair.split("=", 1) for pair in pairs)
    built = build(ImageRequest(name, engine, arguments, wheelhouse, cache=not no_cache), _tell)
    click.echo(f"{name}: {built.describe()}")


def _tell(line: str) -> None:
    if not is_quiet():
        click.echo(line, err=True)
