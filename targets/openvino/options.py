"""What a card may say under `options` of an openvino target, and what `--option` sets when it runs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from edgeseg.target import Options


class AccuracyControl(Options):
    """What int8 may cost."""

    max_drop: float = Field(
        0.05, ge=0, lt=1, description="of the agreement with the float network, 0..1, on pictures that set no range"
    )


class OpenVinoOptions(Options):
    """Export options."""

    batch: int = Field(1, ge=1, description="pictures per run of a file with a fixed batch")
    dynamic_batch: bool = Field(False, description="leave the batch open")
    dynamic_size: bool = Field(False, description="leave height and width open (multiples of 32)")
    outputs: Literal["raw", "decoded"] = Field(
        "raw", description="ten logit tensors, or the layout and metadata keys that existing clients expect"
    )
    preset: Literal["mixed", "performance"] = Field(
        "mixed", description="of int8: asymmetric activations where they have a sign, or symmetric ones"
    )
    accuracy_control: AccuracyControl | None = Field(
        None, strict=False, description="of int8: layers go back to float until agreement drops by `max_drop` at most"
    )


class OpenVinoRunOptions(Options):
    """Run options."""

    device: Literal["CPU", "GPU", "NPU", "AUTO"] = Field("CPU", description="where the network runs")
    hint: Literal["f32", "bf16", "f16"] = Field("f32", description="execution precision of what is not quantised")
    mode: Literal["latency", "throughput"] = Field(
        "latency", description="each run as fast as it can be, or as many pictures a second as can be"
    )
    requests: int | None = Field(
        None,
        ge=1,
        description="runs under way at once; absent: 1 in the latency mode, the runtime's choice in the other",
    )
    threads: int | None = Field(None, ge=1, description="CPU threads; absent: the runtime's choice")
    cache: str | None = Field(None, min_length=1, description="folder for compiled networks; absent: compile each time")

    @field_validator("device", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        """Other targets write devices in lower case."""
        return value.upper() if isinstance(value, str) else value
