"""This interpreter, in a process of its own: a crash there is not ours."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from edgeseg.environments.contract import Confinement, Environment


class ProcessEnvironment(Environment):
    """The interpreter that runs this."""

    @property
    def kind(self) -> str:
        """``process``."""
        return "process"

    def describe(self) -> str:
        """The interpreter's path."""
        return sys.executable

    def command(self, arguments: Sequence[str], confinement: Confinement) -> list[str]:
        """A child of this interpreter; limits are its caller's to enforce."""
        return [sys.executable, "-m", "edgeseg", *arguments]
