"""A picture with its objects as polygons: what augmentation takes and gives.

Coordinates are continuous: pixel i covers [i, i + 1), its centre is i + 0.5 (as in `edgeseg.data.letterbox`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.float32]
"""(K, 2) x, y in px, closed implicitly; points may lie out of the picture."""

Parts = tuple[Ring, ...]
"""One object: its mask is the union of the rings, even-odd within each."""


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """One picture and its objects; crowds are left out.

    Attributes:
        picture: (H, W, 3) uint8, RGB.
        class_ids: (N,) int64.
        objects: N times the parts of one object; the mask is their union, even-odd within a part.
    """

    picture: NDArray[np.uint8]
    class_ids: NDArray[np.int64]
    objects: tuple[Parts, ...]
