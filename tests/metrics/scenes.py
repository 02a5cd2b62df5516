"""Objects and detections on pictures that are nowhere: by hand, and at random."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from edgeseg import rle

SIZE = (200, 300)
Row = dict[str, Any]

OBJECT = (20, 20, 60, 60)
FAR = (150, 100, 60, 60)


def row(image: int, category: int, box: tuple[int, int, int, int], **more: Any) -> Row:
    """An object or detection that fills its box (x, y, width, height)."""
    x, y, width, height = box
    mask = rle.encode(np.ones((height, width), bool), (y, x), SIZE)
    return {"image_id": image, "category_id": category, "bbox": list(map(float, box)), "segmentation": mask, **more}


def truth_of(rows: list[Row], images: int = 1, categories: int = 2) -> Row:
    """A COCO instances dictionary."""
    annotations = [{"id": i, "iscrowd": 0, "area": r["bbox"][2] * r["bbox"][3], **r} for i, r in enumerate(rows, 1)]
    return {
        "images": [{"id": i, "height": SIZE[0], "width": SIZE[1]} for i in range(1, images + 1)],
        "categories": [{"id": c, "name": f"class {c}"} for c in range(1, categories + 1)],
        "annotations": annotations,
    }


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Row, list[Row]]:
    """A truth and results near it, with crowds, equal scores and wrong classes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images, categories = draw(st.integers(1, 4)), draw(st.integers(1, 3))

    def box() -> tuple[int, int, int, int]:
        width, height = rng.integers(1, 120, 2)
        return int(rng.integers(0, SIZE[1] - width)), int(rng.integers(0, SIZE[0] - height)), int(width), int(height)

    def near(found: Row) -> tuple[int, int, int, int]:
        x, y, width, height = np.asarray(found["bbox"], int) + rng.integers(-4, 5, 4)
        x, y = np.clip([x, y], 0, [SIZE[1] - 2, SIZE[0] - 2])
        return int(x), int(y), int(np.clip(width, 1, SIZE[1] - x)), int(np.clip(height, 1, SIZE[0] - y))

    def anywhere() -> tuple[int, int]:
        return int(rng.integers(1, images + 1)), int(rng.integers(1, categories + 1))

    objects = [row(*anywhere(), box(), iscrowd=int(rng.random() < 0.15)) for _ in range(draw(st.integers(0, 12)))]
    scores = rng.choice([0.1, 0.3, 0.5, 0.7, 0.9], 40)
    results = []
    for one, score in zip([one for one in objects for _ in range(2)], scores, strict=False):
        category = one["category_id"] if rng.random() < 0.8 else int(rng.integers(1, categories + 1))
        results.append(row(one["image_id"], category, near(one), score=float(score)))
    results += [row(*anywhere(), box(), score=float(rng.random())) for _ in range(draw(st.integers(0, 6)))]
    return truth_of(objects, images, categories), results
