"""The command line: a group that imports a command's module only when that command is used."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

import click

from edgeseg import __version__
from edgeseg.spinning import limit_spinning

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM: 128 + SIGINT, as a shell reports it."""

PIPE_CLOSED = 141
"""Exit code where the reader of a pipe went away (`| head`): 128 + SIGPIPE."""

COMMANDS: Mapping[str, tuple[str, str]] = {
    "build": ("edgeseg.cli.build", "Train, export, verify and report every target of a model card."),
    "train": ("edgeseg.cli.train", "Train the network of a model card, alone or with torchrun."),
    "export": ("edgeseg.cli.export", "Export a model to one format."),
    "inspect": ("edgeseg.cli.inspect", "Print what an artifact is made of, without running it."),
    "finish": ("edgeseg.cli.finish", "Compile an exported file where its compiler is."),
    "predict": ("edgeseg.cli.predict", "Segment pictures, videos, cameras with weights or any artifact."),
    "verify": ("edgeseg.cli.verify", "Prove an artifact's tensors and masks against the reference."),
    "bundle": ("edgeseg.cli.bundle", "Pack an artifact for a device that finishes and verifies it."),
    "val": ("edgeseg.cli.val", "Box and mask AP of weights or any artifact on an annotated data set."),
    "benchmark": ("edgeseg.cli.benchmark", "Time a model, or every artifact of a build beside its reference."),
    "report": ("edgeseg.cli.report", "Write a build's reports again, with results from devices."),
    "data": ("edgeseg.cli.data", "Convert, check, split or draw data sets."),
    "card": ("edgeseg.cli.card", "Check or show a model card, print its JSON Schema."),
    "weights": ("edgeseg.cli.weights", "Import a checkpoint safely; show what weights hold."),
    "targets": ("edgeseg.cli.targets", "List the formats and what is usable here."),
    "cache": ("edgeseg.cli.cache", "List and prune what builds and data sets left on disk."),
    "stage": ("edgeseg.cli.stage", "Run one stage of a build from its request file."),
    "devices": ("edgeseg.cli.devices", "List the boards, phones and browsers that a card may name."),
    "doctor": ("edgeseg.cli.doctor", "Say what this machine has, what is missing and how to mend it."),
}
"""Command name to module (which has a `command`) and the line that `--help` shows."""

OPTION_HINTS: Mapping[str, str] = {
    "--image-size": "write height and width, two multiples of 32; a square has its side twice: --image-size 320 320",
}
"""What to do about a mistake in an option whose `--help` does not say enough."""


class LazyGroup(click.Group):
    """A click group whose help needs no command's module.

    Args:
        table: as `COMMANDS`.
        arguments: those of `click.Group`.
    """

    def __init__(self, *, table: Mapping[str, tuple[str, str]] = COMMANDS, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the table's order: main jobs first."""
        return list(self._table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the module of one command."""
        if name not in self._table:
            return None
        command = importlib.import_module(self._table[name][0]).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{self._table[name][0]}.command is no click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with a remedy for a mistyped name."""
        from edgeseg.errors import UsageError, did_you_mean

        if args and args[0] not in self._table and not args[0].startswith("-"):
            raise UsageError(f"no such command {args[0]!r}", hint=did_you_mean(args[0], self._table))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """As click's, but quiet where the reader of our output went away."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # What Python still holds for either stream goes nowhere, or its flush at exit would fail once more.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for stream in (sys.stdout, sys.stderr):
                os.dup2(nowhere, stream.fileno())
            sys.exit(PIPE_CLOSED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._table.items()])


ALONE = ("predict", "val", "benchmark")
"""Commands that mostly have the device to themselves: `edgeseg.spinning`."""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgeseg")
def cli() -> None:
    """Instance segmentation on edge devices, with masks proven equal to the reference.

    Results go to stdout; logs and progress to stderr. Exit codes: 0 all gates met, 1 a bug of ours,
    2 usage or card, 3 environment missing, 4 a stage failed, 5 built but a gate is not met,
    130 interrupted.
    """


def main() -> None:
    """Entry point: run a command and turn an error into its message and exit code."""
    limit_spinning(os.environ, alone=any(word in ALONE for word in sys.argv[1:2]))
    # Broken pictures and absent cameras are reported by us, once, with the file's name.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # A service manager's stop finishes files as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name may hold what the terminal cannot show.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(_run())


def _run() -> int:
    from edgeseg.errors import EdgesegError, EnvironmentMissingError

    try:
        try:
            code = cli.main(prog_name="edgeseg", standalone_mode=False)
        except EnvironmentMissingError as error:
            from edgeseg.cli.elsewhere import run_elsewhere

            code = run_elsewhere(error, sys.argv[1:])
            if code is None:
                raise
    except EdgesegError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        _show(error)
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    # `--help` and `--version` give their exit code, a command None.
    return code if isinstance(code, int) else 0


def _show(error: click.ClickException) -> None:
    """A mistake that click found, in the form of our own errors; bare `edgeseg` shows its help."""
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()
        return
    click.echo(f"error: {error.format_message()}", err=True)
    hint = _hint(error)
    if hint:
        click.echo(f"  hint: {hint}", err=True)


def _hint(error: click.ClickException) -> str:
    # click names the option in one of two ways, by where it stumbled.
    param = getattr(error, "param", None)
    named = {getattr(error, "option_name", None), *(param.opts if param is not None else ())}
    for option, remedy in OPTION_HINTS.items():
        if option in named:
            return remedy
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{error.ctx.command_path} --help"
    return ""
