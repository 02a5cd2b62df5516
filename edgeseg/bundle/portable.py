"""An artifact with its sidecar: what a bundle carries and finds again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeseg import registry
from edgeseg.errors import ArtifactError
from edgeseg.export import artifact_sha256, sidecar_path
from edgeseg.metadata import ArtifactMetadata
from edgeseg.target import Artifact

_OF_THE_FILE = ("sha256", "parity")
"""What a sidecar holds besides the metadata."""


def open_portable(path: Path) -> Artifact:
    """An artifact and what it says about itself: its sidecar's word, else that of the file.

    The sidecar comes first, since reading the file may take the runtime, and a graph that a device has yet to compile
    is of another format than the one it says it will be.

    Raises:
        ArtifactError: no artifact, or the sidecar is of another one.
        EnvironmentMissingError: there is no sidecar, and no runtime that reads the file.
    """
    sidecar = sidecar_path(path)
    if not path.exists():
        raise ArtifactError(f"{path}: no such file or folder")
    if not sidecar.is_file():
        return Artifact(path, registry.recognize(path).read_metadata(path))
    content = _content(sidecar)
    found = artifact_sha256(path)
    if content["sha256"] != found:
        raise ArtifactError(
            f"{sidecar}: is of an artifact of sha256 {str(content['sha256'])[:12]}..., {path.name} has {found[:12]}...",
            hint="the artifact was changed after its export: export it again, or remove the file beside it",
        )
    rest = {key: value for key, value in content.items() if key not in _OF_THE_FILE}
    return Artifact(path, ArtifactMetadata.from_json(json.dumps(rest), str(sidecar)))


def _content(sidecar: Path) -> dict[str, Any]:
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or "sha256" not in content:
            raise ValueError("no object with a sha256")
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{sidecar}: is not readable: {error}", hint="export the artifact again") from error
    return content
