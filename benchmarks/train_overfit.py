"""Can the recipe learn eight photos by heart? Prints their AP after training on nothing else, without augmentation.

    python benchmarks/train_overfit.py DATA WEIGHTS [SIZE] [EPOCHS]

DATA is a data set whose first eight training pictures are taken. A prototype cell is 4 px wide: at 320 px the masks of
small objects cannot be exact, whatever is learned.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from edgeseg.data.open import open_dataset

OFF = {"mosaic": 0.0, "scale": 0.0, "translate": 0.0, "hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0, "flip_lr": 0.0}


def card(data: Path, weights: Path, size: int, epochs: int, folder: Path) -> dict[str, Any]:
    """A card that trains and validates on the same eight pictures."""
    dataset = open_dataset(data, split="train")
    (folder / "eight.json").write_text(json.dumps(dataset[:8].to_coco()))
    eight = {"annotations": str(folder / "eight.json"), "images": str(dataset.root)}
    steps = {"epochs": epochs, "batch": 8, "nominal_batch": 8, "val_interval": epochs, "warmup_steps": 5}
    rates = {"optimizer": "adamw", "lr0": 0.002, "momentum": 0.9, "warmup_epochs": 1}
    return {
        "schema": 1,
        "name": "overfit",
        "license": "unknown",
        "model": {"scale": "n", "classes": list(dataset.names), "image_size": [size, size]},
        "weights": {"path": str(weights)},
        "data": {"train": eight, "val": eight},
        "train": {**steps, **rates, "augmentation": OFF},
        "targets": [{"format": "onnx"}],
    }


def main() -> None:
    """Train in a process of its own, print both AP."""
    data, weights = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    size, epochs = (int(word) for word in (*sys.argv[3:5], *("640", "150")[len(sys.argv[3:5]) :]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "card.yaml").write_text(json.dumps(card(data, weights, size, epochs, folder)))
        command = [sys.executable, "-m", "edgeseg", "train", str(folder / "card.yaml"), "-o", str(folder / "out")]
        done = subprocess.run([*command, "-q", "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    scores = json.loads(done.stdout)["epochs"][-1]["scores"]
    print(f"{size} px, {epochs} epochs: box AP {scores['box_ap']:.4f}, mask AP {scores['mask_ap']:.4f}")


if __name__ == "__main__":
    main()
