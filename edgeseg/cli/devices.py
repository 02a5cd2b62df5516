"""`edgeseg devices`: what a card may name after ``device:``."""

from __future__ import annotations

import click

from edgeseg.cli.output import emit_json, verbosity


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbosity
def command(as_json: bool) -> None:
    """List the boards, phones and browsers that a card may name."""
    from edgeseg.devices import catalogue

    devices = catalogue().devices.values()
    if as_json:
        emit_json({"devices": [device.model_dump(mode="json") for device in devices]})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("device", "format", "precisions", "notes", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    table.columns[1].no_wrap = True
    for device in devices:
        size = f"; {device.image_size[0]} x {device.image_size[1]} px" if device.image_size else ""
        table.add_row(device.name, device.format, ", ".join(device.precisions), f"{device.title}: {device.notes}{size}")
    Console(markup=False, highlight=False).print(table)
