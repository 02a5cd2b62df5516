"""`edgeseg export`: one model to one format, without a card."""

from __future__ import annotations

from pathlib import Path

import click

from edgeseg.cli.output import emit_json, parse_pairs, verbosity


@click.command(context_settings={"show_default": True})
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--format", "-f", "format_name", required=True, help="A target of `edgeseg targets`.")
@click.option("--precision", help="One of the target's; default: its first.")
@click.option("--image-size", nargs=2, type=int, metavar="H W", help="Multiples of 32; default: the weights'.")
@click.option("--option", multiple=True, metavar="KEY=VALUE", help="Of the target, such as opset=17.")
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
    name: str | None,
    output: Path,
    as_json: bool,
) -> None:
    """Export weights to one format and print the artifact's path."""
    import json

    from edgeseg.export import export

    artifact = export(
        model,
        format_name,
        output_dir=output,
        precision=precision,
        image_size=image_size,
        name=name,
        **parse_pairs(option, "--option"),
    )
    if as_json:
        emit_json({"path": str(artifact.path), **json.loads(artifact.metadata.to_json())})
        return
    click.echo(artifact.path)
    click.echo(f"next: edgeseg verify {artifact.path} --against {model}", err=True)
