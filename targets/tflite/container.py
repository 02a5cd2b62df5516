"""A `.tflite` file on disk: the flatbuffer, and behind it a zip of associated files, as TensorFlow Lite keeps labels.

Our metadata is text in the flatbuffer. The zip holds the class names for other readers, and a hash: a damaged
weight is a weight like any other to the runtime, and a damaged table crashes it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeseg.errors import ArtifactError
from edgeseg.foreign import from_peer_keys
from edgeseg.metadata import METADATA_KEY, ArtifactMetadata
from edgeseg.tensors import DECODED_OUTPUT_NAMES, INPUT_NAME, NUM_COEFFICIENTS, TensorSpec

from .flatbuffer import Network, Tensor, is_tflite, read_network

LABELS_FILE = "labels.txt"
"""Where TensorFlow Lite's own tools look for class names: one a line, by class id."""

HASH_FILE = "edgeseg.sha256"
"""Of all bytes before the zip."""

PEER_FILE = "metadata.json"
"""In the zip of the peer's files."""

DTYPES: Mapping[str, str] = {"FLOAT32": "float32", "INT8": "int8", "UINT8": "uint8", "INT16": "int16"}
"""Types that a runner can feed and read, as numpy calls them."""

_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every member, so that the same content gives the same bytes."""


@dataclass(frozen=True)
class Content:
    """A whole file, read.

    Attributes:
        path: of the file.
        data: its bytes.
        network: the tables.
        members: the zip's file names to their bytes; empty where there is none.
    """

    path: Path
    data: bytes = field(repr=False)
    network: Network
    members: Mapping[str, bytes] = field(repr=False)


def with_files(data: bytes, names: tuple[str, ...]) -> bytes:
    """A flatbuffer with the zip behind it.

    Args:
        data: the flatbuffer.
        names: class names by class id.
    """
    stream = io.BytesIO(data)
    files = {LABELS_FILE: "".join(f"{name}\n" for name in names), HASH_FILE: hashlib.sha256(data).hexdigest() + "\n"}
    with zipfile.ZipFile(stream, "a") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), text)
    return stream.getvalue()


def looks_like_tflite(path: Path) -> bool:
    """A file with the format's four letters after its first four bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return is_tflite(file.read(8))


def read_content(path: Path) -> Content:
    """A file, whole and as it was written.

    Raises:
        ArtifactError: it is damaged; where it is ours, by the hash of what lies before the zip.
    """
    try:
        data = path.read_bytes()
        network = read_network(data)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: no readable .tflite file: {error}", hint="export it again") from error
    start, members = _members(data)
    if METADATA_KEY in network.metadata:
        found = hashlib.sha256(memoryview(data)[:start]).hexdigest()
        if members.get(HASH_FILE, b"").decode(errors="replace").strip() != found:
            raise ArtifactError(f"{path}: is not as it was written: its sha256 is another", hint="export it again")
    return Content(path, data, network, members)


def metadata_of(content: Content) -> ArtifactMetadata:
    """Our metadata; for a foreign file what its zip and its tensors tell.

    Raises:
        ArtifactError: it holds no readable metadata, or no network of a known layout.
    """
    where, network = str(content.path), content.network
    if METADATA_KEY in network.metadata:
        text = network.metadata[METADATA_KEY].decode(errors="replace")
        return ArtifactMetadata.from_json(text, where)
    inputs = tuple(_spec(INPUT_NAME, network.tensors[number], 3) for number in network.inputs.values())
    # Rank 3 comes first in the layout, in whatever order the file has them.
    numbers = sorted(network.outputs.values(), key=lambda number: len(network.tensors[number].shape))
    outputs = tuple(
        _spec(name, network.tensors[number], NUM_COEFFICIENTS)
        for name, number in zip(DECODED_OUTPUT_NAMES, numbers, strict=False)
    )
    keys = _peer_keys(content)
    metadata = from_peer_keys(keys, inputs, outputs if len(numbers) == len(outputs) else (), "tflite", where)
    return replace(metadata, precision=_precision(network))


def channels_last(shape: tuple[int, ...], channels: int) -> bool:
    """Whether a tensor has its channels last, as all of this format do but some in foreign files."""
    return len(shape) == 4 and shape[3] == channels


def _members(data: bytes) -> tuple[int, dict[str, bytes]]:
    """Where the zip behind the flatbuffer starts, and its files; the end of `data` where there is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            start = min((entry.header_offset for entry in entries), default=len(data))
            return start, {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError):
        return len(data), {}


def _peer_keys(content: Content) -> dict[str, Any]:
    if PEER_FILE not in content.members:
        return {}
    try:
        keys = json.loads(content.members[PEER_FILE])
        # JSON has no numbers for keys.
        return {**keys, "names": {int(index): str(name) for index, name in keys["names"].items()}}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ArtifactError(
            f"{content.path}: {PEER_FILE} inside is not readable: {error!r}", hint="export it again"
        ) from error


def _spec(name: str, tensor: Tensor, channels: int) -> TensorSpec:
    """As the contract sees it: channels first, real numbers."""
    shape = tensor.shape
    if channels_last(shape, channels):
        shape = (shape[0], shape[3], *shape[1:3])
    return TensorSpec(name, shape, "float32")


def _precision(network: Network) -> str:
    """What the weights are stored in."""
    if any(network.tensors[step.inputs[1]].type == "INT8" for step in network.operations if step.name == "CONV_2D"):
        return "int8"
    halves = any(tensor.type == "FLOAT16" for tensor in network.tensors)
    return "fp16" if halves else "fp32"
