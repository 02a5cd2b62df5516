"""Content that moves by hash: what a request reads, what the driver has put, what a node has kept.

On a node a file of the driver lies below a folder of the stage's own, under its whole path: whatever lies beside it on
the driver lies beside it there, and a node's path without that folder is the driver's again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edgeseg.build.file_hashes import remembered_sha256
from edgeseg.build.stage import StageRequest
from edgeseg.data.open import open_dataset
from edgeseg.data.yolo_yaml import label_path, read_yaml
from edgeseg.errors import SourceError
from edgeseg.export import sidecar_path
from edgeseg.files import make_folder, sha256_of, write_atomically

BLOBS = "blobs"
"""Folder of a node's store, in its cache folder."""


@dataclass(frozen=True)
class Packed:
    """A file that a request reads.

    Attributes:
        path: absolute, on the driver.
        sha256: of its bytes.
        data: the bytes where they are not those of the file at `path`.
    """

    path: str
    sha256: str
    data: bytes | None = None

    def read(self) -> bytes:
        """The bytes.

        Raises:
            SourceError: the file changed after it was hashed, or is gone.
        """
        if self.data is not None:
            return self.data
        try:
            data = Path(self.path).read_bytes()
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise SourceError(f"{self.path}: changed while it was being built from", hint="build again")
        return data


class Contents:
    """What this driver has put into the cluster: each content once, however many stages read it.

    Args:
        put: gives bytes to the cluster; returns what names them there.
    """

    def __init__(self, put: Callable[[bytes], Any]) -> None:
        self._put, self._known, self._lock = put, dict[str, Any](), threading.Lock()

    def reference(self, file: Packed) -> Any:
        """What names a file's content in the cluster."""
        with self._lock:
            if file.sha256 not in self._known:
                self._known[file.sha256] = self._put(file.read())
            return self._known[file.sha256]


class BlobStore:
    """A node's own files by hash; it outlives builds.

    Args:
        folder: with one file for each content, named by its sha256.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = make_folder(folder)

    def place(self, sha256: str, path: Path, fetch: Callable[[], bytes]) -> int:
        """Lay a content at a path.

        Args:
            sha256: of the content.
            path: where it goes.
            fetch: gets the bytes from elsewhere.

        Returns:
            How many bytes were fetched; 0 where the store has them, whole.

        Raises:
            SourceError: what arrived is another content.
        """
        blob, fetched = self._folder / sha256, 0
        if not blob.is_file() or sha256_of(blob) != sha256:
            data = fetch()
            if hashlib.sha256(data).hexdigest() != sha256:
                raise SourceError(
                    f"{path.name}: arrived with another content than it was sent with", hint="build again"
                )
            write_atomically(blob, data)
            fetched = len(data)
        # So that what is in use is not taken for old.
        os.utime(blob)
        _linked(blob, path)
        return fetched

    def keep(self, sha256: str, data: bytes) -> None:
        """Keep what a stage wrote; the next stage on this node reads it."""
        blob = self._folder / sha256
        if not blob.exists():
            write_atomically(blob, data)


def files_of(request: StageRequest) -> list[Packed]:
    """All files that a request reads, each once.

    Raises:
        SourceError, UsageError: its data set cannot be read.
    """
    inputs = [file for path in request.inputs.values() for file in _input_files(path)]
    found = [Packed(str(path), sha256_of(path)) for path in inputs]
    places = dict(request.places)
    if annotations := places.pop("annotations", ""):
        found += _dataset_files(Path(annotations), places.pop("images", ""))
    listed = [Path(text) for text in _texts(places) if Path(text).is_file()]
    found += [Packed(str(path), digest) for path, digest in zip(listed, remembered_sha256(listed), strict=True)]
    return list({file.path: file for file in found}.values())


def on_node(root: Path, path: str) -> str:
    """Where a driver's absolute path lies on a node."""
    return str(root.joinpath(*Path(path).parts[1:]))


def places_on_node(root: Path, places: Any) -> Any:
    """Places with every absolute path as it is on a node."""
    if isinstance(places, Mapping):
        return {key: places_on_node(root, value) for key, value in places.items()}
    if isinstance(places, list | tuple):
        return [places_on_node(root, value) for value in places]
    return on_node(root, places) if isinstance(places, str) and Path(places).is_absolute() else places


def _input_files(path: Path) -> list[Path]:
    """A file with its sidecar, or all files of a folder."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [file for file in (path, sidecar_path(path)) if file.is_file()]


def _texts(places: Any) -> Iterator[str]:
    if isinstance(places, str):
        yield places
    elif isinstance(places, Mapping | list | tuple):
        for value in places.values() if isinstance(places, Mapping) else places:
            yield from _texts(value)


def _dataset_files(annotations: Path, images: str) -> list[Packed]:
    """A validation set: its pictures, and the annotations as one finds them wherever the set lies."""
    dataset = open_dataset(annotations, images=Path(images) if images else None)
    files = [sample.path for sample in dataset]
    written: list[Packed] = []
    if dataset.kind == "coco":
        files.append(annotations)
    else:
        written = _relative_yaml(annotations, files)
        files += [label for picture in files if (label := Path(label_path(str(picture)))).is_file()]
    try:
        hashes = remembered_sha256(files)
    except OSError as error:
        raise SourceError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return written + [Packed(str(path), digest) for path, digest in zip(files, hashes, strict=True)]


def _relative_yaml(annotations: Path, pictures: list[Path]) -> list[Packed]:
    """A yaml and a list that say the same as the set's own, without absolute paths and with these pictures only."""
    source = read_yaml(annotations)
    folder = annotations.parent
    listed = annotations.with_name(f".{annotations.name}.txt")
    lines = "".join(f"{os.path.relpath(picture, folder)}\n" for picture in pictures)
    content = {
        "path": os.path.relpath(source.root, folder),
        "names": list(source.names),
        "val": os.path.relpath(listed, source.root),
    }
    texts = {annotations: yaml.safe_dump(content, allow_unicode=True), listed: lines}
    encoded = {path: text.encode("utf-8", "surrogateescape") for path, text in texts.items()}
    return [Packed(str(path), hashlib.sha256(data).hexdigest(), data) for path, data in encoded.items()]


def _linked(blob: Path, path: Path) -> None:
    make_folder(path.parent)
    with contextlib.suppress(OSError):
        os.link(blob, path)
        return
    # Another file system, or one without links.
    shutil.copyfile(blob, path)
