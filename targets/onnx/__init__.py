"""ONNX: the portable graph, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.environment import report_packages
from edgeseg.target import Artifact, Capabilities, EnvReport, ExportRequest, Findings, Options, Target

from .options import OnnxOptions, OnnxRunOptions

if TYPE_CHECKING:
    from edgeseg.metadata import ArtifactMetadata
    from edgeseg.probe import Probe
    from edgeseg.target import Runner


class OnnxTarget(Target):
    """One `.onnx` file."""

    name = "onnx"
    summary = "ONNX graph for ONNX Runtime, OpenCV and every converter"
    capabilities = Capabilities(
        precisions=("fp32", "fp16", "int8"),
        suffix=".onnx",
        dynamic_shapes=True,
        extra="onnx",
        calibrated=("int8",),
        intermediate=True,
    )
    options_type = OnnxOptions
    run_options_type = OnnxRunOptions

    def check_env(self) -> EnvReport:
        """Running needs onnxruntime only; building needs the other three too."""
        return report_packages(("onnxruntime",), ("torch", "onnx", "onnxsim", "onnxslim"), extra="build")

    def recognizes(self, path: Path) -> bool:
        """A protobuf that starts as a ModelProto, and does not say that it is a graph for another format's compiler."""
        from .keys import format_of
        from .runner import looks_like_onnx

        return looks_like_onnx(path) and format_of(path) in ("", self.name)

    def export(self, request: ExportRequest) -> Artifact:
        """Trace, simplify, write with metadata."""
        from .export import export

        return export(request)

    def read_metadata(self, path: Path) -> ArtifactMetadata:
        """From the file's key-value metadata."""
        from .runner import read_metadata

        return read_metadata(path)

    def inspect(self, artifact: Artifact) -> Findings:
        """Node counts, opset, weight types."""
        from .inspect import inspect

        return inspect(artifact)

    def open(self, artifact: Artifact, options: Options) -> Runner:
        """An ONNX Runtime session."""
        from .runner import OnnxRunner

        return OnnxRunner(artifact, options)

    def probe(self, artifact: Artifact, options: Options) -> Probe:
        """The tensors between its layers."""
        from .layers import OnnxProbe

        return OnnxProbe(artifact, options)


target = OnnxTarget()
