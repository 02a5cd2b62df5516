"""What a card may say under `options` of an ncnn target, and what `--option` sets when it runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeseg.target import Options


class NcnnOptions(Options):
    """Export options. Pictures are run one by one, so no batch is in the file; raw outputs leave the size open too."""

    outputs: Literal["raw", "decoded"] = Field(
        "raw", description="ten logit tensors, or the layout, names and metadata.yaml that existing clients expect"
    )


class NcnnRunOptions(Options):
    """Run options."""

    threads: int | None = Field(None, ge=1, description="threads of one layer; absent: one for each big core")
    device: Literal["cpu", "vulkan"] = Field("cpu", description="where the network runs")
    arithmetic: Literal["fp32", "fp16", "bf16"] = Field(
        "fp32",
        description="what tensors are held and computed in; the 16-bit ones are faster where the device has them",
    )
