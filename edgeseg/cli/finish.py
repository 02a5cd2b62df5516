"""`edgeseg finish`: what an export leaves to the machine that has the compiler."""

from __future__ import annotations

from pathlib import Path

import click

from edgeseg.cli.output import is_quiet, verbosity


@click.command(context_settings={"show_default": True})
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Folder to write to; default: the artifact's.")
@verbosity
def command(artifact: Path, output: Path | None) -> None:
    """Compile ARTIFACT where its compiler is, and print the result's path.

    For formats whose file is made in two places: an Edge TPU file is compiled on 64-bit x86, whatever board runs it,
    a TensorRT engine on the GPU that runs it. The result keeps the file's metadata. Without the compiler this ends
    with exit code 3 and says where to get it.
    """
    from edgeseg.cli.artifact import given_artifact
    from edgeseg.errors import UsageError
    from edgeseg.files import make_folder

    target, given = given_artifact(artifact)
    finished = target.finish(given, make_folder(artifact.parent if output is None else output))
    if finished.path == artifact:
        raise UsageError(
            f"{artifact}: there is nothing to finish, {target.name} runs it as it is",
            hint=f"edgeseg predict {artifact} PICTURES",
        )
    problems = target.inspect(finished).problems
    click.echo(finished.path)
    for problem in problems:
        click.echo(f"warning: {problem}", err=True)
    if not is_quiet():
        click.echo(f"next, on the device: edgeseg predict {finished.path.name} PICTURES", err=True)
