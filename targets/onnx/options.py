"""What a card may say under `options` of an onnx target, and what `--option` sets when it runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeseg.target import Options


class OnnxOptions(Options):
    """Export options."""

    opset: int = Field(17, ge=13, le=20, description="ONNX operator set; 13 to 20 were proven")
    batch: int = Field(1, ge=1, description="pictures per run of a file with a fixed batch")
    dynamic_batch: bool = Field(False, description="leave the batch open")
    dynamic_size: bool = Field(False, description="leave height and width open (multiples of 32)")
    simplify: Literal["onnxsim", "onnxslim", "off"] = Field(
        "onnxsim", description="graph simplifier; onnxslim is what some later converters need"
    )
    outputs: Literal["raw", "decoded"] = Field(
        "raw", description="ten logit tensors, or the layout and metadata keys that existing clients expect"
    )


class OnnxRunOptions(Options):
    """Run options."""

    threads: int | None = Field(None, ge=1, description="intra-op threads; absent: the runtime's choice")
    device: Literal["cpu", "cuda"] = Field("cpu", description="execution provider")
