"""Agreement with published reference predictions: matches, and score, box and mask differences.

    python benchmarks/golden.py SHARED MODEL... [--draw DIR]

SHARED holds golden/predictions_conf025.json, golden/*.npz and the pictures. `--draw` writes, for the two photos
whose masks differ most, the reference's mask, ours, and the difference, side by side.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import edgeseg
from edgeseg import rle
from edgeseg.instances import CroppedMask, Instances
from edgeseg.metrics.mask_parity import match_instances
from edgeseg.postprocess.decode import decode_all
from edgeseg.report.pictures import comparison
from edgeseg.tensors import NUM_COEFFICIENTS
from edgeseg.verify import WorstInstance
from edgeseg.writers import encode_picture

SCORE = 0.25
MARGIN = 0.005


def golden_instances(row: dict[str, Any], names: tuple[str, ...]) -> Instances:
    """One picture's reference predictions."""
    found = row["instances"]
    masks = []
    for instance in found:
        bitmap, (top, left) = rle.decode_cropped(instance["mask_rle"])
        masks.append(CroppedMask(bitmap, top, left))
    return Instances(
        xyxy=np.array([i["xyxy"] for i in found], np.float32).reshape(-1, 4),
        scores=np.array([i["score"] for i in found], np.float32),
        class_ids=np.array([i["class_id"] for i in found], np.int64),
        masks=tuple(masks),
        names=names,
        image_size=(row["height"], row["width"]),
    )


def tensors(shared: Path, model: edgeseg.Model) -> None:
    """Print the largest differences from the decoded tensors."""
    for path in sorted((shared / "golden").glob("*.npz")):
        stored = np.load(path)
        found = model.outputs([stored["letterboxed_rgb_u8"]])
        decoded = decode_all(found) if model.metadata.head == "raw" else found
        difference = np.abs(decoded[next(iter(decoded))][0] - stored["decoded"][0])
        proto = np.abs(list(decoded.values())[1] - stored["proto"]).max()
        print(
            f"{path.stem}: boxes {difference[:4].max():.4f} px, probabilities "
            f"{difference[4:-NUM_COEFFICIENTS].max():.1e}, coefficients {difference[-NUM_COEFFICIENTS:].max():.1e}, "
            f"prototypes {proto:.1e}"
        )


def predictions(shared: Path, model: edgeseg.Model) -> list[WorstInstance]:
    """Print how the predictions agree; returns the matches, worst mask first."""
    rows = json.loads((shared / "golden/predictions_conf025.json").read_text())["results"]
    places = (shared / "media", shared / "data/coco-val128/images")
    found: list[WorstInstance] = []
    scores, boxes, unmatched, total = [], [], 0, 0
    for row in rows:
        (path,) = [place / row["image"] for place in places if (place / row["image"]).is_file()]
        (result,) = model.predict(path, score=SCORE - MARGIN)
        reference = golden_instances(row, model.names)
        parity = match_instances(reference, result.instances, SCORE, MARGIN)
        unmatched += len(parity.missing) + len(parity.extra)
        total += len(reference)
        for match in parity.matches:
            scores.append(abs(match.score_error))
            boxes.append(match.box_iou)
            ours = result.instances[match.found]
            name = model.names[int(ours.class_ids[0])]
            found.append(
                WorstInstance(path.name, match.mask_iou, name, result.picture, reference[match.reference], ours)
            )
    ious = np.array([worst.mask_iou for worst in found])
    print(
        f"{len(rows)} pictures, {total} instances: {len(found)} matched, {unmatched} missing or extra; "
        f"score within {max(scores):.1e}, box IoU at least {min(boxes):.4f}, "
        f"mask IoU median {np.median(ious):.4f} and minimum {ious.min():.4f}"
    )
    return sorted(found, key=lambda worst: worst.mask_iou)


def main() -> None:
    """Print the agreement of each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--draw", type=Path)
    args = parser.parse_args()
    for path in args.models:
        print(path.name)
        model = edgeseg.load(path)
        tensors(args.shared, model)
        worst = predictions(args.shared, model)
        if args.draw:
            args.draw.mkdir(parents=True, exist_ok=True)
            for number, instance in enumerate(worst[:2], start=1):
                target = args.draw / f"{path.stem}-{number}-{instance.source}.png"
                target.write_bytes(encode_picture(comparison(instance), ".png"))


if __name__ == "__main__":
    main()
