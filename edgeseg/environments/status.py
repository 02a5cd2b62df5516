"""What is there of a target's venv and image, told without failing, for lists."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from edgeseg.environments import image, venv
from edgeseg.environments.contract import Environment
from edgeseg.environments.engine import find_engine
from edgeseg.errors import EnvironmentMissingError


@dataclass(frozen=True)
class Status:
    """One environment of a target.

    Attributes:
        ready: whether stages can run there.
        what: the interpreter, or tag and id of the image; empty where none is ready.
        problem: why what is there is of no use; empty where there is nothing.
    """

    ready: bool = False
    what: str = ""
    problem: str = ""


def statuses(target: str, engine: str = "") -> dict[str, Status]:
    """Of the venv and of the image of a registered target, by the kind of environment."""
    found = {"venv": _status(lambda: venv.find(target)), "docker": Status()}
    # A machine without an engine has no image, and nothing is wrong with that.
    with contextlib.suppress(EnvironmentMissingError):
        find_engine(engine)
        found["docker"] = _status(lambda: image.find(target, engine))
    return found


def _status(find: Callable[[], Environment | None]) -> Status:
    try:
        found = find()
    except EnvironmentMissingError as error:
        return Status(problem=error.message)
    return Status(True, found.describe()) if found else Status()
