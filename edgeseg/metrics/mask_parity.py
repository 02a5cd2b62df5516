"""Instances of an artifact against those of the reference on the same bytes: matched one to one, mask IoU."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeseg import rle
from edgeseg.instances import Instances
from edgeseg.postprocess.nms import box_iou

SCORE_MARGIN = 1e-3
"""An instance this close to the score threshold may be on either side of it (facts.md, section 6)."""

MATCH_IOU = 0.5
"""Smallest box IoU of a match."""

HISTOGRAM_EDGES = (0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
"""Edges of the mask IoU histogram; the last bin holds 1.0 too."""


@dataclass(frozen=True)
class Match:
    """A reference instance and its counterpart.

    Attributes:
        reference: index in the reference's instances.
        found: index in the artifact's instances.
        mask_iou: at picture resolution.
        box_iou: of the two boxes.
        score_error: artifact minus reference.
    """

    reference: int
    found: int
    mask_iou: float
    box_iou: float
    score_error: float


@dataclass(frozen=True)
class PictureParity:
    """One picture: matches, and what has none although its score is clear of the threshold."""

    matches: tuple[Match, ...]
    missing: tuple[int, ...]
    extra: tuple[int, ...]

    @property
    def quality(self) -> float:
        """Panoptic quality (Kirillov et al. 2019): mask IoU summed over the matches, over matches and half of what has
        none; 0..1, and 1 where there is nothing on either side."""
        total = len(self.matches) + (len(self.missing) + len(self.extra)) / 2
        return sum(match.mask_iou for match in self.matches) / total if total else 1.0


def match_instances(
    reference: Instances, found: Instances, score: float, margin: float = SCORE_MARGIN
) -> PictureParity:
    """Match same-class instances one to one, best box IoU first.

    Args:
        reference: instances at ``score - margin``, so that a borderline one has its counterpart.
        found: the artifact's, at the same threshold.
        score: the threshold that users see.
        margin: only instances with a score above ``score + margin`` count as missing or extra.
    """
    iou = box_iou(reference.xyxy, found.xyxy)
    iou[reference.class_ids[:, None] != found.class_ids[None, :]] = 0
    matches = [_match(reference, found, i, j, float(iou[i, j])) for i, j in _pairs(iou)]
    seen, used = {match.reference for match in matches}, {match.found for match in matches}
    return PictureParity(
        tuple(matches),
        tuple(i for i, s in enumerate(reference.scores) if s > score + margin and i not in seen),
        tuple(j for j, s in enumerate(found.scores) if s > score + margin and j not in used),
    )


def _pairs(iou: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Greedy one-to-one pairs above `MATCH_IOU`, highest first."""
    pairs: list[tuple[int, int]] = []
    left = iou.copy()
    while left.size and left.max() >= MATCH_IOU:
        i, j = np.unravel_index(int(left.argmax()), left.shape)
        pairs.append((int(i), int(j)))
        left[i, :] = left[:, j] = 0
    return pairs


def _match(reference: Instances, found: Instances, i: int, j: int, boxes: float) -> Match:
    if reference.masks is None or found.masks is None:
        raise ValueError("instances without masks have no mask parity")
    a, b = reference.masks[i], found.masks[j]
    # Two masks without a pixel are equal; the COCO API's 0 would fail an artifact for agreeing.
    overlap = rle.iou(a, b) if a.bitmap.any() or b.bitmap.any() else 1.0
    return Match(i, j, overlap, boxes, float(found.scores[j] - reference.scores[i]))


@dataclass
class ParitySummary:
    """Totals over pictures."""

    pictures: int = 0
    reference_instances: int = 0
    matched: int = 0
    missing: int = 0
    extra: int = 0
    mask_ious: list[float] = field(default_factory=list)
    score_errors: list[float] = field(default_factory=list)

    def add(self, parity: PictureParity) -> None:
        """Add one picture."""
        self.pictures += 1
        self.matched += len(parity.matches)
        self.missing += len(parity.missing)
        self.extra += len(parity.extra)
        self.reference_instances += len(parity.matches) + len(parity.missing)
        self.mask_ious += [match.mask_iou for match in parity.matches]
        self.score_errors += [match.score_error for match in parity.matches]

    @property
    def matched_fraction(self) -> float:
        """Matched instances over matched, missing and extra ones; 0 where nothing was found at all."""
        total = self.matched + self.missing + self.extra
        return self.matched / total if total else 0.0

    def summary(self) -> dict[str, float | int | list[int] | list[float]]:
        """JSON-able totals and the distribution of mask IoU; NaN where no instance matched."""
        ious = np.asarray(self.mask_ious or [np.nan])
        counts, _ = np.histogram(self.mask_ious, HISTOGRAM_EDGES)
        return {
            "pictures": self.pictures,
            "reference_instances": self.reference_instances,
            "matched": self.matched,
            "missing": self.missing,
            "extra": self.extra,
            "matched_fraction": self.matched_fraction,
            "mask_iou_min": float(ious.min()),
            "mask_iou_p05": float(np.quantile(ious, 0.05)),
            "mask_iou_median": float(np.median(ious)),
            "mask_iou_mean": float(ious.mean()),
            "score_error_max": float(np.abs(self.score_errors or [np.nan]).max()),
            "mask_iou_histogram_edges": list(HISTOGRAM_EDGES),
            "mask_iou_histogram": [int(count) for count in counts],
        }
