"""What mask AP depends on at the edges: which pixels a box keeps, and where the mask's level set is cut.

    python benchmarks/mask_edges.py DATA.json MODEL

Prints mask AP for boxes that keep pixels by their centre, by their upper left corner, and in between, and for level
sets other than 0. The product keeps pixels by their corner and cuts at 0.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

import edgeseg
from edgeseg.data.letterbox import Geometry, letterbox
from edgeseg.data.open import open_dataset
from edgeseg.data.picture import read_picture
from edgeseg.detect import PROTOCOL
from edgeseg.metrics.average_precision import judge
from edgeseg.postprocess.decode import Candidates
from edgeseg.postprocess.pipeline import PROTOTYPES, candidates_of
from edgeseg.tensors import Array

VARIANTS = ((0.5, 0.0), (0.25, 0.0), (0.0, 0.0), (0.5, 0.25), (0.0, 0.25), (0.0, 0.5))
"""Pixel point that must lie in the box, 0.5 its centre and 0 its corner; logit above which a pixel is inside."""

Found = tuple[int, Geometry, Candidates, Array]


def bitmap(logits: Array, box: list[float], place: Geometry, point: float, level: float) -> Array:
    """One full mask: bilinear between cell centres, cut at `level`, cropped."""
    height, width = place.picture_size
    x1, y1, x2, y2 = (math.ceil(side - point) for side in box)
    full = np.zeros((height, width), np.uint8, order="F")
    if x2 > x1 and y2 > y1:
        rows = _interpolation(np.arange(y1, y2), place, 0, place.top, logits.shape[0])
        columns = _interpolation(np.arange(x1, x2), place, 1, place.left, logits.shape[1])
        full[y1:y2, x1:x2] = (rows @ logits @ columns.T)[: height - y1, : width - x1] > level
    return full


def _interpolation(pixels: Array, place: Geometry, axis: int, padding: int, count: int) -> Array:
    position = ((pixels + 0.5) * place.scale_yx[axis] + padding) * count / place.image_size[axis] - 0.5
    position = np.clip(position, 0, count - 1)
    cell = np.minimum(position.astype(int), count - 2)
    weights = np.zeros((len(pixels), count), np.float32)
    weights[np.arange(len(pixels)), cell] = 1 - (position - cell)
    weights[np.arange(len(pixels)), cell + 1] = position - cell
    return weights


def main() -> None:
    """Run the network once, then judge each variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    args = parser.parse_args()
    model, dataset = edgeseg.load(args.model), open_dataset(args.data)
    head = model.metadata.head
    found: list[Found] = []
    for sample in dataset:
        boxed, place = letterbox(read_picture(sample.path), model.metadata.image_size)
        outputs = model.outputs([boxed])
        candidates = candidates_of(outputs, 0, head, PROTOCOL)
        found.append((sample.image_id, place, candidates, outputs[PROTOTYPES[head]][0].copy()))
    truth = dataset.to_coco()
    for point, level in VARIANTS:
        rows = []
        for image_id, place, candidates, prototypes in found:
            maps = np.tensordot(candidates.coefficients, prototypes, axes=1)
            for i, box in enumerate(place.to_picture(candidates.xyxy).tolist()):
                rows.append(
                    {
                        "image_id": image_id,
                        "category_id": dataset.category_ids[int(candidates.class_ids[i])],
                        "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                        "score": float(candidates.scores[i]),
                        "segmentation": coco_mask.encode(bitmap(maps[i], box, place, point, level)),
                    }
                )
        ap = judge(truth, rows, "segm").precision
        print(
            f"pixel point {point:.2f}, level {level:.2f}: mask AP {ap.map:.4f}, AP50 {ap.map50:.4f}, "
            f"small {ap.stats['APsmall']:.4f}, large {ap.stats['APlarge']:.4f}"
        )


if __name__ == "__main__":
    main()
