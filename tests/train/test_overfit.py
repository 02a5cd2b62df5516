"""The recipe can learn: eight photos, without augmentation, until they are known by heart.

At 320 px, with cells of 4 px and the recipe's rule for objects that overlap, the labels themselves have a mask AP of
0.757: `benchmarks/train_overfit.py` prints that, and learns `separate` masks at 640 px.
"""

from __future__ import annotations

import json
from pathlib import Path

from edgeseg.data.open import open_dataset
from edgeseg.train.run import train
from tests.train.trainings import resolved, write_card

OFF = {"mosaic": 0.0, "scale": 0.0, "translate": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "flip_lr": 0.0}


def test_eight_pictures_are_learned_by_heart(shared: Path, tmp_path: Path) -> None:
    dataset = open_dataset(shared / "data/coco128-seg/coco128-seg.yaml", split="train")
    (tmp_path / "eight.json").write_text(json.dumps(dataset[:8].to_coco()))
    eight = {"annotations": "eight.json", "images": str(dataset.root)}
    settings = {"epochs": 150, "batch": 8, "nominal_batch": 8, "val_interval": 150, "optimizer": "adamw", "lr0": 0.002}
    sections = {
        "model": {"scale": "n", "classes": "coco80", "image_size": [320, 320]},
        "weights": {"path": str(shared / "weights/yolov8n-seg.pt")},
        "data": {"root": str(tmp_path), "train": eight, "val": eight},
    }
    card = write_card(tmp_path / "card.yaml", tmp_path, {**settings, "momentum": 0.9, "augmentation": OFF}, **sections)
    end = train(resolved(card), tmp_path / "out")
    scores = end.epochs[-1].scores
    assert scores["box_ap"] >= 0.95
    assert scores["mask_ap50"] >= 0.95
    assert scores["mask_ap"] >= 0.7
