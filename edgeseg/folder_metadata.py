"""`metadata.json` in an artifact that is a folder: what it says about itself, and the hashes of its files.

A damaged weight is a weight like any other to most runtimes: the hashes tell.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeseg.errors import ArtifactError
from edgeseg.files import sha256_of
from edgeseg.metadata import METADATA_KEY, ArtifactMetadata

METADATA_FILE = "metadata.json"

HASHES_KEY = "sha256"
"""Beside the metadata: file name to hash."""


def metadata_text(metadata: ArtifactMetadata, folder: Path, names: Sequence[str]) -> str:
    """The content of the file for a folder whose other files, `names`, are written."""
    hashes = {name: sha256_of(folder / name) for name in names}
    content = {METADATA_KEY: json.loads(metadata.to_json()), HASHES_KEY: hashes}
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def read_folder_metadata(file: Path) -> ArtifactMetadata:
    """The metadata in such a file.

    Raises:
        ArtifactError: it is not readable, or holds none.
    """
    return ArtifactMetadata.from_json(json.dumps(_content(file).get(METADATA_KEY)), str(file.parent))


def check_hashes(file: Path, folder: Path, names: Sequence[str]) -> None:
    """See that files are those whose hashes are in `file`.

    Args:
        file: written with `metadata_text`.
        folder: that has the files.
        names: of all of them.

    Raises:
        ArtifactError: one is absent, or another one than was written.
    """
    hashes = _content(file).get(HASHES_KEY, {})
    for name in names:
        try:
            found = sha256_of(folder / name)
        except OSError as error:
            raise ArtifactError(f"{folder}: {name} is not readable: {error}", hint="export it again") from error
        if hashes.get(name) != found:
            raise ArtifactError(f"{folder}: {name} is not the one that was written here", hint="export it again")


def _content(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{file}: is not readable: {error}", hint="export it again") from error
    if not isinstance(content, dict) or not isinstance(content.get(HASHES_KEY, {}), dict):
        raise ArtifactError(f"{file}: holds no metadata", hint="export it again")
    return content
