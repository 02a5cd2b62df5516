"""What a graph says about itself: a constant, the last node of its file, named `edgeseg`.

Its text is JSON: the metadata, and the hash of everything else in the file, since a damaged weight is a weight like any
other to TensorFlow. Any program that imports the graph can fetch it as the string tensor ``edgeseg:0``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from edgeseg.errors import ArtifactError
from edgeseg.metadata import METADATA_KEY, ArtifactMetadata

from ..saved_model.wire import WireError, fields, only_bytes

HASH_KEY = "sha256"

NODE, NAME, ATTRIBUTE = 1, 1, 5
"""Field numbers: a GraphDef's node; a node's name and attributes (graph.proto, node_def.proto)."""

KEY, VALUE, TENSOR, STRING = 1, 2, 8, 8
"""Of a map's entry; of an attribute that is a tensor (attr_value.proto); of its strings (tensor.proto)."""


def record_text(metadata: ArtifactMetadata, network: bytes) -> str:
    """The constant's text for the bytes of a graph."""
    _, digest = _taken_apart(network)
    return json.dumps(
        {METADATA_KEY: json.loads(metadata.to_json()), HASH_KEY: digest}, sort_keys=True, ensure_ascii=False
    )


def read_record(data: bytes, path: Path) -> ArtifactMetadata | None:
    """The metadata of a file's bytes; nothing where the graph is somebody else's.

    Args:
        data: the whole file.
        path: of the file, for errors.

    Raises:
        ArtifactError: the bytes are no whole graph, or not the ones that were written there.
    """
    try:
        node, digest = _taken_apart(data)
        if node is None:
            return None
        content = json.loads(_text(node))
        written, metadata = content[HASH_KEY], json.dumps(content[METADATA_KEY])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ArtifactError(f"{path}: no whole TensorFlow graph: {error}", hint="export it again") from error
    if written != digest:
        raise ArtifactError(f"{path}: the graph is not the one that was written here", hint="export it again")
    return ArtifactMetadata.from_json(metadata, str(path))


def _taken_apart(graph: bytes) -> tuple[memoryview | None, str]:
    """The node that is the metadata, and the hash of all else: of each field's number, length and content."""
    found, digest = None, hashlib.sha256()
    for number, value in fields(graph):
        if isinstance(value, int):
            raise WireError(f"field {number} of a graph is a number")
        if number == NODE and only_bytes(value, NAME) == METADATA_KEY.encode():
            found = value
        else:
            digest.update(b"%d %d " % (number, len(value)))
            digest.update(value)
    return found, digest.hexdigest()


def _text(node: memoryview) -> str:
    for number, entry in fields(node):
        if number == ATTRIBUTE and not isinstance(entry, int) and only_bytes(entry, KEY) == b"value":
            return only_bytes(entry, VALUE, TENSOR, STRING).decode()
    raise WireError("the metadata's node has no value")
