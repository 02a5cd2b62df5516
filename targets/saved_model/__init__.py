"""SavedModel: TensorFlow's own format, for TensorFlow Serving and for converters that start from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.target import Artifact, Capabilities, EnvReport, ExportRequest, Findings, Options, Target

from .options import SavedModelOptions, SavedModelRunOptions
from .sdk import report_tensorflow

if TYPE_CHECKING:
    from edgeseg.metadata import ArtifactMetadata
    from edgeseg.target import Runner


class SavedModelTarget(Target):
    """A folder of `saved_model.pb` and `assets.extra/metadata.json`."""

    name = "saved_model"
    summary = "TensorFlow SavedModel with a named signature"
    capabilities = Capabilities(precisions=("fp32",), suffix="", dynamic_shapes=True)
    options_type = SavedModelOptions
    run_options_type = SavedModelRunOptions

    def check_env(self) -> EnvReport:
        """Running needs TensorFlow only; building needs torch and safetensors."""
        return report_tensorflow("torch", "safetensors")

    def recognizes(self, path: Path) -> bool:
        """A folder whose `saved_model.pb` starts as that message does."""
        from .runner import looks_like_saved_model

        return looks_like_saved_model(path)

    def export(self, request: ExportRequest) -> Artifact:
        """Trace, convert, write with metadata."""
        from .export import export

        return export(request)

    def read_metadata(self, path: Path) -> ArtifactMetadata:
        """From the folder's `assets.extra`, without the SDK."""
        from .runner import read_metadata

        return read_metadata(path)

    def inspect(self, artifact: Artifact) -> Findings:
        """Operator counts, weight types and the signature's names."""
        from .inspect import inspect

        return inspect(artifact)

    def open(self, artifact: Artifact, options: Options) -> Runner:
        """The folder's signature, loaded by TensorFlow."""
        from .runner import SavedModelRunner

        return SavedModelRunner(artifact, options)


target = SavedModelTarget()
