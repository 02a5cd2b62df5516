"""OpenVINO: the intermediate representation for Intel CPUs, GPUs and NPUs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.environment import report_packages
from edgeseg.target import Artifact, Capabilities, EnvReport, ExportRequest, Findings, Options, Target

from .options import OpenVinoOptions, OpenVinoRunOptions

if TYPE_CHECKING:
    from edgeseg.metadata import ArtifactMetadata
    from edgeseg.probe import Probe
    from edgeseg.target import Runner


class OpenVinoTarget(Target):
    """A folder of `model.xml` and `model.bin`."""

    name = "openvino"
    summary = "OpenVINO IR for Intel CPUs, GPUs and NPUs"
    capabilities = Capabilities(
        precisions=("fp32", "fp16", "int8"),
        suffix="",
        dynamic_shapes=True,
        extra="openvino",
        calibrated=("int8",),
        intermediate=True,
    )
    options_type = OpenVinoOptions
    run_options_type = OpenVinoRunOptions

    def check_env(self) -> EnvReport:
        """Running needs openvino only; building needs torch, and nncf for int8."""
        return report_packages(("openvino",), ("torch", "nncf"), extra="build")

    def recognizes(self, path: Path) -> bool:
        """A folder with one network description and the weights of the same name."""
        from .runner import looks_like_openvino

        return looks_like_openvino(path)

    def export(self, request: ExportRequest) -> Artifact:
        """Convert, quantise where asked, write with metadata."""
        from .export import export

        return export(request)

    def read_metadata(self, path: Path) -> ArtifactMetadata:
        """From the runtime information inside the description."""
        from .runner import read_metadata

        return read_metadata(path)

    def inspect(self, artifact: Artifact) -> Findings:
        """Operator counts, and the types of the convolutions' weights."""
        from .inspect import inspect

        return inspect(artifact)

    def open(self, artifact: Artifact, options: Options) -> Runner:
        """A compiled network."""
        from .runner import OpenVinoRunner

        return OpenVinoRunner(artifact, options)

    def probe(self, artifact: Artifact, options: Options) -> Probe:
        """The tensors between its layers."""
        from .layers import OpenVinoProbe

        return OpenVinoProbe(artifact, options)


target = OpenVinoTarget()
