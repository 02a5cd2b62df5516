"""Outputs of any backend to `Instances`: decode, suppress, masks. One implementation for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgeseg.data.letterbox import Geometry
from edgeseg.errors import UsageError
from edgeseg.instances import CroppedMask, Instances
from edgeseg.metadata import Head
from edgeseg.postprocess.decode import Candidates, Selection, decode_decoded, decode_raw
from edgeseg.postprocess.masks import crop_masks
from edgeseg.postprocess.nms import nms
from edgeseg.quantised import Outputs, real

_DECODERS: Mapping[Head, Callable[[Outputs, int, Selection], Candidates]] = {
    "raw": decode_raw,
    "decoded": decode_decoded,
}

PROTOTYPES: Mapping[Head, str] = {"raw": "proto", "decoded": "output1"}
"""Name of the prototypes in each layout."""


@dataclass(frozen=True)
class PostprocessOptions:
    """What to keep of a network's output.

    Attributes:
        score: probability threshold, 0..1.
        iou: suppression threshold, 0..1.
        max_detections: instances per picture.
        classes: class ids to keep; None for all.
        class_agnostic: boxes of different classes suppress each other.
        multi_label: a point may give several classes, as in the COCO evaluation.
        masks: False skips the masks.
    """

    score: float = 0.25
    iou: float = 0.7
    max_detections: int = 300
    classes: tuple[int, ...] | None = None
    class_agnostic: bool = False
    multi_label: bool = False
    masks: bool = True

    def __post_init__(self) -> None:
        for name, value in (("score", self.score), ("iou", self.iou)):
            if not 0 <= value <= 1:
                raise UsageError(f"{name} {value}: expected 0 to 1")
        if self.max_detections < 1:
            raise UsageError(f"max detections {self.max_detections}: expected at least 1")


def candidates_of(outputs: Outputs, index: int, head: Head, options: PostprocessOptions) -> Candidates:
    """Decoded and suppressed candidates of one picture, best first, in letterbox pixels."""
    selection = Selection(options.score, options.multi_label, options.classes)
    found = _DECODERS[head](outputs, index, selection)
    classes = None if options.class_agnostic else found.class_ids
    return found.take(nms(found.xyxy, classes, options.iou, options.max_detections))


def postprocess(
    outputs: Outputs,
    index: int,
    head: Head,
    place: Geometry,
    names: tuple[str, ...],
    options: PostprocessOptions,
) -> Instances:
    """Instances of one picture of a batch, in picture pixels.

    Args:
        outputs: what a runner returned.
        index: which picture of the batch.
        head: layout of `outputs`.
        place: the picture's letterbox.
        names: class names by id.
        options: thresholds.
    """
    return to_instances(candidates_of(outputs, index, head, options), outputs, index, head, place, names, options)


def to_instances(  # noqa: PLR0913 - the second half of `postprocess`, timed apart by the benchmark
    found: Candidates,
    outputs: Outputs,
    index: int,
    head: Head,
    place: Geometry,
    names: tuple[str, ...],
    options: PostprocessOptions,
) -> Instances:
    """Kept candidates to instances: boxes moved to the picture, masks computed."""
    xyxy = place.to_picture(found.xyxy)
    # A box that lies wholly in the padding is clipped to nothing: no pixel of the picture is in it.
    inside = np.flatnonzero((xyxy[:, 2:] > xyxy[:, :2]).all(axis=1))
    if len(inside) < len(xyxy):
        found, xyxy = found.take(inside), xyxy[inside]
    masks: tuple[CroppedMask, ...] | None = None
    if options.masks:
        prototypes = outputs[PROTOTYPES[head]][index]
        masks = crop_masks(real(prototypes), found.coefficients, xyxy, place) if len(xyxy) else ()
    return Instances(
        xyxy=xyxy,
        scores=found.scores,
        class_ids=found.class_ids,
        masks=masks,
        names=names,
        image_size=place.picture_size,
    )
