"""Peak memory of judging many detections: random masks on random objects, through everything that `val` derives.

    python benchmarks/val_memory.py PICTURES [DETECTIONS]

5,000 pictures of 300 detections are COCO val2017 by the published protocol; it takes ten minutes. pycocotools judges.
"""

from __future__ import annotations

import resource
import sys

import numpy as np

from edgeseg import rle
from edgeseg.metrics.average_precision import judge
from edgeseg.metrics.coco_results import CocoResults
from edgeseg.metrics.confusion import confusion_of
from edgeseg.metrics.curves import curves_of
from edgeseg.metrics.matching import match_detections

HEIGHT, WIDTH, CLASSES, OBJECTS = 480, 640, 80, 7


def main() -> None:
    """Make rows, judge both kinds, print the peak."""
    pictures, detections = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 300
    rng = np.random.default_rng(0)
    shapes = []
    for _ in range(200):
        height, width = (int(side) for side in rng.integers(8, 160, 2))
        y, x = np.mgrid[:height, :width]
        shapes.append(np.hypot((y - height / 2) / height, (x - width / 2) / width) < 0.5)

    def row(image: int) -> dict[str, object]:
        shape = shapes[int(rng.integers(len(shapes)))]
        top, left = int(rng.integers(HEIGHT - shape.shape[0])), int(rng.integers(WIDTH - shape.shape[1]))
        mask = rle.encode(shape, (top, left), (HEIGHT, WIDTH))
        box = [float(left), float(top), float(shape.shape[1]), float(shape.shape[0])]
        return {"image_id": image, "category_id": int(rng.integers(CLASSES)), "bbox": box, "segmentation": mask}

    truth = {
        "images": [{"id": i, "height": HEIGHT, "width": WIDTH} for i in range(pictures)],
        "categories": [{"id": i, "name": str(i)} for i in range(CLASSES)],
        "annotations": [],
    }
    for image in range(pictures):
        for _ in range(OBJECTS):
            found = row(image)
            area = found["bbox"][2] * found["bbox"][3]  # type: ignore[index]
            truth["annotations"].append({**found, "id": len(truth["annotations"]) + 1, "iscrowd": 0, "area": area})
    results = CocoResults()
    for image in range(pictures):
        results.extend({**row(image), "score": float(rng.random())} for _ in range(detections))
    made = _peak_mb()
    for kind in ("bbox", "segm"):
        judgement = judge(truth, results, kind, "pycocotools")  # type: ignore[arg-type]
        matches = match_detections(judgement.ious, truth, results)
    curves_of(matches)
    confusion_of(truth, results)
    print(f"{pictures} pictures x {detections} detections: peak {_peak_mb():.0f} MB ({made:.0f} MB for the rows)")


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
