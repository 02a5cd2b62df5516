"""Core ML: an ML program for iPhone, iPad and Mac; on other systems an evaluator of its operations proves it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.environment import report_packages
from edgeseg.target import Artifact, Capabilities, EnvReport, ExportRequest, Findings, Options, Target

from .options import CoreMLOptions, CoreMLRunOptions

if TYPE_CHECKING:
    from edgeseg.metadata import ArtifactMetadata
    from edgeseg.probe import Probe
    from edgeseg.target import Runner


class CoreMLTarget(Target):
    """A `.mlpackage` folder.

    Nothing is deferred: where Apple's runtime is absent, the evaluator checks what the saved package says, and
    `execution` labels the verdict. `edgeseg bundle` takes the proof on to a Mac.
    """

    name = "coreml"
    summary = "Core ML package for iPhone, iPad and Mac"
    capabilities = Capabilities(
        precisions=("fp16", "fp32", "int8"), suffix=".mlpackage", folder=True, extra="coreml", intermediate=True
    )
    options_type = CoreMLOptions
    run_options_type = CoreMLRunOptions

    def check_env(self) -> EnvReport:
        """A Mac runs packages by coremltools alone; elsewhere the evaluator computes with torch."""
        if sys.platform == "darwin":
            return report_packages(("coremltools",), ("torch", "safetensors"), extra="build")
        return report_packages(("coremltools", "torch"), ("safetensors",), extra="build")

    def recognizes(self, path: Path) -> bool:
        """A folder whose manifest names a Core ML model inside it."""
        from .package import looks_like_package

        return looks_like_package(path)

    def export(self, request: ExportRequest) -> Artifact:
        """Trace, convert, compress the weights where asked, write with metadata."""
        from .export import export

        return export(request)

    def read_metadata(self, path: Path) -> ArtifactMetadata:
        """From the model's user-defined metadata."""
        from .package import read_metadata

        return read_metadata(path)

    def inspect(self, artifact: Artifact) -> Findings:
        """Operation counts, and how the convolutions' weights are stored."""
        from .inspect import inspect

        return inspect(artifact)

    def open(self, artifact: Artifact, options: Options) -> Runner:
        """Apple's runtime on a Mac, the evaluator elsewhere."""
        from .runner import open_package

        return open_package(artifact, options)

    def probe(self, artifact: Artifact, options: Options) -> Probe:
        """The tensors between its layers."""
        from .layers import CoreMLProbe

        return CoreMLProbe(artifact, options)


target = CoreMLTarget()
