"""What a card may say under `options` of a saved_model target, and what `--option` sets when it runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeseg.target import Options


class SavedModelOptions(Options):
    """Export options."""

    batch: int = Field(1, ge=1, description="pictures per run of a file with a fixed batch")
    dynamic_batch: bool = Field(False, description="leave the batch open")
    dynamic_size: bool = Field(False, description="leave height and width open (multiples of 32)")
    outputs: Literal["raw", "decoded"] = Field(
        "raw", description="ten logit tensors, or the layout and metadata keys that existing clients expect"
    )


class SavedModelRunOptions(Options):
    """Run options."""

    threads: int | None = Field(
        None, ge=1, description="threads of one operator, set once per process; absent: the runtime's choice"
    )
