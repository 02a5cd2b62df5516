"""TensorFlow.js: a graph model for browsers, with a static page that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.target import Artifact, Capabilities, EnvReport, ExportRequest, Findings, Options, Target

from .options import TfjsOptions, TfjsRunOptions

if TYPE_CHECKING:
    from edgeseg.metadata import ArtifactMetadata
    from edgeseg.target import Runner


class TfjsTarget(Target):
    """A folder of `model.json`, shards of weights, and the page: `index.html` with all that it loads."""

    name = "tfjs"
    summary = "TensorFlow.js graph model with a page that runs it"
    capabilities = Capabilities(precisions=("fp32", "fp16", "int8"), suffix="", environment="saved_model")
    options_type = TfjsOptions
    run_options_type = TfjsRunOptions

    def check_env(self) -> EnvReport:
        """Exporting needs torch, TensorFlow and the npm packages; running needs Node and these."""
        from .modules import environment_report

        return environment_report()

    def recognizes(self, path: Path) -> bool:
        """A folder with a `model.json` that says it is a graph model."""
        from .model_json import looks_like_graph_model

        return looks_like_graph_model(path)

    def export(self, request: ExportRequest) -> Artifact:
        """Convert to a TensorFlow graph, simplify, write with metadata and page."""
        from .export import export

        return export(request)

    def read_metadata(self, path: Path) -> ArtifactMetadata:
        """From `model.json`, without any SDK."""
        from .model_json import read_metadata

        return read_metadata(path)

    def inspect(self, artifact: Artifact) -> Findings:
        """Operators, and the types that the weights are stored in."""
        from .inspect import inspect

        return inspect(artifact)

    def open(self, artifact: Artifact, options: Options) -> Runner:
        """A model loaded by Node or by a browser without a window."""
        from .runner import TfjsRunner

        return TfjsRunner(artifact, options)


target = TfjsTarget()
