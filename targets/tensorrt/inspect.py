"""Static findings: of a portable graph with what TensorRT's own parser says to it, of an engine what it says itself."""

from __future__ import annotations

from dataclasses import asdict, replace

from edgeseg import registry
from edgeseg.target import Artifact, Findings

from .compile_check import compile_check
from .engine_file import is_engine, read_header
from .options import TensorRTOptions


def inspect(artifact: Artifact) -> Findings:
    """Facts, and what is not as asked."""
    if is_engine(artifact.path):
        return _engine(artifact)
    metadata = artifact.metadata
    options = TensorRTOptions.model_validate(metadata.options)
    wanted = {"exclude": options.kept_float(), "per_channel": True, "scheme": "symmetric"}
    found = registry.load_usable("onnx").inspect(replace(artifact, metadata=replace(metadata, options=wanted)))
    facts, problems = compile_check(artifact.path, options, (metadata.image_size, metadata.batch))
    return Findings({**found.facts, **facts}, (*found.problems, *problems))


def _engine(artifact: Artifact) -> Findings:
    _, built = read_header(artifact.path)
    facts = {name.replace("_", " "): value for name, value in asdict(built).items()}
    return Findings({**facts, "megabytes": round(artifact.path.stat().st_size / 1e6, 2)})
