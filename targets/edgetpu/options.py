"""What a card may say under `options` of an Edge TPU target, and what `--option` sets when it runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeseg.target import Options


class EdgeTpuOptions(Options):
    """Export options. One picture a run, its size fixed in the file."""

    edges: Literal["int8", "uint8"] = Field("int8", description="type of input and outputs in the file")
    ranges: Literal["mean_minmax", "minmax"] = Field(
        "mean_minmax", description="how the range of a tensor follows from the calibration pictures"
    )
    min_runtime_version: int | None = Field(
        None, ge=10, le=14, description="oldest Edge TPU runtime that shall run it; absent: the compiler's own"
    )
    search_delegate: bool = Field(
        False, description="where the compiler fails, let it look for a shorter part of the network that it can compile"
    )
    several_subgraphs: bool = Field(
        False, description="let the compiler map more than one part of the network, by its undocumented -a"
    )
    timeout_s: int = Field(180, ge=1, description="time limit of the compiler, seconds")


class EdgeTpuRunOptions(Options):
    """Run options."""

    device: str = Field(
        "",
        pattern=r"^(usb|pci|usb:\d+|pci:\d+|:\d+)?$",
        description="usb, pci, :0 or usb:1 for one of several; absent: any",
    )
    threads: int | None = Field(
        None, ge=1, description="threads of the operations that stay on the processor; absent: one"
    )
