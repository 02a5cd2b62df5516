"""TorchScript: the traced network, run by libtorch in Python or C++."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.environment import report_packages
from edgeseg.target import Artifact, Capabilities, EnvReport, ExportRequest, Findings, Options, Target

from .options import TorchScriptOptions, TorchScriptRunOptions

if TYPE_CHECKING:
    from edgeseg.metadata import ArtifactMetadata
    from edgeseg.probe import Probe
    from edgeseg.target import Runner


class TorchScriptTarget(Target):
    """One `.torchscript` file."""

    name = "torchscript"
    summary = "TorchScript for libtorch, in Python or C++"
    capabilities = Capabilities(
        precisions=("fp32", "fp16"),
        suffix=".torchscript",
        dynamic_shapes=True,
        extra="torchscript",
        intermediate=True,
    )
    options_type = TorchScriptOptions
    run_options_type = TorchScriptRunOptions

    def check_env(self) -> EnvReport:
        """Torch both builds and runs it."""
        return report_packages(("torch",), ("safetensors",), extra="build")

    def recognizes(self, path: Path) -> bool:
        """A zip with a `code` folder and constants."""
        from .runner import looks_like_torchscript

        return looks_like_torchscript(path)

    def export(self, request: ExportRequest) -> Artifact:
        """Trace, freeze, write with metadata."""
        from .export import export

        return export(request)

    def read_metadata(self, path: Path) -> ArtifactMetadata:
        """From the zip's `extra` folder, without torch."""
        from .runner import read_metadata

        return read_metadata(path)

    def inspect(self, artifact: Artifact) -> Findings:
        """Operator counts and weight types."""
        from .inspect import inspect

        return inspect(artifact)

    def open(self, artifact: Artifact, options: Options) -> Runner:
        """The module, loaded by torch."""
        from .runner import TorchScriptRunner

        return TorchScriptRunner(artifact, options)

    def probe(self, artifact: Artifact, options: Options) -> Probe:
        """The tensors between its layers."""
        from .layers import TorchScriptProbe

        return TorchScriptProbe(artifact, options)


target = TorchScriptTarget()
