"""What a card may say under `options` of a tflite target, and what `--option` sets when it runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeseg.errors import UsageError
from edgeseg.target import Options

RangeMethod = Literal["mean_minmax", "minmax"]

CALIBRATED = ("int8", "w8a16")
"""Precisions whose ranges are set on pictures."""


class TfliteOptions(Options):
    """Export options. Sizes are fixed in the file."""

    batch: int = Field(1, ge=1, description="pictures per run, fixed in the file")
    edges: Literal["int8", "uint8"] | None = Field(
        None, description="int8: type of input and outputs in the file; absent: int8"
    )
    ranges: RangeMethod | None = Field(
        None,
        description="int8, w8a16: how the range of a tensor follows from the calibration pictures; absent: "
        "mean_minmax for int8, minmax for w8a16",
    )

    def require_fitting(self, precision: str) -> None:
        """Refuse an option that this precision would silently ignore.

        Raises:
            UsageError: naming the option.
        """
        for name, precisions in (("edges", ("int8",)), ("ranges", CALIBRATED)):
            if getattr(self, name) is not None and precision not in precisions:
                raise UsageError(
                    f"option {name} is of {' and '.join(precisions)}, the precision is {precision}",
                    hint="leave it out, or choose another precision",
                )


class TfliteRunOptions(Options):
    """Run options."""

    interpreter: Literal["auto", "ai-edge-litert", "tflite-runtime"] = Field(
        "auto", description="which package runs the file; auto takes ai-edge-litert where both are installed"
    )
    threads: int | None = Field(
        None, ge=1, description="threads of XNNPACK and of the kernels; absent: one for each core that it may use"
    )
    delegate: Literal["xnnpack", "none"] = Field(
        "xnnpack", description="what computes on the processor: XNNPACK, or the runtime's own kernels"
    )
