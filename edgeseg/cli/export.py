"""`edgeseg export`: one model to one format, without a card."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import click

from edgeseg.cli.output import emit_json, is_quiet, parse_pairs, verbosity


@click.command(context_settings={"show_default": True})
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--format", "-f", "format_name", required=True, help="A target of `edgeseg targets`.")
@click.option("--precision", help="One of the target's; default: its first.")
@click.option("--image-size", nargs=2, type=int, metavar="H W", help="Multiples of 32; default: the weights'.")
@click.option("--option", multiple=True, metavar="KEY=VALUE", help="Of the target, such as opset=17.")
@click.option("--calibration", type=click.Path(path_type=Path), help="Data set or folder of pictures, for int8.")
@click.option("--name", help="File name; default: the weights' name.")
@click.option("--output", "-o", type=click.Path(path_type=Path), default=".", help="Folder to write to.")
@click.option("--json", "as_json", is_flag=True, help="Print what the artifact says about itself.")
@verbosity
def command(  # noqa: PLR0913 - one parameter per option of the command line
    model: Path,
    format_name: str,
    precision: str | None,
    image_size: tuple[int, int] | None,
    option: tuple[str, ...],
    calibration: Path | None,
    name: str | None,
    output: Path,
    as_json: bool,
) -> None:
    """Export weights to one format and print the artifact's path."""
    from edgeseg.export import export

    artifact = export(
        model,
        format_name,
        output_dir=output,
        precision=precision,
        image_size=image_size,
        name=name,
        calibration=calibration,
        **_target_options(option),
    )
    if as_json:
        emit_json({"path": str(artifact.path), **json.loads(artifact.metadata.to_json())})
        return
    click.echo(artifact.path)
    if not is_quiet():
        click.echo(f"next: edgeseg verify {artifact.path} --against {model}", err=True)


def _target_options(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Options of the target; what this command has a flag of its own for is refused."""
    from edgeseg.errors import UsageError
    from edgeseg.export import export

    options = parse_pairs(pairs, "--option")
    own = sorted(options.keys() & inspect.signature(export).parameters.keys())
    if own:
        raise UsageError(f"--option {own[0]}: is no option of a target", hint="edgeseg export --help")
    return options
