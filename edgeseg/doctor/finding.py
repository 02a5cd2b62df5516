"""One thing that was looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        area: what was looked at: ``python``, ``disk`` ...
        level: ``ok``; ``note`` for what limits some uses; ``problem`` for what does not work as it is.
        text: a sentence.
        remedy: a command or a step that mends it; printed, never run.
        core: whether all of edgeseg depends on it; such a problem makes `edgeseg doctor` exit with 3.
        facts: name to plain value.
    """

    area: str
    level: Level
    text: str
    remedy: str = ""
    core: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def breaks_core(self) -> bool:
        """Whether edgeseg itself cannot work because of it."""
        return self.core and self.level == "problem"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "facts": dict(self.facts)}
