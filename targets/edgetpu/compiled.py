"""A compiled file: the compiler's own bytes, and behind them a zip with our metadata and what the compiler printed.

Nothing inside the compiler's part is touched: the Edge TPU's program lies in it, and no device was here to prove that a
rewritten one still runs.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import replace

from edgeseg.metadata import METADATA_KEY, ArtifactMetadata

from ..tflite.container import HASH_FILE, LABELS_FILE, Content, metadata_of
from .log import CompilerLog, parse
from .nodes import Graph

CUSTOM_OPERATOR = "edgetpu-custom-op"
"""What the compiler puts in place of the operations that it maps."""

RECORD_FILE = "edgeseg.json"
LOG_FILE = "edgetpu_compiler.log"

_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every member, so that the same content gives the same bytes."""


def with_record(data: bytes, metadata: ArtifactMetadata, text: str) -> bytes:
    """A compiled file as it is kept.

    Args:
        data: what the compiler wrote.
        metadata: of the file that was compiled.
        text: what the compiler printed.
    """
    stream = io.BytesIO(data)
    files = {
        LABELS_FILE: "".join(f"{name}\n" for name in metadata.names),
        HASH_FILE: hashlib.sha256(data).hexdigest() + "\n",
        RECORD_FILE: metadata.to_json(),
        LOG_FILE: text,
    }
    with zipfile.ZipFile(stream, "a") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), content)
    return stream.getvalue()


def metadata_in(content: Content) -> ArtifactMetadata:
    """What a file of this format says about itself, compiled or not; of a foreign one what its zip and tensors tell."""
    if RECORD_FILE in content.members:
        return ArtifactMetadata.from_json(content.members[RECORD_FILE].decode(errors="replace"), str(content.path))
    metadata = metadata_of(content)
    return metadata if METADATA_KEY in content.network.metadata else replace(metadata, format="edgetpu")


def log_in(content: Content) -> CompilerLog | None:
    """What the compiler printed when it made this file; None where the file does not hold that."""
    return parse(content.members[LOG_FILE].decode(errors="replace")) if LOG_FILE in content.members else None


def is_compiled(graph: Graph) -> bool:
    """Whether operations of this graph run on the Edge TPU."""
    return any(node.kind == CUSTOM_OPERATOR for node in graph.nodes)


def is_for_edge_tpu(data: bytes) -> bool:
    """Whether a `.tflite` file's bytes are of this format, told in milliseconds: compiled, or made to be."""
    return CUSTOM_OPERATOR.encode() in data or b'"format": "edgetpu"' in data
