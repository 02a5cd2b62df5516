"""`edgeseg cache`: what builds and data sets left on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeseg.cli.output import emit_json, verbosity

if TYPE_CHECKING:
    from edgeseg.build.leftovers import StageEntry

RUNS = Path("runs")

folders_argument = click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="[BUILD_DIR]...")


@click.group()
def command() -> None:
    """List and prune what builds and data sets left on disk."""


@command.command("list")
@folders_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbosity
def list_(folders: tuple[Path, ...], as_json: bool) -> None:
    """List the stages of builds with their state, and the user's cache [default: builds below runs/]."""
    import dataclasses

    from edgeseg.build.leftovers import builds_in, personal_files, stages_of

    entries = [entry for build in builds_in(_folders(folders)) for entry in stages_of(build)]
    personal = personal_files()
    if as_json:
        rows = [{**dataclasses.asdict(entry), "build": str(entry.build)} for entry in entries]
        emit_json({"stages": rows, "cache": [{"path": str(p), "bytes": p.stat().st_size} for p in personal]})
        return
    _print(entries)
    size = sum(path.stat().st_size for path in personal)
    click.echo(f"{len(personal)} files of data sets in the cache, {size / 1e6:.1f} MB")


@command.command()
@folders_argument
@click.option("--older-than", default=30.0, show_default=True, help="Days that files of data sets are kept unused.")
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and stop.")
@verbosity
def prune(folders: tuple[Path, ...], older_than: float, dry_run: bool) -> None:
    """Remove scratch of killed builds, results of targets that a card no longer has, old files of data sets."""
    from contextlib import ExitStack

    from edgeseg.build.folder_lock import locked
    from edgeseg.build.leftovers import builds_in, needless, personal_files
    from edgeseg.build.leftovers import prune as removed
    from edgeseg.build.plan import SCRATCH
    from edgeseg.errors import OutputError

    builds = builds_in(_folders(folders))
    found = [path for build in builds for path in needless(build)] + personal_files(older_than)
    for path in found:
        click.echo(str(path))
    if dry_run:
        return
    try:
        with ExitStack() as locks:
            for build in builds:
                # What a build that runs now works with is not left over.
                locks.enter_context(locked(build, build / SCRATCH))
            freed = removed(found)
    except OSError as error:
        raise OutputError(f"{error.filename}: cannot be removed: {error.strerror}") from error
    click.echo(f"{len(found)} removed, {freed / 1e6:.1f} MB")


def _folders(given: tuple[Path, ...]) -> tuple[Path, ...]:
    return given or ((RUNS,) if RUNS.is_dir() else ())


def _print(entries: list[StageEntry]) -> None:
    from rich.console import Console
    from rich.table import Table

    if not entries:
        return
    table = Table("build", "target", "stage", "outcome", "state", "MB", "hours ago", box=None)
    for entry in entries:
        table.add_row(
            str(entry.build),
            entry.target,
            entry.stage,
            entry.outcome,
            entry.state,
            f"{entry.bytes / 1e6:.1f}",
            f"{entry.age_s / 3600:.1f}",
        )
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = 200
    console.print(table)
