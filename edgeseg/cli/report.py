"""`edgeseg report`: a build's reports made anew, with results from devices."""

from __future__ import annotations

from pathlib import Path

import click

from edgeseg.cli.output import emit_json, verbosity


@click.command()
@click.argument("build_dir", type=click.Path(path_type=Path))
@click.option(
    "--merge", multiple=True, type=click.Path(path_type=Path), metavar="RESULT", help="A device's result.json; repeat."
)
@click.option("--json", "as_json", is_flag=True, help="Print build.json.")
@verbosity
def command(build_dir: Path, merge: tuple[Path, ...], as_json: bool) -> None:
    """Write report.html, report.md and build.json of BUILD_DIR again from what is in it.

    What `edgeseg verify BUNDLE` wrote on a device is folded in with --merge.
    """
    from edgeseg.cli.interrupts import held_back
    from edgeseg.report.rerender import rerender

    with held_back():
        done = rerender(build_dir, merge)
    if as_json:
        emit_json(done.content)
        return
    outcomes = {
        target["id"]: target["device_result"]["outcome"]
        for target in done.content["targets"]
        if target.get("device_result")
    }
    for name in done.merged:
        click.echo(f"merged: {name}: {outcomes[name]} on its device")
    for path in done.paths[1:]:
        click.echo(f"report: {path}")
