"""Write a bundle: an artifact, golden vectors of its reference, and a manifest with the hash of each file."""

from __future__ import annotations

import itertools
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TypedDict

from edgeseg import __version__
from edgeseg.bundle.archive import write_tar
from edgeseg.bundle.licenses import license_note
from edgeseg.bundle.manifest import (
    ARTIFACT_FOLDER,
    CALIBRATION_FOLDER,
    CARD,
    GOLDEN_FOLDER,
    LICENSES,
    BundleManifest,
    Member,
    listing_problem,
)
from edgeseg.bundle.portable import open_portable
from edgeseg.data.letterbox import letterbox
from edgeseg.errors import UsageError
from edgeseg.export import artifact_sha256, sidecar_bytes, sidecar_path
from edgeseg.files import sha256_of, write_atomically
from edgeseg.gates import Gates
from edgeseg.metadata import ArtifactMetadata
from edgeseg.photos import shipped_photos
from edgeseg.predict import Model, is_weights, load
from edgeseg.recording.record import record
from edgeseg.sources import BrokenFrame, Frame, open_sources
from edgeseg.target import Artifact
from edgeseg.writers import encode_picture

logger = logging.getLogger(__name__)

GOLDEN_PICTURES = 8
"""Enough instances for the median of a mask IoU; at 640 px they take about 2.7 MB each."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class BundleRequest:
    """What to pack.

    Attributes:
        artifact: an exported file or folder, or the graph that a device has yet to compile.
        reference: the weights that it was exported from.
        pictures: sources as `predict` takes them, of which the first eight are recorded; empty for the shipped photos.
        output: the tar.
        target_id: id of the target in its card; empty for format and precision.
        gates: limits to judge on the device, over the precision's defaults.
        card: the card's bytes; empty where there is none.
        calibration: pictures that the target's `finish` needs, as `predict` takes them.
    """

    artifact: Path
    reference: Path
    pictures: tuple[Path | str, ...]
    output: Path
    target_id: str = ""
    gates: Gates = field(default_factory=Gates)
    card: bytes = b""
    calibration: tuple[Path | str, ...] = ()


class BundleFacts(TypedDict):
    """What was written, ready for JSON: the bundle's hash and size in 10^6 bytes, how many pictures were recorded and
    how many instances the reference finds in them."""

    sha256: str
    megabytes: float
    pictures: int
    instances: int
    target: str
    artifact_sha256: str
    weights_sha256: str


def write_bundle(request: BundleRequest, progress: Progress = lambda _: None) -> BundleFacts:
    """Write a bundle, whole or not at all.

    Args:
        request: what to pack.
        progress: called with each picture's name.

    Raises:
        UsageError: what is given does not belong together, no picture is readable, nothing is found in any, or the
            result would be one that `unpack` refuses.
        ArtifactError: the artifact cannot be read.
        EnvironmentMissingError: PyTorch is not here.
        OutputError: the bundle cannot be written.
    """
    if is_weights(request.artifact):
        raise UsageError(f"{request.artifact}: weights, expected an artifact", hint="export it first: edgeseg export")
    artifact = open_portable(request.artifact)
    pictures = request.pictures or tuple(shipped_photos())
    with tempfile.TemporaryDirectory(prefix="edgeseg-bundle-") as name, closing(load(request.reference)) as reference:
        folder = Path(name)
        _check_reference(artifact.metadata, reference)
        frames = itertools.islice(_readable(pictures), GOLDEN_PICTURES)
        instances = record(reference, frames, folder / GOLDEN_FOLDER, artifact.metadata.image_size, progress)
        _write_calibration(request.calibration, artifact.metadata, folder / CALIBRATION_FOLDER)
        note = license_note(artifact.metadata.license, pictures, request.calibration)
        write_atomically(folder / LICENSES, note.encode())
        if request.card:
            write_atomically(folder / CARD, request.card)
        files = {**_below(folder), **_artifact_files(artifact, folder / "sidecar.json")}
        manifest = _manifest(request, artifact, files)
        write_tar(request.output, manifest, files)
    recorded = sum(member.startswith(f"{GOLDEN_FOLDER}/") and member.endswith(".png") for member in files)
    return BundleFacts(
        sha256=sha256_of(request.output),
        megabytes=round(request.output.stat().st_size / 1e6, 3),
        pictures=recorded,
        instances=instances,
        target=manifest.target,
        artifact_sha256=manifest.artifact_sha256,
        weights_sha256=manifest.weights_sha256,
    )


def _check_reference(metadata: ArtifactMetadata, reference: Model) -> None:
    if metadata.names != reference.names:
        raise UsageError(
            f"{reference.path}: other classes than the artifact's ({len(reference.names)} and {metadata.num_classes})",
            hint="--against names the weights that it was exported from",
        )
    found = reference.metadata.weights_sha256
    if metadata.weights_sha256 and found != metadata.weights_sha256:
        logger.warning("%s: not the file that the artifact was exported from; its golden vectors count", reference.path)


def _readable(sources: tuple[Path | str, ...]) -> Iterator[Frame]:
    with closing(iter(open_sources([str(source) for source in sources]))) as frames:
        for frame in frames:
            if isinstance(frame, BrokenFrame):
                logger.warning("%s: left out of the bundle: %s", frame.source, frame.error)
            else:
                yield frame


def _write_calibration(sources: tuple[Path | str, ...], metadata: ArtifactMetadata, folder: Path) -> None:
    """Calibration pictures, letterboxed as the artifact's input is, as PNGs."""
    frames: Iterable[Frame] = _readable(sources) if sources else ()
    for index, frame in enumerate(frames):
        boxed, _ = letterbox(frame.picture, metadata.image_size, metadata.preprocessing.pad_value)
        write_atomically(folder / f"{index:05d}.png", encode_picture(boxed, ".png"))


def _below(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def _artifact_files(artifact: Artifact, sidecar: Path) -> dict[str, Path]:
    """Member name to file of an artifact and of its sidecar; one that is missing is written to `sidecar`."""
    path = artifact.path
    inside = f"{ARTIFACT_FOLDER}/{path.name}"
    files = {f"{inside}/{name}": file for name, file in _below(path).items()} if path.is_dir() else {inside: path}
    beside = sidecar_path(path)
    if not beside.is_file():
        write_atomically(sidecar, sidecar_bytes(artifact))
    where = inside if path.is_dir() else ARTIFACT_FOLDER
    return {**files, f"{where}/{beside.name}": beside if beside.is_file() else sidecar}


def _manifest(request: BundleRequest, artifact: Artifact, files: dict[str, Path]) -> BundleManifest:
    members = {name: Member(sha256=sha256_of(files[name]), bytes=files[name].stat().st_size) for name in sorted(files)}
    problem = listing_problem(members)
    if problem:
        raise UsageError(f"{request.artifact}: cannot be bundled: {problem}", hint="rename it, or leave something out")
    metadata = artifact.metadata
    return BundleManifest(
        target=request.target_id or f"{metadata.format}-{metadata.precision}",
        format=metadata.format,
        precision=metadata.precision,
        artifact=f"{ARTIFACT_FOLDER}/{request.artifact.name}",
        artifact_sha256=artifact_sha256(request.artifact),
        weights_sha256=sha256_of(request.reference),
        members=members,
        gates=request.gates,
        edgeseg=__version__,
        created=_now(),
    )


def _now() -> str:
    """UTC in ISO 8601; a reproducible build sets it (https://reproducible-builds.org/specs/source-date-epoch)."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = datetime.fromtimestamp(int(fixed), timezone.utc) if fixed.isdecimal() else datetime.now(timezone.utc)
    return moment.isoformat(timespec="seconds")
