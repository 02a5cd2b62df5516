"""`bundle.json`: what a bundle holds, with the hash of every member, and the limits of what is unpacked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeseg.errors import ArtifactError
from edgeseg.gates import Gates

MANIFEST = "bundle.json"
"""The first member of every bundle: nothing is unpacked before it was read."""

ARTIFACT_FOLDER, GOLDEN_FOLDER, CALIBRATION_FOLDER = "artifact", "golden", "calibration"
LICENSES, CARD = "LICENSES.txt", "card.yaml"

SCHEMA: Literal[1] = 1
KIND: Literal["edgeseg-bundle"] = "edgeseg-bundle"
MAX_MEMBERS = 10_000
"""More files than any format's artifact has: a folder of TensorFlow.js has one for every 4 MB."""

MAX_TOTAL_BYTES = 2 * 2**30
"""Of all members: fp32 weights of the largest scale take 0.3 GB."""

MAX_MANIFEST_BYTES = 8 * 2**20

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')
"""Not in a member's name: what some system reads as a separator, a drive or a device."""

SHA256 = r"^[0-9a-f]{64}$"


class Member(BaseModel):
    """One file of a bundle: hex sha256 and length in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sha256: str = Field(pattern=SHA256)
    bytes: int = Field(ge=0)


class BundleManifest(BaseModel):
    """What a bundle says about itself.

    Attributes:
        target: id of the target in its card; format and precision where there is no card.
        format: the target's name.
        precision: of the artifact.
        artifact: member name of the artifact, a file or a folder.
        artifact_sha256: as `edgeseg.export.artifact_sha256` gives it.
        weights_sha256: of the weights that the golden vectors come from.
        members: every file but this one, by name.
        gates: asked limits; those that are not asked take the precision's defaults.
        edgeseg: version that wrote it.
        created: when, UTC, ISO 8601.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    schema_version: Literal[1] = Field(SCHEMA, alias="schema")
    kind: Literal["edgeseg-bundle"] = KIND
    target: str
    format: str
    precision: str
    artifact: str
    artifact_sha256: str = Field(pattern=SHA256)
    weights_sha256: str = Field(pattern=SHA256)
    members: dict[str, Member]
    gates: Gates
    edgeseg: str
    created: str

    def to_json(self) -> bytes:
        """Sorted, indented JSON."""
        return (self.model_dump_json(indent=1, by_alias=True, exclude_none=True) + "\n").encode()


def read_manifest(data: bytes, where: str) -> BundleManifest:
    """The manifest in some bytes, its members' names and sizes checked.

    Args:
        data: the member's content.
        where: what to call the bundle in an error.

    Raises:
        ArtifactError: it is no manifest, or what it lists must not be unpacked.
    """
    try:
        manifest = BundleManifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(
            f"{where}: {MANIFEST} is not readable: {place}: {first['msg']}",
            hint="use the edgeseg that wrote it, or make the bundle again",
        ) from error
    problem = listing_problem(manifest.members)
    parts = PurePosixPath(manifest.artifact).parts
    if not problem and (len(parts) != 2 or parts[0] != ARTIFACT_FOLDER or name_problem(manifest.artifact)):
        problem = f"the artifact {manifest.artifact!r}, expected a name in {ARTIFACT_FOLDER}/"
    if problem:
        raise ArtifactError(f"{where}: {MANIFEST} lists {problem}", hint="do not use this bundle")
    return manifest


def listing_problem(members: Mapping[str, Member]) -> str:
    """Why these members must not be unpacked, in words; empty where they may be."""
    if len(members) > MAX_MEMBERS:
        return f"{len(members)} members, expected at most {MAX_MEMBERS}"
    total = sum(member.bytes for member in members.values())
    if total > MAX_TOTAL_BYTES:
        return f"{total} bytes in all, expected at most {MAX_TOTAL_BYTES}"
    wrong = (f"{name!r}: {problem}" for name in members if (problem := name_problem(name)))
    return next(wrong, "") or clash_problem([*members, MANIFEST])


def name_problem(name: str) -> str:
    """Why a file of this name must not be written, in words; empty where it may be."""
    if name.startswith("/") or PurePosixPath(name).is_absolute():
        return "an absolute path"
    if ".." in name.split("/"):
        return "a path that leads out of the bundle"
    if _FORBIDDEN.search(name):
        return "a name with a character that some system does not take"
    if not name or any(part in ("", ".") for part in name.split("/")):
        return "a name with an empty part"
    return ""


def clash_problem(names: Iterable[str]) -> str:
    """Two names that are one file on some disk, or one that is another's folder; empty where there are none."""
    seen: dict[str, str] = {}
    for name in names:
        # Some disks tell no upper case from lower case.
        folded = name.casefold()
        if folded in seen:
            return f"{name!r} and {seen[folded]!r}, which are one file on some disks"
        seen[folded] = name
    for folded, name in seen.items():
        above = next((str(parent) for parent in PurePosixPath(folded).parents if str(parent) in seen), "")
        if above:
            return f"{name!r} below {seen[above]!r}, which is a file"
    return ""
