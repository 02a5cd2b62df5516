"""Peak resident memory of one prediction on a 6000 x 4000 picture with 100 instances.

    python benchmarks/memory.py MODEL PHOTO...

The picture is a mosaic of the photos; the score threshold is lowered until 100 instances are kept.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import numpy as np

import edgeseg
from edgeseg.data.picture import read_picture

HEIGHT, WIDTH, INSTANCES = 4000, 6000, 100


def mosaic(photos: list[Path]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Photos side by side until the picture is full."""
    canvas = np.full((HEIGHT, WIDTH, 3), 114, np.uint8)
    x = y = row = 0
    index = 0
    while y < HEIGHT:
        tile = read_picture(photos[index % len(photos)])[: HEIGHT - y, : WIDTH - x]
        canvas[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
        x, row, index = x + tile.shape[1], max(row, tile.shape[0]), index + 1
        if x >= WIDTH:
            x, y, row = 0, y + row, 0
    return canvas


def main() -> None:
    """Predict once and print the peak."""
    model = edgeseg.load(sys.argv[1])
    picture = mosaic([Path(name) for name in sys.argv[2:]])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (result,) = model.predict(picture, score=0.0005, max_detections=INSTANCES)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pixels = sum(int(mask.bitmap.size) for mask in result.instances.masks or ())
    print(
        f"{Path(sys.argv[1]).name}: {WIDTH} x {HEIGHT}, {len(result.instances)} instances, "
        f"{pixels / (HEIGHT * WIDTH):.1f} pictures' worth of mask pixels; "
        f"peak {peak:.0f} MiB ({before:.0f} MiB before the prediction)"
    )


if __name__ == "__main__":
    main()
