"""What a card may say under `options` of a tensorrt target, and what `--option` sets when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from edgeseg.errors import UsageError
from edgeseg.target import Options

FloatGroup = Literal["stem", "box", "cls", "coef", "proto"]
Three = Annotated[list[int], Field(min_length=3, max_length=3)]

SENSITIVE: tuple[FloatGroup, ...] = ("stem", "box", "cls", "coef", "proto")
"""What stays float by default: what reads the picture, of which int8 around zero keeps 7 bits, and the outputs."""

BATCHES = (1, 1, 8)
"""Of an open batch, where none are given: least, tuned for, most."""


class TensorRTOptions(Options):
    """Export options. Those of the builder are used where the engine is built: on the device."""

    opset: int = Field(17, ge=13, le=20, description="ONNX operator set; TensorRT 8.6 reads up to 17")
    batch: int = Field(1, ge=1, description="pictures per run of an engine with a fixed batch")
    dynamic_batch: bool = Field(False, description="leave the batch open, within `batches`")
    dynamic_size: bool = Field(False, description="leave height and width open (multiples of 32), within `sizes`")
    batches: Three | None = Field(None, description="with dynamic_batch: least, tuned for, most; absent: 1, 1, 8")
    sizes: list[Annotated[list[int], Field(min_length=2, max_length=2)]] | None = Field(
        None,
        min_length=3,
        max_length=3,
        description="with dynamic_size: [height, width] least, tuned for, most; absent: half, once, twice the size",
    )
    outputs: Literal["raw", "decoded"] = Field(
        "raw", description="ten logit tensors, or the layout and metadata keys that existing clients expect"
    )
    ranges: Literal["mean_minmax", "minmax", "percentile", "entropy"] = Field(
        "mean_minmax", description="int8: how the range of a tensor follows from the calibration pictures"
    )
    exclude: list[FloatGroup] | None = Field(
        None,
        description="int8: what stays float: the first convolution, the last layer of a branch of the head; absent: "
        "all of these, []: nothing",
    )
    workspace_mb: int | None = Field(None, ge=1, description="most memory a layer's tactics may take, MiB; absent: all")
    timing_cache: str | None = Field(
        None, min_length=1, description="file on the device that keeps what tactics took, for a faster next build"
    )
    dla_core: int | None = Field(None, ge=0, description="run on this deep learning accelerator, the rest on the GPU")
    tf32: bool = Field(False, description="fp32: let multiplications drop to 10 bits of mantissa")
    version_compatible: bool = Field(False, description="an engine that later minor versions of TensorRT run, too")

    def require_fitting(self, precision: str) -> None:
        """Refuse what does not go together, and what another precision would silently ignore.

        Raises:
            UsageError: naming the option.
        """
        fixed = not (self.dynamic_batch or self.dynamic_size)
        wrong = {
            "batches": self.batches is not None and not self.dynamic_batch and "needs dynamic_batch: true",
            "sizes": self.sizes is not None and not self.dynamic_size and "needs dynamic_size: true",
            "ranges": self.ranges != "mean_minmax" and precision != "int8" and "is of int8: nothing is quantised",
            "exclude": self.exclude is not None and precision != "int8" and "is of int8: nothing is quantised",
            "tf32": self.tf32 and precision != "fp32" and "is of fp32",
            "dla_core": self.dla_core is not None
            and (
                (precision == "fp32" and "computes in fp16 and int8") or (not fixed and "wants a fixed batch and size")
            ),
        }
        for name, problem in wrong.items():
            if problem:
                raise UsageError(f"tensorrt {precision}: the option {name!r} {problem}", hint="change one of the two")
        _require_rising("batches", [[value] for value in self.batches or []], least=1)
        _require_rising("sizes", self.sizes or [], least=32, multiple=32)

    def kept_float(self) -> list[FloatGroup]:
        """Of an int8 graph."""
        return list(SENSITIVE) if self.exclude is None else self.exclude

    def profile(self, image_size: tuple[int, int], batch: int) -> tuple[tuple[int, int, int, int], ...]:
        """Input shapes (batch, 3, height, width): least, tuned for, most; the same three times where all is fixed."""
        batches: Sequence[int] = (self.batches or BATCHES) if self.dynamic_batch else (batch,) * 3
        height, width = image_size
        sizes: Sequence[Sequence[int]] = (image_size,) * 3
        if self.dynamic_size:
            sizes = self.sizes or ((_halved(height), _halved(width)), image_size, (2 * height, 2 * width))
        return tuple((count, 3, tall, wide) for count, (tall, wide) in zip(batches, sizes, strict=True))


class TensorRTRunOptions(Options):
    """Run options."""

    gpu: int = Field(0, ge=0, description="engine: which GPU, by its number in the driver")
    threads: int | None = Field(None, ge=1, description="portable graph: threads of ONNX Runtime; absent: its choice")


def _halved(side: int) -> int:
    """Half a side, a multiple of 32."""
    return max(32, side // 64 * 32)


def _require_rising(name: str, rows: list[list[int]], least: int, multiple: int = 1) -> None:
    wrong = any(value < least or value % multiple for row in rows for value in row)
    falls = any(a > b for low, high in pairwise(rows) for a, b in zip(low, high, strict=True))
    if wrong or falls:
        steps = f"multiples of {multiple}, " if multiple > 1 else ""
        raise UsageError(
            f"tensorrt: the option {name!r} is {rows}", hint=f"{steps}{least} or more: least, tuned for, most, rising"
        )
