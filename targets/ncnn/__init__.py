"""ncnn: a small runtime for ARM boards and phones, on their CPU or through Vulkan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.environment import report_packages
from edgeseg.target import Artifact, Capabilities, EnvReport, ExportRequest, Findings, Options, Target

from .options import NcnnOptions, NcnnRunOptions
from .tools import quantised_precisions

if TYPE_CHECKING:
    from edgeseg.metadata import ArtifactMetadata
    from edgeseg.probe import Probe
    from edgeseg.target import Runner


class NcnnTarget(Target):
    """A folder of `model.ncnn.param`, `model.ncnn.bin` and `metadata.json`."""

    name = "ncnn"
    summary = "ncnn param and bin for ARM boards and phones"
    capabilities = Capabilities(
        precisions=("fp16", "fp32", *quantised_precisions()),
        suffix="",
        dynamic_shapes=True,
        extra="ncnn",
        calibrated=quantised_precisions(),
        intermediate=True,
    )
    options_type = NcnnOptions
    run_options_type = NcnnRunOptions

    def check_env(self) -> EnvReport:
        """Running needs ncnn only; building needs torch and pnnx."""
        return report_packages(("ncnn",), ("torch", "pnnx"), extra="build")

    def recognizes(self, path: Path) -> bool:
        """A folder with a network description that starts with ncnn's magic number, and weights."""
        from .network import looks_like_ncnn

        return looks_like_ncnn(path)

    def export(self, request: ExportRequest) -> Artifact:
        """Trace, convert, name the tensors, write with metadata."""
        from .export import export

        return export(request)

    def read_metadata(self, path: Path) -> ArtifactMetadata:
        """From the folder's `metadata.json`, without the SDK."""
        from .runner import read_metadata

        return read_metadata(path)

    def inspect(self, artifact: Artifact) -> Findings:
        """Layer counts and weight types."""
        from .inspect import inspect

        return inspect(artifact)

    def open(self, artifact: Artifact, options: Options) -> Runner:
        """A loaded network."""
        from .runner import NcnnRunner

        return NcnnRunner(artifact, options)

    def probe(self, artifact: Artifact, options: Options) -> Probe:
        """The tensors between its layers."""
        from .layers import NcnnProbe

        return NcnnProbe(artifact, options)


target = NcnnTarget()
