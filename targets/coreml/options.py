"""What a card may say under `options` of a coreml target, and what `--option` sets when it runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeseg.target import Options

DeploymentTarget = Literal["iOS15", "iOS16", "iOS17", "iOS18", "macOS12", "macOS13", "macOS14", "macOS15"]
OLDEST: tuple[DeploymentTarget, ...] = ("iOS15", "macOS12")
"""Systems that read no compressed weights: the operations that hold them came with iOS 16 and macOS 13."""


class CoreMLOptions(Options):
    """Export options. The batch is 1, and the size is fixed."""

    palette_bits: Literal[4, 6, 8] | None = Field(
        None, description="with fp16: weights as indices of this many bits into k-means palettes; absent: plain weights"
    )
    image_input: bool = Field(
        False, description="take a picture of 8-bit RGB, letterboxed by the caller, in place of a float tensor"
    )
    minimum_deployment_target: DeploymentTarget = Field(
        "iOS16",
        description="oldest system that must read the package",
    )
    outputs: Literal["raw", "decoded"] = Field(
        "raw", description="ten logit tensors, or the layout and metadata keys that existing clients expect"
    )


class CoreMLRunOptions(Options):
    """Run options. Those of the other system are refused, not ignored."""

    compute_units: Literal["all", "cpu_only", "cpu_and_gpu", "cpu_and_ne"] | None = Field(
        None, description="on a Mac: where Core ML may run it; absent: all"
    )
    threads: int | None = Field(None, ge=1, description="elsewhere: the evaluator's threads; absent: torch's choice")
