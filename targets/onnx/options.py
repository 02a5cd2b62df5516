"""What a card may say under `options` of an onnx target, and what `--option` sets when it runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgeseg.errors import UsageError
from edgeseg.target import Options

RangeMethod = Literal["mean_minmax", "minmax", "percentile", "entropy"]
FloatGroup = Literal["stem", "silu", "box", "cls", "coef", "proto"]

QUANTISING = ("scheme", "ranges", "per_channel", "reduce_range", "exclude")
"""Options that int8 alone has."""


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
    scheme: Literal["asymmetric", "symmetric"] = Field(
        "asymmetric",
        description="int8: activations as uint8 with a zero point around every operator, which ONNX Runtime computes "
        "with, or as int8 around zero before convolutions alone with float biases, which TensorRT reads",
    )
    ranges: RangeMethod = Field(
        "mean_minmax", description="int8: how the range of a tensor follows from the calibration pictures"
    )
    per_channel: bool = Field(True, description="int8: a scale for each output channel of a convolution's weights")
    reduce_range: bool = Field(False, description="int8: weights of 7 bits, for x86 processors without VNNI")
    exclude: list[FloatGroup] | None = Field(
        None, description="int8: what stays float: SiLU, the first convolution, the last layer of a branch of the head"
    )

    def require_fitting(self, precision: str) -> None:
        """Refuse an option of int8 that another precision would silently ignore, and what int8 cannot be made from.

        Raises:
            UsageError: naming the option.
        """
        if precision == "int8":
            if self.simplify == "off":
                raise UsageError(
                    "onnx int8 needs a simplified graph: the sizes that the exporter leaves computed are no int8",
                    hint="simplify: onnxsim, or onnxslim",
                )
            return
        for name in QUANTISING:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise UsageError(
                    f"onnx {precision} has no option {name!r}: nothing is quantised",
                    hint="leave it out, or ask for precision int8",
                )


class OnnxRunOptions(Options):
    """Run options."""

    threads: int | None = Field(None, ge=1, description="intra-op threads; absent: the runtime's choice")
    device: Literal["cpu", "cuda"] = Field("cpu", description="execution provider")
