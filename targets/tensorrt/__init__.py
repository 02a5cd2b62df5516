"""TensorRT: an engine for NVIDIA GPUs and Jetson, built on the device from a portable graph that is proven here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.environment import installed_version, report_packages
from edgeseg.target import Artifact, Capabilities, EnvReport, ExportRequest, Findings, Options, Target

from .options import TensorRTOptions, TensorRTRunOptions

if TYPE_CHECKING:
    from edgeseg.metadata import ArtifactMetadata
    from edgeseg.target import Runner

OPTIONAL = ("tensorrt", "tensorrt_rtx")
"""Of the device, and for the compile check where there is none."""


class TensorRTTarget(Target):
    """`export` writes an ONNX graph, `finish` builds an `.engine` of it on its device."""

    name = "tensorrt"
    summary = "TensorRT engine for NVIDIA GPUs and Jetson, finished on the device"
    capabilities = Capabilities(
        precisions=("fp16", "fp32", "int8"),
        suffix=".onnx",
        dynamic_shapes=True,
        compile_hardware="the NVIDIA GPU that the engine is for",
        run_hardware="the NVIDIA GPU that the engine is for",
        extra="tensorrt",
        calibrated=("int8",),
        portable=True,
    )
    options_type = TensorRTOptions
    run_options_type = TensorRTRunOptions

    def check_env(self) -> EnvReport:
        """A device needs TensorRT alone; exporting, and running the graph, need what the onnx target needs."""
        there = {name: found for name in OPTIONAL if (found := installed_version(name))}
        report = report_packages(("onnxruntime",), ("torch", "onnx", "onnxsim", "onnxslim"), extra="tensorrt")
        versions = {**report.versions, **there}
        if "tensorrt" in there:
            return EnvReport(versions=versions, optional=OPTIONAL)
        return replace(report, versions=versions, optional=OPTIONAL)

    def recognizes(self, path: Path) -> bool:
        """An engine by its first bytes; an ONNX graph by the format that its metadata names."""
        from edgeseg_targets.onnx.keys import format_of

        from .engine_file import is_engine

        return is_engine(path) or (path.is_file() and bool(format_of(path) == self.name))

    def export(self, request: ExportRequest) -> Artifact:
        """The portable graph."""
        from .export import export

        return export(request)

    def read_metadata(self, path: Path) -> ArtifactMetadata:
        """From the engine's header, or from the graph's key-value metadata."""
        from .portable import read_metadata

        return read_metadata(path)

    def deferral(self) -> str:
        """No NVIDIA GPU."""
        from .sdk import deferral

        return deferral()

    def finish(self, artifact: Artifact, output_dir: Path) -> Artifact:
        """Build the engine."""
        from .engine_build import build_engine

        return build_engine(artifact, output_dir)

    def inspect(self, artifact: Artifact) -> Findings:
        """Of a graph also what TensorRT's parser and builder say to it, where TensorRT for RTX is installed."""
        from .inspect import inspect

        return inspect(artifact)

    def open(self, artifact: Artifact, options: Options) -> Runner:
        """An engine by TensorRT, a graph by ONNX Runtime."""
        from .runner import open_artifact

        return open_artifact(artifact, options)


target = TensorRTTarget()
