"""Head outputs made by hand, for the tests of what reads them."""

from __future__ import annotations

import numpy as np

from edgeseg.tensors import Array, raw_output_specs

SIZE = (64, 96)
"""8 x 12, 4 x 6 and 2 x 3 cells, prototypes of 16 x 24."""

NEVER = -30.0
"""A logit whose probability is 0 for any threshold."""


def silent(classes: int = 3, batch: int = 1, size: tuple[int, int] = SIZE) -> dict[str, Array]:
    """Raw outputs without an object: class logits far below any threshold, all else 0."""
    outputs = {
        spec.name: np.zeros(tuple(int(side) for side in spec.shape), np.float32)
        for spec in raw_output_specs(classes, size, batch)
    }
    for level in ("p3", "p4", "p5"):
        outputs[f"{level}_cls"][:] = NEVER
    return outputs


def noisy(seed: int, classes: int = 3, batch: int = 1, size: tuple[int, int] = SIZE) -> dict[str, Array]:
    """Random raw outputs, a few percent of whose points are objects at a threshold of 0.25."""
    rng = np.random.default_rng(seed)
    shapes = {name: array.shape for name, array in silent(classes, batch, size).items()}
    outputs: dict[str, Array] = {name: rng.normal(0, 2, shape).astype(np.float32) for name, shape in shapes.items()}
    for level in ("p3", "p4", "p5"):
        outputs[f"{level}_cls"] -= np.float32(6)
    return outputs
