"""`edgeseg data`: commands over data sets, each imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping

import click

from edgeseg.cli import LazyGroup

COMMANDS: Mapping[str, tuple[str, str]] = {
    "check": ("edgeseg.cli.data_check", "Find what is wrong in a data set, with a page of drawn samples."),
    "convert": ("edgeseg.cli.data_convert", "Convert to COCO or YOLO-seg, also from LabelMe, mask PNGs and VIA."),
    "split": ("edgeseg.cli.data_split", "Divide a data set into parts."),
    "synth": ("edgeseg.cli.data_synth", "Draw a synthetic data set."),
}
"""Command name to module (which has a `command`) and the line that `--help` shows."""


@click.group(cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Convert, check, split or draw data sets."""
