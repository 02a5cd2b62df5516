"""What a stage may use at most, and how long it may take."""

from __future__ import annotations

from pydantic import Field

from edgeseg.card.train import Section


class Limits(Section):
    """Limits of every stage of a target; what exceeds one is ended, and the target with it."""

    stage_s: float = Field(3600, gt=0, description="longest run of one stage, seconds")
    memory_mb: int = Field(8000, ge=64, description="resident memory of a stage's processes, 10^6 bytes")
