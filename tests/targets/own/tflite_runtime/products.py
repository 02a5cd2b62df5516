"""Export every product of the tiny network, and keep what torch and ai-edge-litert give for it.

    python -m tests.targets.own.tflite_runtime.products FOLDER

In the environment of the tflite target. FOLDER gets PRODUCT.tflite with PRODUCT.npz, what ai-edge-litert gives, of each
product, and reference.npz, what torch gives, for the same pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import edgeseg
from edgeseg.data.letterbox import letterbox, to_input
from edgeseg.export import export
from edgeseg.predict import Model
from edgeseg.tensors import INPUT_NAME
from edgeseg.testing import tiny_frames, tiny_picture, write_tiny_weights
from edgeseg.testing.tiny import IMAGE_SIZE

PRODUCTS: Mapping[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32"},
    "fp16": {"precision": "fp16"},
    "int8": {"precision": "int8"},
    "uint8": {"precision": "int8", "edges": "uint8"},
    "w8a16": {"precision": "w8a16"},
    "batch": {"precision": "fp32", "batch": 2},
}
"""Name to what is asked of the export."""

CALIBRATED = ("int8", "uint8", "w8a16")


def write_products(folder: Path) -> None:
    """Write all that the tests of the other environment read."""
    weights, pictures = write_tiny_weights(folder / "tiny.safetensors"), folder / "pictures"
    pictures.mkdir()
    for seed in range(16):
        cv2.imwrite(str(pictures / f"{seed:02}.png"), tiny_picture(*IMAGE_SIZE, seed=100 + seed))
    with edgeseg.load(weights) as reference:
        _keep(reference, folder / "reference.npz")
    for name, asked in PRODUCTS.items():
        given: dict[str, Any] = {"calibration": pictures} if name in CALIBRATED else {}
        path = export(weights, "tflite", output_dir=folder / "made", **asked, **given).path.rename(
            folder / f"{name}.tflite"
        )
        with edgeseg.load(path, interpreter="ai-edge-litert", threads=1) as model:
            _keep(model, folder / f"{name}.npz")


def inputs_for(model: Model) -> list[Any]:
    """The input for each tiny picture, in full batches."""
    boxed = [letterbox(frame.picture, IMAGE_SIZE)[0] for frame in tiny_frames()]
    return [to_input([picture] * model.metadata.batch) for picture in boxed]


def _keep(model: Model, path: Path) -> None:
    """Outputs for all pictures, stacked by tensor."""
    found = [model.runner.run({INPUT_NAME: images}) for images in inputs_for(model)]
    arrays: dict[str, Any] = {name: np.concatenate([outputs[name][:1] for outputs in found]) for name in found[0]}
    np.savez(path, **arrays)


if __name__ == "__main__":
    write_products(Path(sys.argv[1]))
