"""The graph-model format of TensorFlow.js: `model.json` and shards of weights, written and read without its converter.

`modelTopology` is a GraphDef in protobuf's JSON form, whose constants have no values; `weightsManifest` lists these,
in the order in which the shards hold them. A float weight may be stored as float16, or as uint8 with a scale and a
minimum: value = stored x scale + minimum. Described by the types `ModelJSON` and `WeightsManifestEntry` of
tfjs-core/src/io/types.ts, tag tfjs-v4.22.0.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.errors import ArtifactError
from edgeseg.files import sha256_of
from edgeseg.metadata import METADATA_KEY, ArtifactMetadata
from edgeseg.tensors import Array, TensorSpec

from .graph import Graph

MODEL_FILE = "model.json"
FORMAT = "graph-model"
HASHES_KEY = "sha256"
"""In `userDefinedMetadata`, beside the metadata: file name to hash. A damaged weight is a weight like any other."""

SHARD_BYTES = 4 << 20
"""Of the format's own converter: what browsers keep in their cache."""

UINT8_STEP, UINT8_MIN = 2 / 254, -1.0
"""Scale and minimum of a uint8 weight in -1..1: 127 is 0, so that a weight of 0 stays 0."""

HEAD_BYTES = 4096
_HEAD = re.compile(rb'\s*\{(?:\s*"\w+"\s*:\s*(?:null|"[^"]*")\s*,)*?\s*"format"\s*:\s*"%s"' % FORMAT.encode())
"""The format's own converters write it before the network, among other short texts."""

STORED: Mapping[str, str] = {"fp32": "float32", "fp16": "float16", "int8": "uint8"}
"""Precision to how kernels are stored. Biases stay float32: they are a hundredth of the weights."""

ITEM_BYTES: Mapping[str, int] = {"float32": 4, "int32": 4, "float16": 2, "uint8": 1}


@dataclass(frozen=True)
class Weight:
    """One entry of the manifest.

    Attributes:
        name: of the constant.
        shape: its sizes.
        stored: how the shards hold it: float32, int32, float16 or uint8.
    """

    name: str
    shape: tuple[int, ...]
    stored: str

    @property
    def size_bytes(self) -> int:
        """In the shards."""
        return math.prod(self.shape) * ITEM_BYTES[self.stored]


def write_model(folder: Path, graph: Graph, stored: Mapping[str, str], metadata: ArtifactMetadata) -> None:
    """Write `model.json` and the shards, the hashes of all files that are in the folder by then among the metadata.

    Args:
        folder: an existing one.
        graph: in the order of execution.
        stored: how to store some constants, float16 or uint8; the others keep their own type.
        metadata: goes inside.
    """
    order = [node.name for node in graph.nodes if node.name in graph.values]
    entries, parts = [], []
    for name in order:
        entry, data = _entry(name, graph.values[name], stored.get(name, ""))
        entries.append(entry)
        parts.append(data)
    paths = _write_shards(folder, b"".join(parts))
    content = {
        "format": FORMAT,
        "generatedBy": metadata.producer,
        "convertedBy": None,
        "signature": {
            side: {spec.name: _tensor_info(spec) for spec in specs}
            for side, specs in (("inputs", metadata.inputs), ("outputs", metadata.outputs))
        },
        "userDefinedMetadata": {METADATA_KEY: metadata.to_json(), HASHES_KEY: _hashes(folder)},
        "modelTopology": {
            "node": [
                {"name": node.name, "op": node.op, "input": list(node.inputs), "attr": node.attrs}
                for node in graph.nodes
            ],
            "library": {},
            "versions": {},
        },
        "weightsManifest": [{"paths": paths, "weights": entries}],
    }
    (folder / MODEL_FILE).write_bytes((json.dumps(content, ensure_ascii=False, sort_keys=True) + "\n").encode())


def _entry(name: str, value: Array, stored: str) -> tuple[dict[str, Any], bytes]:
    entry: dict[str, Any] = {"name": name, "shape": list(value.shape), "dtype": value.dtype.name}
    if stored == "float16":
        entry["quantization"] = {"dtype": stored, "original_dtype": entry["dtype"]}
        value = value.astype("<f2")
    elif stored == "uint8":
        numbers = {"scale": UINT8_STEP, "min": UINT8_MIN}
        entry["quantization"] = {"dtype": stored, "original_dtype": entry["dtype"], **numbers}
        value = np.rint((value.astype(np.float64) - UINT8_MIN) / UINT8_STEP).astype(np.uint8)
    return entry, np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()


def _write_shards(folder: Path, data: bytes) -> list[str]:
    count = max(math.ceil(len(data) / SHARD_BYTES), 1)
    names = [f"group1-shard{index + 1}of{count}.bin" for index in range(count)]
    for index, name in enumerate(names):
        (folder / name).write_bytes(data[index * SHARD_BYTES : (index + 1) * SHARD_BYTES])
    return names


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    """Of a contract's tensor as the graph has it: channels last."""
    batch, channels, height, width = spec.shape
    sizes = [{"size": str(size)} for size in (batch, height, width, channels)]
    return {"name": f"{spec.name}:0", "dtype": "DT_FLOAT", "tensorShape": {"dim": sizes}}


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MODEL_FILE
    }


def looks_like_graph_model(path: Path) -> bool:
    """A folder with a `model.json` that starts as one of this format: of one that is cut off `read_model` says so."""
    try:
        with (path / MODEL_FILE).open("rb") as file:
            return bool(_HEAD.match(file.read(HEAD_BYTES)))
    except OSError:
        return False


def read_model(folder: Path) -> dict[str, Any]:
    """The content of `model.json`.

    Raises:
        ArtifactError: it is absent, damaged, or of another format.
    """
    file = folder / MODEL_FILE
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{file}: damaged or cut off: {error}", hint="export it again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ArtifactError(f"{file}: no {FORMAT}", hint="export it again")
    return content


def read_metadata(folder: Path) -> ArtifactMetadata:
    """Our metadata.

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    about = read_model(folder).get("userDefinedMetadata")
    text = about.get(METADATA_KEY) if isinstance(about, dict) else None
    if not isinstance(text, str):
        raise ArtifactError(
            f"{folder}: a graph model without edgeseg metadata: nothing in it says what its tensors are",
            hint="export it with edgeseg",
        )
    return ArtifactMetadata.from_json(text, str(folder))


def check_files(folder: Path) -> None:
    """Whether the folder holds what was written there.

    Raises:
        ArtifactError: a file is absent or another one, or the shards do not fit the manifest.
    """
    content = read_model(folder)
    hashes = content.get("userDefinedMetadata", {}).get(HASHES_KEY, {})
    weights, paths = manifest_of(folder)
    for name in sorted({*hashes, *paths}):
        try:
            found = sha256_of(folder / name)
        except OSError as error:
            raise ArtifactError(f"{folder}: {name} is not readable: {error}", hint="export it again") from error
        if found != hashes.get(name):
            raise ArtifactError(f"{folder}: {name} is not the one that was written here", hint="export it again")
    wanted, size = sum(weight.size_bytes for weight in weights), sum((folder / path).stat().st_size for path in paths)
    if wanted != size:
        raise ArtifactError(f"{folder}: the shards have {size} bytes, expected {wanted}", hint="export it again")


def manifest_of(folder: Path) -> tuple[list[Weight], list[str]]:
    """The weights, and the names of the shards.

    Raises:
        ArtifactError: the manifest is damaged.
    """
    try:
        groups = read_model(folder)["weightsManifest"]
        weights = [
            Weight(
                str(entry["name"]),
                tuple(int(size) for size in entry["shape"]),
                str(entry.get("quantization", entry)["dtype"]),
            )
            for group in groups
            for entry in group["weights"]
        ]
        paths = [str(path) for group in groups for path in group["paths"]]
        unknown = {weight.stored for weight in weights} - ITEM_BYTES.keys()
        if unknown or any(Path(path).name != path for path in paths):
            raise ValueError(f"types {sorted(unknown)}, shards {paths}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(
            f"{folder}: the weights' manifest is not readable: {error!r}", hint="export it again"
        ) from error
    return weights, paths


def read_weights(folder: Path) -> dict[str, Array]:
    """Name of each weight to its value, as TensorFlow.js computes it from what is stored.

    Raises:
        ArtifactError: the files are not those that were written.
    """
    check_files(folder)
    _, paths = manifest_of(folder)
    data = b"".join((folder / path).read_bytes() for path in paths)
    values, start = {}, 0
    for entry in (entry for group in read_model(folder)["weightsManifest"] for entry in group["weights"]):
        kind = entry.get("quantization", entry)
        stored = np.dtype(kind["dtype"]).newbyteorder("<")
        count = math.prod(entry["shape"])
        array: Array = np.frombuffer(data, stored, count, start).reshape(entry["shape"])
        start += array.nbytes
        if "scale" in kind:
            array = array.astype(np.float64) * kind["scale"] + kind["min"]
        values[entry["name"]] = array.astype(entry["dtype"])
    return values
