"""What quantising costs: AP retention, errors of scores, overlap of masks, megabytes.

    python benchmarks/quantised.py DATA REFERENCE ARTIFACT... [--images DIR] [--pictures N] [--no-ap]

DATA is an annotated set, REFERENCE the weights (or any exact artifact) that the artifacts are made from. Retention is
over all of DATA, with the 95 % interval of a paired bootstrap over its pictures. Scores and masks are compared on the
same letterboxed bytes, on the first N pictures: they rank recipes with far fewer pictures than AP does. A score counts
where the reference's is above 0.1; MAE is its mean absolute error, drift its mean signed error.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import edgeseg
from edgeseg.data.dataset import Dataset
from edgeseg.data.letterbox import letterbox
from edgeseg.data.open import open_dataset
from edgeseg.data.picture import read_picture
from edgeseg.files import bytes_of
from edgeseg.metrics.mask_parity import SCORE_MARGIN, match_instances
from edgeseg.postprocess.decode import decode_all
from edgeseg.postprocess.pipeline import PostprocessOptions, postprocess
from edgeseg.tensors import NUM_COEFFICIENTS, Array
from edgeseg.validate import Metrics, retention, validate

POINT_SCORE = 0.1
SCORE = 0.25


@dataclass
class Proxies:
    """Errors of one artifact, gathered picture by picture.

    Attributes:
        scores: artifact minus reference, of every score that counts.
        box_ious: of matched instances.
        mask_ious: of matched instances.
        unmatched: instances that one side alone has.
    """

    scores: list[Array] = field(default_factory=list)
    box_ious: list[float] = field(default_factory=list)
    mask_ious: list[float] = field(default_factory=list)
    unmatched: int = 0

    def __str__(self) -> str:
        errors = np.concatenate(self.scores)
        return (
            f"score MAE {np.abs(errors).mean():.4f}, drift {errors.mean():+.4f} over {len(errors)} scores; "
            f"{len(self.mask_ious)} instances matched, {self.unmatched} not; box IoU {np.mean(self.box_ious):.4f}, "
            f"mask IoU {np.mean(self.mask_ious):.4f} (median {np.median(self.mask_ious):.4f})"
        )


def compare(reference: edgeseg.Model, artifacts: Sequence[edgeseg.Model], pictures: Sequence[Path]) -> list[Proxies]:
    """Run all on the same bytes."""
    found = [Proxies() for _ in artifacts]
    options = PostprocessOptions(score=SCORE - SCORE_MARGIN)
    for path in pictures:
        boxed, place = letterbox(read_picture(path), artifacts[0].metadata.image_size)
        want = reference.outputs([boxed])
        scores = _scores(want, reference)
        counted = scores > POINT_SCORE
        ours = postprocess(want, 0, reference.metadata.head, place, reference.names, options)
        for model, proxies in zip(artifacts, found, strict=True):
            have = model.outputs([boxed])
            proxies.scores.append((_scores(have, model) - scores)[counted])
            parity = match_instances(
                ours, postprocess(have, 0, model.metadata.head, place, model.names, options), SCORE
            )
            proxies.box_ious += [match.box_iou for match in parity.matches]
            proxies.mask_ious += [match.mask_iou for match in parity.matches]
            proxies.unmatched += len(parity.missing) + len(parity.extra)
    return found


def _scores(outputs: dict[str, Array], model: edgeseg.Model) -> Array:
    decoded = decode_all(outputs) if model.metadata.head == "raw" else outputs
    return decoded["output0"][0, 4:-NUM_COEFFICIENTS]


def judged(model: edgeseg.Model, dataset: Dataset, size: tuple[int, int]) -> Metrics:
    """AP, and a line that says it."""
    metrics = validate(model, dataset, image_size=size)
    print(f"{model.path.name}: box AP {metrics.box.map:.4f}, mask AP {metrics.seg.map:.4f}", flush=True)
    return metrics


def main() -> None:
    """Print a paragraph for each artifact."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--pictures", type=int, help="for scores and masks; default: all")
    parser.add_argument("--no-ap", action="store_true", help="scores and masks only")
    args = parser.parse_args()
    dataset = open_dataset(args.data, images=args.images)
    reference, artifacts = edgeseg.load(args.reference), [edgeseg.load(path) for path in args.artifacts]
    size = artifacts[0].metadata.image_size
    pictures = [sample.path for sample in dataset][: args.pictures]
    proxies = compare(reference, artifacts, pictures)
    for model, errors in zip(artifacts, proxies, strict=True):
        size_mb = bytes_of(model.path) / 1e6
        print(f"{model.path.name}: {size_mb:.2f} MB, {model.metadata.precision}, {len(pictures)} pictures")
        print(f"  {errors}", flush=True)
    if args.no_ap:
        return
    exact = judged(reference, dataset, size)
    for model in artifacts:
        for kept in retention(exact, judged(model, dataset, size)):
            print(
                f"  {kept.kind} AP retention {100 * kept.value:.1f} % ({100 * kept.low:.1f} to {100 * kept.high:.1f}, "
                f"{kept.pictures} pictures)",
                flush=True,
            )


if __name__ == "__main__":
    main()
