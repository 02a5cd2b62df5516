"""A full-integer file to the one that runs on the Edge TPU."""

from __future__ import annotations

import tempfile
from pathlib import Path

from edgeseg.files import write_atomically
from edgeseg.metadata import ArtifactMetadata
from edgeseg.target import Artifact

from .compiled import is_compiled, with_record
from .compiler import compile_model
from .log import CompilerLog
from .nodes import read_graph
from .options import EdgeTpuOptions

SUFFIX = "_edgetpu"
"""What the compiler adds to a file's stem."""


def finish(artifact: Artifact, output_dir: Path) -> Artifact:
    """Write ``output_dir/STEM_edgetpu.tflite`` and, beside it, what the compiler printed as ``.log``.

    Returns:
        The compiled artifact; `artifact` itself where it is compiled already.

    Raises:
        EnvironmentMissingError: there is no compiler here.
        StageError: it refuses the file, or takes too long.
        OutputError: the result cannot be written whole.
    """
    if is_compiled(read_graph(artifact.path)):
        return artifact
    data, _, text = compiled(artifact)
    path = output_dir / f"{artifact.path.stem}{SUFFIX}.tflite"
    write_atomically(path.with_suffix(".log"), text.encode())
    write_atomically(path, with_record(data, artifact.metadata, text))
    return Artifact(path, artifact.metadata)


def compiled(artifact: Artifact) -> tuple[bytes, CompilerLog, str]:
    """The compiler's result for a full-integer file, the numbers of what it printed, and that text."""
    with tempfile.TemporaryDirectory(prefix="edgeseg-edgetpu-") as name:
        path, log, text = compile_model(artifact.path, Path(name), options_of(artifact.metadata))
        return path.read_bytes(), log, text


def options_of(metadata: ArtifactMetadata) -> EdgeTpuOptions:
    """The export options that a file was made with; those of another exporter's file say nothing here."""
    known = {name: value for name, value in metadata.options.items() if name in EdgeTpuOptions.model_fields}
    return EdgeTpuOptions(**known)
