"""What an artifact says about itself: an engine in its header, the portable graph in its key-value metadata."""

from __future__ import annotations

from pathlib import Path

from edgeseg_targets.onnx.keys import keys_of

from edgeseg.errors import ArtifactError
from edgeseg.metadata import METADATA_KEY, ArtifactMetadata

from .engine_file import is_engine, read_header


def read_metadata(path: Path) -> ArtifactMetadata:
    """Read without any SDK: on a device there may be TensorRT alone.

    Raises:
        ArtifactError: it is damaged, or somebody else's.
    """
    if is_engine(path):
        return read_header(path)[0]
    try:
        text = str(keys_of(path)[METADATA_KEY])
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactError(f"{path}: no readable portable graph: {error!r}", hint="export it again") from error
    return ArtifactMetadata.from_json(text, str(path))
