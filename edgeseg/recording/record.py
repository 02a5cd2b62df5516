"""Run the reference on some pictures, and keep what it gave."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.letterbox import letterbox
from edgeseg.errors import UsageError
from edgeseg.files import make_folder, write_atomically
from edgeseg.predict import Model
from edgeseg.recording.compact import write_compact
from edgeseg.recording.contract import LiveReference, thresholds
from edgeseg.recording.description import FILE_NAME, SCHEMA, rows_of
from edgeseg.sources import Frame
from edgeseg.writers import encode_picture, file_name

SCORE, IOU = 0.25, 0.7
"""Thresholds of the recorded instances: those that `verify` compares at by default."""


def record(
    model: Model,
    frames: Iterable[Frame],
    folder: Path,
    image_size: tuple[int, int],
    progress: Callable[[str], None] = lambda _: None,
) -> int:
    """Record the reference on pictures: each letterboxed as a PNG, its outputs beside it, instances in one JSON.

    Args:
        model: the reference, of the raw layout.
        frames: pictures of any size. Two that are the same once letterboxed are recorded once.
        folder: where to; made where it is missing.
        image_size: (height, width) of the letterbox in pixels: what the artifact takes.
        progress: called with each picture's name.

    Returns:
        How many instances were found in all pictures.

    Raises:
        UsageError: no picture, or nothing found in any of them.
        ContractError: the reference gives values that are not finite.
    """
    make_folder(folder)
    reference, options = LiveReference(model), thresholds(SCORE, IOU)
    pictures: dict[str, dict[str, object]] = {}
    instances = 0
    for frame in frames:
        progress(frame.source)
        boxed, _ = letterbox(frame.picture, image_size, model.metadata.preprocessing.pad_value)
        digest = picture_sha256(boxed)
        if digest in pictures:
            continue
        # The letterboxed picture is the picture from here on: in a letterbox of its own size it stays as it is.
        _, place = letterbox(boxed, image_size)
        outputs = reference.outputs(boxed)
        found = reference.instances(boxed, outputs, place, options)
        stem = f"{len(pictures):03d}"
        write_atomically(folder / f"{stem}.png", encode_picture(boxed, ".png"))
        write_compact(outputs.raw, folder / f"{stem}.npz")
        pictures[digest] = {
            "stem": stem,
            "source": file_name(frame.source),
            "sha256": digest,
            "instances": rows_of(found),
        }
        instances += int((found.scores > SCORE).sum())
    if not instances:
        raise UsageError(
            f"the reference finds nothing in {len(pictures)} pictures at score {SCORE}: nothing to verify masks on",
            hint="--pictures names pictures that show the classes of these weights",
        )
    content = {
        "schema": SCHEMA,
        "weights": model.path.name,
        "metadata": model.metadata.to_json(),
        "execution": dict(model.runner.execution),
        "image_size": list(image_size),
        "score": SCORE,
        "iou": IOU,
        "pictures": list(pictures.values()),
    }
    write_atomically(folder / FILE_NAME, (json.dumps(content, indent=1) + "\n").encode())
    return instances


def picture_sha256(picture: NDArray[np.uint8]) -> str:
    """Hex sha256 of a picture's bytes, (H, W, 3) uint8."""
    return hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()
