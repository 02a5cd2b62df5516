"""Can the recipe learn eight photos by heart? Prints their AP after training on nothing else, without augmentation.

    python benchmarks/train_overfit.py DATA WEIGHTS [SIZE] [EPOCHS] [--overlap-masks merged]

DATA is a data set whose first eight training pictures are taken. First it prints the mask AP of the labels themselves:
of a network that would give exactly what it is trained with, in cells of 4 px, through our post-processing. At 320 px
that is low for small objects; with `merged` masks, the recipe's default, it is low where objects overlap, since the
judge's truth is the whole mask of each object. So the training here asks for `separate` masks. What is learned can come
out a little higher than the labels: values between inside and outside place an edge within a cell.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.card.train import Augmentation
from edgeseg.data.augment import Augmenter
from edgeseg.data.dataset import Dataset
from edgeseg.data.label_map import boxes, label_map, object_maps
from edgeseg.data.labelled_set import LabelledSet
from edgeseg.data.letterbox import geometry
from edgeseg.data.open import open_dataset
from edgeseg.instances import Instances
from edgeseg.metrics.average_precision import judge
from edgeseg.postprocess.masks import crop_masks

OFF = {"mosaic": 0.0, "scale": 0.0, "translate": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "flip_lr": 0.0}
RULES = ("merged", "separate")


def label_ap(dataset: Dataset, size: tuple[int, int], rule: str) -> float:
    """Mask AP of the labels themselves, taken for a network's output with boxes and classes all right.

    Args:
        dataset: annotated pictures.
        size: (height, width) of the network's input, px.
        rule: of `RULES`, for objects that overlap.
    """
    rows = [row for at in range(len(dataset)) for row in _perfect(dataset, at, size, rule)]
    return judge(dataset.to_coco(), rows, "segm").precision.map


def _perfect(dataset: Dataset, at: int, size: tuple[int, int], rule: str) -> Iterator[dict[str, Any]]:
    """COCO results of one picture: each object's map is a prototype of its own, 1 inside and -1 outside."""
    load, sample = LabelledSet(dataset, size, "off").load, dataset[at]
    found = Augmenter(Augmentation.model_validate(OFF))(
        load, at, len(dataset), size, np.random.default_rng(0), mosaic=False
    )
    objects, place = found.objects, geometry(sample.size, size)
    if rule == "separate":
        inside = object_maps(objects, size)
    else:
        inside = label_map(objects, size) == np.arange(1, len(objects) + 1)[:, None, None]
    xyxy = place.to_picture(boxes(objects))
    prototypes, coefficients = np.where(inside, 1, -1).astype(np.float32), np.eye(len(objects), dtype=np.float32)
    masks = crop_masks(prototypes, coefficients, xyxy, place)
    scores = np.ones(len(objects), np.float32)
    instances = Instances(xyxy, scores, found.class_ids, masks, dataset.names, sample.size)
    yield from instances.to_coco(sample.image_id, dataset.category_ids)


def card(eight: Dataset, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """A card that trains and validates on the same eight pictures."""
    (folder / "eight.json").write_text(json.dumps(eight.to_coco()))
    data = {"annotations": str(folder / "eight.json"), "images": str(eight.root)}
    steps = {"epochs": args.epochs, "batch": 8, "nominal_batch": 8, "val_interval": args.epochs, "warmup_steps": 5}
    rates = {"optimizer": "adamw", "lr0": 0.002, "momentum": 0.9, "warmup_epochs": 1}
    return {
        "schema": 1,
        "name": "overfit",
        "license": "unknown",
        "model": {"scale": "n", "classes": list(eight.names), "image_size": [args.size, args.size]},
        "weights": {"path": str(args.weights.resolve())},
        "data": {"train": data, "val": data},
        "train": {**steps, **rates, "augmentation": OFF, "overlap_masks": args.overlap_masks},
        "targets": [{"format": "onnx"}],
    }


def main() -> None:
    """Print the labels' AP, train in a process of its own, print both AP."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("size", type=int, nargs="?", default=640)
    parser.add_argument("epochs", type=int, nargs="?", default=150)
    parser.add_argument("--overlap-masks", choices=RULES, default="separate")
    args = parser.parse_args()
    eight = open_dataset(args.data.resolve(), split="train")[:8]
    of_labels = ", ".join(f"{label_ap(eight, (args.size, args.size), rule):.4f} {rule}" for rule in RULES)
    print(f"{args.size} px: mask AP of the labels themselves {of_labels}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "card.yaml").write_text(json.dumps(card(eight, args, folder)))
        command = [sys.executable, "-m", "edgeseg", "train", str(folder / "card.yaml"), "-o", str(folder / "out")]
        done = subprocess.run([*command, "-q", "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    scores = json.loads(done.stdout)["epochs"][-1]["scores"]
    print(
        f"{args.size} px, {args.epochs} epochs, {args.overlap_masks} masks: "
        f"box AP {scores['box_ap']:.4f}, mask AP {scores['mask_ap']:.4f}"
    )


if __name__ == "__main__":
    main()
