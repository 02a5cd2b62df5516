"""What every command shares: verbosity, JSON to stdout or a file, logs and progress to stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgeseg.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress

F = TypeVar("F", bound=Callable[..., Any])


def verbosity(function: F) -> F:
    """Add ``-q`` and ``-v``, applied as soon as they are parsed; the command takes no argument for them."""
    for flags, level, text in (
        (("-q", "--quiet"), logging.ERROR, "Errors only."),
        (("-v", "--verbose"), logging.DEBUG, "Debug log."),
    ):
        option = click.option(
            *flags,
            "log_level",
            type=click.UNPROCESSED,
            flag_value=level,
            default=logging.INFO,
            show_default=False,
            expose_value=False,
            is_eager=True,
            callback=_configure,
            help=text,
        )
        function = option(function)
    return function


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

        # A file name of a Linux disk may hold bytes that are no text: they become JSON's \udcXX.
        write_atomically(Path(file), text.encode(errors="backslashreplace"))


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


class Steps:
    """A progress bar; calling it advances it by one."""

    def __init__(self, bar: Progress, total: int | None, what: str) -> None:
        self._bar = bar
        self._task = bar.add_task(what, total=total)

    def __call__(self) -> None:
        """One more is done."""
        self._bar.advance(self._task)

    def echo(self, line: str) -> None:
        """Print a line of results to stdout: above the bar where both are on one terminal."""
        if self._bar.disable or not sys.stdout.isatty():
            click.echo(line)
        else:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Steps]:
    """A progress bar on stderr, absent where it is no terminal or with ``-q``."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    # stdout stays as it is: Rich would send results to the bar's stderr.
    with Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        disable=is_quiet() or not console.is_terminal,
    ) as bar:
        yield Steps(bar, total, what)


class _Messages(logging.Handler):
    """Log records as lines on stderr, in the form of our errors: ``warning: ...``."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record; Rich puts it above a live bar, since it takes the place of `sys.stderr`."""
        with contextlib.suppress(BrokenPipeError):
            level = record.levelname.lower()
            text = self.format(record)
            print(text if level == "info" else f"{level}: {text}", file=sys.stderr)  # noqa: T201 - the command line


def _configure(ctx: click.Context, param: click.Parameter, value: int) -> None:
    logger = logging.getLogger("edgeseg")
    logger.handlers[:] = [_Messages()]
    logger.setLevel(value)
    logger.propagate = False
