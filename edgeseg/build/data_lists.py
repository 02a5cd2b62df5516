"""Which data a build reads, by content: annotations, and a list of pictures with the hash of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.build.file_hashes import list_sha256, remembered_sha256
from edgeseg.data.open import open_dataset
from edgeseg.errors import SourceError


@dataclass(frozen=True)
class DataList:
    """Pictures of one purpose.

    Attributes:
        name: ``val``, ``verify`` or ``calibration``.
        annotations: their file; None for bare pictures.
        images: folder of the pictures, where the card names one.
        annotations_sha256: of what the annotations say, as read; empty without any.
        file_sha256: of the annotations' file, empty without one.
        pictures: in the set's order.
        sha256s: one for each picture.
    """

    name: str
    annotations: Path | None
    images: Path | None
    annotations_sha256: str
    file_sha256: str
    pictures: tuple[Path, ...]
    sha256s: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Of all names and contents, in their order."""
        return list_sha256((path.name, sha256) for path, sha256 in zip(self.pictures, self.sha256s, strict=True))

    def key(self) -> dict[str, str]:
        """What a stage depends on."""
        return {"annotations": self.annotations_sha256, "pictures": self.sha256}

    def rows(self) -> list[list[str]]:
        """Path and hash of each picture, for the list that the build keeps."""
        return [[str(path), sha256] for path, sha256 in zip(self.pictures, self.sha256s, strict=True)]

    def summary(self) -> dict[str, Any]:
        """For `build.json`; `list` is where `rows` are written, below the build's folder."""
        return {
            "name": self.name,
            "annotations": str(self.annotations or ""),
            "sha256": self.file_sha256,
            "pictures": len(self.pictures),
            "list_sha256": self.sha256,
            "list": f"data/{self.name}.json",
        }


def data_list(
    name: str, pictures: Sequence[Path], annotations: Path | None = None, images: Path | None = None
) -> DataList:
    """Hash annotations and pictures.

    Raises:
        SourceError: a picture cannot be read.
    """
    try:
        hashes = remembered_sha256(pictures)
        is_file = annotations is not None and annotations.is_file()
        of_file = remembered_sha256([annotations])[0] if annotations is not None and is_file else ""
        # A yaml names label files: the index's hash covers what is in them.
        as_read = open_dataset(annotations, images=images).sha256 if annotations is not None and is_file else ""
    except OSError as error:
        raise SourceError(
            f"{error.filename}: cannot be read: {error.strerror}", hint="`edgeseg data check` lists all such pictures"
        ) from error
    return DataList(name, annotations, images, as_read, of_file, tuple(pictures), tuple(hashes))
