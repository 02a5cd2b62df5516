"""What a card may say under `options` of a paddle target, and what `--option` sets when it runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeseg.target import Options


class PaddleOptions(Options):
    """Export options."""

    batch: int = Field(1, ge=1, description="pictures per run of a file with a fixed batch")
    dynamic_batch: bool = Field(False, description="leave the batch open")
    dynamic_size: bool = Field(False, description="leave height and width open (multiples of 32)")
    outputs: Literal["raw", "decoded"] = Field(
        "raw", description="ten logit tensors, or the layout and metadata.yaml that existing clients expect"
    )


class PaddleRunOptions(Options):
    """Run options."""

    threads: int | None = Field(None, ge=1, description="threads of one operator; absent: one for each core")
    onednn: bool | None = Field(None, description="operators of oneDNN; absent: wherever this Paddle has them")
    ir_passes: bool = Field(True, description="fuse and fold operators at loading; false: they run as they are stored")
    memory_optim: bool = Field(True, description="tensors that are no longer read give their memory to later ones")
