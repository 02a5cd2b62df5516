"""What the build knows of an environment: which tools are in it, and how a command is started there."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

Isolation = Literal["auto", "process", "venv", "docker"]
ISOLATIONS: tuple[Isolation, ...] = get_args(Isolation)


@dataclass(frozen=True)
class Confinement:
    """What a command may see and use. An environment that cannot enforce a part leaves that part to its caller.

    Attributes:
        name: of the run, distinct on this machine; a container gets it.
        readable: folders and files that it reads, absolute; they have the same paths inside.
        writable: folders that it writes, absolute.
        memory_mb: resident memory of all its processes, 10^6 bytes; None for no limit.
    """

    name: str
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    memory_mb: int | None = None


@dataclass(frozen=True)
class Environment(abc.ABC):
    """A place where a target's SDK is installed.

    Attributes:
        target: name of the target.
        versions: tool to version, as far as they decide what a stage gives; part of every stage's key.
    """

    target: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    @abc.abstractmethod
    def kind(self) -> str:
        """``process``, ``venv`` or ``docker``."""

    @abc.abstractmethod
    def describe(self) -> str:
        """One line for people: which interpreter or image."""

    @abc.abstractmethod
    def command(self, arguments: Sequence[str], confinement: Confinement) -> list[str]:
        """The argument list that runs ``edgeseg ARGUMENTS`` there, its stdin, stdout and stderr those of the caller."""

    def kill(self, name: str) -> None:  # noqa: B027 - killing the process is enough for most
        """End what a killed command has left running; `name` is that of its confinement."""

    def prepare(self, folder: Path) -> None:  # noqa: B027 - the caller's own user may write there already
        """Let the command write to a folder that its caller has just made below a writable one."""

    def explain(self, code: int) -> str:
        """An exit code of a command in words, to follow "the process"."""
        return f"ended with exit code {code}"
