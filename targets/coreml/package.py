"""The `.mlpackage` folder: a manifest, the model's protobuf and one file of weights.

The layout is what coremltools 9.0 writes. Its manifest has random identifiers; here they are made from the content
of the two files, so that the same network gives the same bytes, and a damaged package is found out before it runs.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.errors import ArtifactError
from edgeseg.files import replacing_folder
from edgeseg.metadata import METADATA_KEY, ArtifactMetadata

from .sdk import import_coremltools, quiet

MANIFEST = "Manifest.json"
AUTHOR = "com.apple.CoreML"
MODEL = f"{AUTHOR}/model.mlmodel"
WEIGHTS = f"{AUTHOR}/weights"
WEIGHTS_FILE = "weight.bin"
AGAIN = "export it again"

MOST_PLAIN = 2048
"""Weights of at most so many elements stay plain: coremltools' own threshold, below which scales and palettes cost what
they save."""


@dataclass(frozen=True)
class Package:
    """The content of a package.

    Attributes:
        model: the serialised protobuf `Model`.
        weights: the blob file that the program's constants point into.
    """

    model: bytes
    weights: bytes

    def manifest(self) -> str:
        """Items by identifier; the identifiers are version 5 UUIDs of the bytes."""
        root = _identifier(self.model)
        items = {
            root: _item("CoreML Model Specification", "model.mlmodel", MODEL),
            _identifier(self.weights): _item("CoreML Model Weights", "weights", WEIGHTS),
        }
        content = {"fileFormatVersion": "1.0.0", "itemInfoEntries": items, "rootModelIdentifier": root}
        return json.dumps(content, indent=4, sort_keys=True) + "\n"

    def write(self, path: Path) -> None:
        """Whole or not at all.

        Raises:
            OutputError: `path` cannot be written, or is something else.
        """
        with replacing_folder(path, MANIFEST) as folder:
            weights = folder / "Data" / WEIGHTS / WEIGHTS_FILE
            weights.parent.mkdir(parents=True)
            weights.write_bytes(self.weights)
            (folder / "Data" / MODEL).write_bytes(self.model)
            (folder / MANIFEST).write_text(self.manifest())


def looks_like_package(path: Path) -> bool:
    """A folder whose manifest names a model by Core ML, which is there."""
    try:
        content = json.loads((path / MANIFEST).read_text())
        entry = content["itemInfoEntries"][content["rootModelIdentifier"]]
        return bool(entry["author"] == AUTHOR and (path / "Data" / entry["path"]).is_file())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_package(path: Path) -> Package:
    """The files of a package that edgeseg wrote.

    Raises:
        ArtifactError: a file is absent, or not as it was exported.
    """
    try:
        package = Package((path / "Data" / MODEL).read_bytes(), (path / "Data" / WEIGHTS / WEIGHTS_FILE).read_bytes())
        found = (path / MANIFEST).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path}: no readable Core ML package: {error}", hint=AGAIN) from error
    if found != package.manifest():
        raise ArtifactError(
            f"{path}: its files are not those that were exported: the manifest does not fit their content", hint=AGAIN
        )
    return package


def parsed(model: bytes, path: Path) -> Any:
    """The protobuf `Model` of Core ML.

    Raises:
        ArtifactError: the bytes are none, or it is no ML program.
    """
    import_coremltools(f"reading {path.name}")
    from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError

    spec = Model_pb2.Model()
    try:
        spec.ParseFromString(model)
    except DecodeError as error:
        raise ArtifactError(f"{path}: its model cannot be read: {error}", hint=AGAIN) from error
    if spec.WhichOneof("Type") != "mlProgram":
        raise ArtifactError(
            f"{path}: holds a {spec.WhichOneof('Type') or 'nothing'}, expected an ML program",
            hint="export it with edgeseg",
        )
    return spec


def read_metadata(path: Path) -> ArtifactMetadata:
    """What the package says about itself.

    Raises:
        ArtifactError: it is damaged, or another exporter's, whose outputs have no known names.
    """
    try:
        model = (path / "Data" / MODEL).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: no readable Core ML package: {error}", hint=AGAIN) from error
    keys = parsed(model, path).description.metadata.userDefined
    if METADATA_KEY not in keys:
        raise ArtifactError(
            f"{path}: a Core ML package without edgeseg metadata: its outputs' names and meaning are not known",
            hint="export it with edgeseg",
        )
    return ArtifactMetadata.from_json(keys[METADATA_KEY], str(path))


def load_program(path: Path) -> Any:
    """The saved ML program as coremltools' `Program`, weights read, types inferred.

    Raises:
        ArtifactError: it is damaged, or coremltools does not know an operation of it.
    """
    spec = parsed(read_package(path).model, path)
    from coremltools.converters.mil.frontend.milproto import load

    try:
        with quiet():
            return load.load(spec, spec.specificationVersion, str(path / "Data" / WEIGHTS))
    except Exception as error:
        raise ArtifactError(f"{path}: coremltools cannot load its program: {error}", hint=AGAIN) from error


def _identifier(content: bytes) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(content).hexdigest())).upper()


def _item(description: str, name: str, path: str) -> dict[str, str]:
    return {"author": AUTHOR, "description": description, "name": name, "path": path}
