"""What every command shares: verbosity, JSON to stdout or a file, logs to stderr."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeseg.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def verbosity(function: F) -> F:
    """Add ``-q`` and ``-v``, applied as soon as they are parsed; the command takes no argument for them."""
    quiet = click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, is_eager=True, callback=_quiet, help="Errors only."
    )
    verbose = click.option(
        "-v", "--verbose", is_flag=True, expose_value=False, is_eager=True, callback=_verbose, help="Debug log."
    )
    return quiet(verbose(function))


def is_quiet() -> bool:
    """Whether progress should stay off the screen."""
    return logging.getLogger("edgeseg").getEffectiveLevel() > logging.INFO


def emit_json(data: Any, file: str = "-") -> None:
    """Write JSON to stdout (``-``) or, atomically, to a file."""
    text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
    if file == "-":
        click.echo(text, nl=False)
    else:
        from edgeseg.files import write_atomically

        write_atomically(Path(file), text.encode())


def parse_pairs(pairs: tuple[str, ...], what: str) -> dict[str, Any]:
    """``KEY=VALUE`` arguments to a dictionary; a value is read as YAML: 4 is a number, true a truth value."""
    import yaml

    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found or not key:
            raise UsageError(f"{what} {pair!r}: expected KEY=VALUE")
        try:
            parsed[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"{what} {pair!r}: the value is no YAML: {error}") from error
    return parsed


def _configure(level: int) -> None:
    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False, markup=False)
    logger = logging.getLogger("edgeseg")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


def _quiet(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        _configure(logging.ERROR)
    elif not logging.getLogger("edgeseg").handlers:
        _configure(logging.INFO)


def _verbose(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        _configure(logging.DEBUG)


@contextlib.contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """A progress bar on stderr, absent where it is no terminal or with ``-q``; yields what advances it by one."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=is_quiet() or not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
