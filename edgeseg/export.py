"""One model to one format: check what was asked, export, write the sidecar."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from edgeseg import registry
from edgeseg.data.calibration import DEFAULT_PICTURES, DEFAULT_SEED, require_pictures
from edgeseg.data.pictures import drawn, pictures_of
from edgeseg.errors import UsageError
from edgeseg.files import make_folder, sha256_of, sha256_of_folder, write_atomically
from edgeseg.metadata import ArtifactMetadata
from edgeseg.model.config import check_image_size
from edgeseg.predict import is_weights
from edgeseg.target import Artifact, ExportRequest, Target

logger = logging.getLogger(__name__)


def export(  # noqa: PLR0913 - what a user may ask of an export
    weights: Path,
    format: str,
    *,
    output_dir: Path,
    precision: str | None = None,
    image_size: tuple[int, int] | None = None,
    name: str | None = None,
    calibration: Path | None = None,
    **options: Any,
) -> Artifact:
    """Export weights to ``output_dir/<name>-<format>-<precision><suffix>`` with its `edgeseg.json` beside it.

    Args:
        weights: safetensors, or a foreign checkpoint.
        format: a registered target's name.
        output_dir: made where it does not exist.
        precision: one of the target's; None takes its first.
        image_size: (height, width) in pixels; None takes what the weights were trained at.
        name: of the file; None takes the weights' file name.
        calibration: a data set or a folder of pictures, of which `DEFAULT_PICTURES` set the ranges of quantised
            tensors; for precisions that need them.
        **options: of the target.

    Raises:
        UsageError: precision, size or option that the target does not have; `weights` is no weights file.
        EnvironmentMissingError: the target's SDK is not installed here.
    """
    from edgeseg.model.weights import load_weights

    target = registry.load(format)
    if not is_weights(weights):
        raise UsageError(
            f"{weights}: only weights can be exported, this is none", hint="give the .safetensors or the checkpoint"
        )
    chosen = checked_precision(target, precision)
    parsed = registry.parse_options(target.options_type, options, f"option of {target.name}")
    # What is wrong with the request is said before what is missing here.
    registry.load_usable(format)
    size = check_image_size(image_size or load_weights(weights).metadata.image_size)
    if name is not None and Path(name).name != name:
        raise UsageError(f"name {name!r}: expected a file name without folders", hint="--output DIR names the folder")
    stem = f"{name or weights.stem}-{target.name}-{chosen}"
    pictures = _calibration(target, chosen, calibration)
    make_folder(output_dir)
    artifact = target.export(
        ExportRequest(weights, output_dir, stem, chosen, size, parsed, calibration=tuple(pictures))
    )
    write_sidecar(artifact)
    return artifact


def checked_precision(target: Target, precision: str | None) -> str:
    """The precision to use; what the target lacks is refused, never replaced."""
    supported = target.capabilities.precisions
    if precision is not None and precision not in supported:
        raise UsageError(f"{target.name} has no precision {precision!r}", hint="supported: " + ", ".join(supported))
    return precision or supported[0]


def _calibration(target: Target, precision: str, source: Path | None) -> list[Path]:
    """The pictures to set ranges on; what does not need them is not given any."""
    if precision not in target.capabilities.calibrated:
        if source is not None:
            raise UsageError(
                f"{target.name} {precision} needs no calibration pictures", hint="leave them out, or choose another"
            )
        return []
    pictures = drawn(pictures_of(source), DEFAULT_PICTURES, DEFAULT_SEED) if source is not None else []
    require_pictures(pictures, f"{target.name} {precision}")
    return pictures


def sidecar_path(artifact: Path) -> Path:
    """`edgeseg.json` inside an artifact folder, ``<stem>.edgeseg.json`` beside an artifact file."""
    return artifact / "edgeseg.json" if artifact.is_dir() else artifact.with_name(f"{artifact.stem}.edgeseg.json")


def artifact_sha256(artifact: Path) -> str:
    """Hex sha256 of a file, or of a folder without its sidecar: a later verification writes into that."""
    return sha256_of_folder(artifact, [sidecar_path(artifact)]) if artifact.is_dir() else sha256_of(artifact)


def write_sidecar(artifact: Artifact) -> None:
    """Write `sidecar_bytes` beside the artifact."""
    write_atomically(sidecar_path(artifact.path), sidecar_bytes(artifact))


def sidecar_bytes(artifact: Artifact) -> bytes:
    """What the artifact says about itself, and its hash; a build adds the parity that it finds."""
    content = {**json.loads(artifact.metadata.to_json()), "sha256": artifact_sha256(artifact.path), "parity": None}
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def find_reference(artifact: Path, metadata: ArtifactMetadata) -> Path:
    """The weights that an artifact was exported from, found by hash in its folder and the two above.

    Raises:
        UsageError: there are none.
    """
    folders = [artifact.parent, *list(artifact.resolve().parents)[1:3]]
    for folder in folders:
        for path in sorted(folder.glob("*.safetensors")):
            if sha256_of(path) == metadata.weights_sha256:
                return path
    raise UsageError(
        f"{artifact}: the weights it was exported from (sha256 {metadata.weights_sha256[:12] or 'unknown'}...) "
        "are not beside it",
        hint="name them: --against WEIGHTS",
    )
