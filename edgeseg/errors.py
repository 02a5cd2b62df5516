"""Every error that edgeseg raises on purpose.

    EdgesegError
    ├── UsageError                exit 2   the request is wrong: argument, option, file
    │   ├── CardError             exit 2   a model card, with file, line, column and a caret
    │   │   ├── OverrideError     exit 2   a `--set KEY=VALUE` over a card, named by its key
    │   │   └── CardErrors        exit 2   several of these, each shown
    │   ├── WeightsError          exit 2   weights that cannot be read or do not fit
    │   ├── ArtifactError         exit 2   a file or folder that is no readable artifact
    │   ├── SourceError           exit 2   a picture, video or list that cannot be read
    │   ├── OutputError           exit 2   a file or folder that cannot be written
    │   └── ContractError         exit 2   tensors that break a declared name, shape or dtype
    ├── EnvironmentMissingError   exit 3   a package, tool or device is absent; the hint installs it
    ├── StageError                exit 4   a build stage failed; carries the outcome word
    └── GateError                 exit 5   built, but a gate is not met

Exit 0 means that all asked gates are met; 1 is a bug of ours and shows a trace; 130 is Ctrl-C or SIGTERM; 141 means
that the reader of a pipe went away, as shells report it for any program.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar


class EdgesegError(Exception):
    """An error with a message (what failed, on which object, what was expected) and a hint (what to do).

    Args:
        message: one or more full sentences or clauses, without a trailing hint.
        hint: what the user can do about it; empty where the message says it all.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(EdgesegError):
    """The request itself is wrong."""

    exit_code = 2


class CardError(UsageError):
    """A wrong model card; `str()` shows ``file:line:column``, the line, a caret and the remedy.

    Args:
        message: what is wrong and what was expected.
        path: the card's file.
        line: 1-based line, 0 where no single line is at fault.
        column: 1-based column.
        source: the text of that line.
        hint: the remedy.
    """

    def __init__(
        self, message: str, *, path: Path, line: int = 0, column: int = 0, source: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.line = line
        self.column = column
        self.source = source

    @property
    def where(self) -> str:
        """The place at fault, in front of the message."""
        return f"{self.path}:{self.line}:{self.column}" if self.line else str(self.path)

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.message}"]
        if self.source:
            # One line of a generated card may be very long: a window of it is enough to find the place.
            start = max(self.column - 81, 0)
            gutter = f"{self.line:>5} | "
            parts += [gutter + self.source[start : start + 160], " " * (len(gutter) + self.column - 1 - start) + "^"]
        if self.hint:
            parts.append(f"  hint: {self.hint}")
        return "\n".join(parts)


class OverrideError(CardError):
    """A wrong ``--set KEY=VALUE``; `str()` names the key in place of the card's file."""

    def __init__(self, message: str, *, path: Path, key: str, hint: str = "") -> None:
        super().__init__(message, path=path, hint=hint)
        self.key = key

    @property
    def where(self) -> str:
        """The override as the user wrote it."""
        return f"--set {self.key}"


class CardErrors(CardError):  # noqa: N818 - the plural is the point
    """Several mistakes, of one card or of many; place, message and hint are those of the first.

    Args:
        errors: at least one, in the order to show; one that is itself several is taken apart.
    """

    def __init__(self, errors: Sequence[CardError]) -> None:
        self.errors = tuple(single for error in errors for single in error_list(error))
        first = self.errors[0]
        super().__init__(
            first.message,
            path=first.path,
            line=first.line,
            column=first.column,
            source=first.source,
            hint=first.hint,
        )

    def __str__(self) -> str:
        return "\n".join([f"{len(self.errors)} mistakes", *(str(error) for error in self.errors)])


def error_list(error: CardError) -> tuple[CardError, ...]:
    """The single mistakes that an error stands for."""
    return error.errors if isinstance(error, CardErrors) else (error,)


class WeightsError(UsageError):
    """Weights that cannot be read safely, or do not fit the network."""


class ArtifactError(UsageError):
    """A file or folder that is no artifact, or a broken one."""


class SourceError(UsageError):
    """A picture, video, list or camera that cannot be read."""


class OutputError(UsageError):
    """A file or folder that cannot be written: no place left, no permission, or something else is there."""


class ContractError(UsageError):
    """Tensors that break the declared names, shapes or dtypes."""


class EnvironmentMissingError(EdgesegError):
    """Something that must be installed or plugged in is absent. Nothing is ever installed for the user.

    Attributes:
        target: name of the target that it is absent for; empty where core itself needs it.
    """

    exit_code = 3
    target: str = ""


class StageError(EdgesegError):
    """A stage of a build failed.

    Args:
        outcome: the outcome word of the target, such as ``export_failed``.
        message: what failed.
        hint: what to do.
    """

    exit_code = 4

    def __init__(self, outcome: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.outcome = outcome


class GateError(EdgesegError):
    """Everything was built, but a number that must hold does not."""

    exit_code = 5


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A remedy for a mistyped word: the closest known one, else the whole list."""
    choices = sorted(known)
    # 0.5 is below difflib's 0.6 so that swapped letters in a short word ("lisence") still match.
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else "one of: " + ", ".join(choices)


def needs_extra(module: str, extra: str, purpose: str) -> EnvironmentMissingError:
    """The error for an absent optional package: one sentence with the install line."""
    return EnvironmentMissingError(
        f"{purpose} needs the package {module!r}, which is not installed here",
        hint=f"pip install 'edgeseg[{extra}]'",
    )
