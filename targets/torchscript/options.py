"""What a card may say under `options` of a torchscript target, and what `--option` sets when it runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeseg.target import Options


class TorchScriptOptions(Options):
    """Export options. Batch and size stay open: a trace of this network fixes neither."""

    freeze: bool = Field(True, description="make weights constants, which lets libtorch fold and fuse")
    outputs: Literal["raw", "decoded"] = Field(
        "raw", description="ten logit tensors, or the layout and metadata keys that existing clients expect"
    )


class TorchScriptRunOptions(Options):
    """Run options."""

    threads: int | None = Field(None, ge=1, description="intra-op threads; absent: torch's choice")
    device: Literal["cpu", "cuda", "mps"] = Field("cpu", description="where to run")
