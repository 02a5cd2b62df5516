"""GraphDef: a frozen TensorFlow graph in one file, for programs that import graphs themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.target import Artifact, Capabilities, EnvReport, ExportRequest, Findings, Options, Target

from ..saved_model.sdk import report_tensorflow
from .options import GraphDefOptions, GraphDefRunOptions

if TYPE_CHECKING:
    from edgeseg.metadata import ArtifactMetadata
    from edgeseg.target import Runner


class GraphDefTarget(Target):
    """One `.pb` file."""

    name = "graphdef"
    summary = "Frozen TensorFlow graph in one file"
    capabilities = Capabilities(precisions=("fp32",), suffix=".pb", dynamic_shapes=True, environment="saved_model")
    options_type = GraphDefOptions
    run_options_type = GraphDefRunOptions

    def check_env(self) -> EnvReport:
        """Running needs TensorFlow only; building needs torch and safetensors."""
        return report_tensorflow("torch", "safetensors")

    def recognizes(self, path: Path) -> bool:
        """A file that starts with a node of a graph."""
        from ..saved_model.wire import starts_as_graph

        return starts_as_graph(path)

    def export(self, request: ExportRequest) -> Artifact:
        """Trace, convert, write with metadata."""
        from .export import export

        return export(request)

    def read_metadata(self, path: Path) -> ArtifactMetadata:
        """From a constant of the graph, without the SDK."""
        from .runner import read_metadata

        return read_metadata(path)

    def inspect(self, artifact: Artifact) -> Findings:
        """Operator counts, weight types and names."""
        from .inspect import inspect

        return inspect(artifact)

    def open(self, artifact: Artifact, options: Options) -> Runner:
        """The graph, imported by TensorFlow."""
        from .runner import GraphDefRunner

        return GraphDefRunner(artifact, options)


target = GraphDefTarget()
