"""Small trainings for the tests: shapes drawn by `data synth`, scale n at 64 px."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeseg.card.load import load_card
from edgeseg.card.resolve import ResolvedCard, resolve
from edgeseg.data.synthetic import synthesize
from edgeseg.data.synthetic_options import SyntheticOptions

CLASSES = ("circle", "square")
SIDE = 64


def draw_shapes(folder: Path, images: int = 12, val: int = 4) -> Path:
    """A synthetic COCO set in a new folder."""
    synthesize(folder, SyntheticOptions(images=images, val=val, size=SIDE, classes=CLASSES, max_objects=2), workers=1)
    return folder


def write_card(path: Path, shapes: Path, train: Mapping[str, Any], **sections: Any) -> Path:
    """A card that trains on a synthetic set: 2 workers would take longer to start than the training."""
    content = {
        "schema": 1,
        "name": "shapes",
        "license": "Apache-2.0",
        "model": {"scale": "n", "classes": list(CLASSES), "image_size": [SIDE, SIDE]},
        "data": {"root": str(shapes), "train": "annotations/train.json", "val": "annotations/val.json"},
        "train": {
            "epochs": 2,
            "batch": 4,
            "workers": 0,
            "nominal_batch": 4,
            "warmup_steps": 0,
            "warmup_epochs": 1,
            **train,
        },
        "targets": [{"format": "onnx"}],
        **sections,
    }
    path.write_text(json.dumps(content))
    return path


def resolved(path: Path, overrides: Sequence[str] = ()) -> ResolvedCard:
    """The card as a training takes it."""
    return resolve(load_card(path, tuple(overrides)))
