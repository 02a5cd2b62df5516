"""`recording.json`: what was recorded, of which pictures, and the instances that the reference found in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeseg import rle
from edgeseg.errors import ArtifactError, ContractError
from edgeseg.instances import CroppedMask, Instances

FILE_NAME = "recording.json"
SCHEMA = 1
MAX_BYTES = 64 * 2**20
"""Of the file: a mask takes about a kilobyte."""


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class RecordedMask(_Content):
    """A mask in COCO's compressed run lengths; `size` is (height, width) in pixels."""

    size: tuple[int, int]
    counts: str


class RecordedInstance(_Content):
    """One instance: box in letterbox pixels, score 0..1, mask."""

    class_id: int
    score: float
    xyxy: tuple[float, float, float, float]
    mask: RecordedMask


class RecordedPicture(_Content):
    """One letterboxed picture.

    Attributes:
        stem: of its two files, ``STEM.png`` and ``STEM.npz``.
        source: what the picture was called, without folders.
        sha256: of its (H, W, 3) uint8 RGB bytes.
        instances: best first.
    """

    stem: str = Field(pattern=r"^[0-9]{1,6}$")
    source: str
    sha256: str
    instances: tuple[RecordedInstance, ...]


class Description(_Content):
    """The whole file.

    Attributes:
        weights: name of the weights file.
        metadata: of the reference, as `ArtifactMetadata.to_json` gives it.
        execution: how it ran.
        image_size: (height, width) of all pictures.
        score: score threshold that users see.
        iou: suppression threshold.
        pictures: in the order in which they were recorded.
    """

    schema_version: Literal[1] = Field(alias="schema")
    weights: str
    metadata: str
    execution: dict[str, str]
    image_size: tuple[int, int]
    score: float
    iou: float
    pictures: tuple[RecordedPicture, ...]


def read_description(path: Path) -> Description:
    """The description in a file.

    Raises:
        ArtifactError: it cannot be read, or is not of this form.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ArtifactError(f"{path}: {path.stat().st_size} bytes, expected at most {MAX_BYTES}")
        return Description.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ArtifactError(f"{path}: no recording: {where}: {first['msg']}", hint="make the bundle again") from error


def rows_of(found: Instances) -> list[dict[str, Any]]:
    """Instances with masks as the rows that `Description` holds; every float keeps all its digits."""
    return [
        {"class_id": row["category_id"], "score": row["score"], "xyxy": box, "mask": row["segmentation"]}
        for row, box in zip(found.to_coco(0), found.xyxy.tolist(), strict=True)
    ]


def instances_of(picture: RecordedPicture, names: tuple[str, ...], image_size: tuple[int, int]) -> Instances:
    """The instances of a picture, equal to those that were recorded.

    Raises:
        ArtifactError: the rows are no instances of these classes in a picture of this size.
    """
    try:
        masks = [CroppedMask(*_cropped(row.mask)) for row in picture.instances]
        return Instances(
            xyxy=np.array([row.xyxy for row in picture.instances], np.float32).reshape(-1, 4),
            scores=np.array([row.score for row in picture.instances], np.float32),
            class_ids=np.array([row.class_id for row in picture.instances], np.int64),
            masks=tuple(masks),
            names=names,
            image_size=image_size,
        )
    except (ContractError, OverflowError) as error:
        raise ArtifactError(f"{picture.stem}: no recorded instances: {error}", hint="make the bundle again") from error


def _cropped(mask: RecordedMask) -> tuple[rle.Bitmap, int, int]:
    bitmap, (top, left) = rle.decode_cropped(mask.model_dump())
    return bitmap, top, left
