"""Seconds to open a data set of 100,000 labels, the first time and again, from both formats.

    python benchmarks/dataset_open.py [LABELS]

Three sets are made in a temporary folder: a COCO json and a YOLO-seg folder with 8 labels a picture, and a YOLO-seg
folder with one label a picture, which has eight times the files. A label has 30 points. Every opening is in a
process of its own, and its time includes the import; the cache is in the temporary folder too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH, POINTS, CLASSES = 480, 640, 30, 10

OPEN = """
import sys, time
start = time.perf_counter()
from pathlib import Path
from edgeseg.data.open import open_dataset
dataset = open_dataset(Path(sys.argv[1]))
print(len(dataset), len(dataset.arrays.ids), time.perf_counter() - start, time.process_time())
"""


def rings(labels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Star-shaped outlines, (labels, POINTS, 2) px, two decimals."""
    random = np.random.default_rng(0)
    turn = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    radius = random.uniform(0.5, 1, (labels, POINTS)) * random.uniform(5, 80, (labels, 1))
    centre = random.uniform([90, 90], [WIDTH - 90, HEIGHT - 90], (labels, 2))
    return (centre[:, None] + radius[..., None] * np.stack([np.cos(turn), np.sin(turn)], 1)).round(2)


def write_pictures(folder: Path, number: int) -> None:
    """So many small PNGs."""
    folder.mkdir(parents=True)
    _, data = cv2.imencode(".png", np.zeros((HEIGHT, WIDTH), np.uint8))
    for index in range(number):
        (folder / f"{index:012d}.png").write_bytes(data.tobytes())


def write_coco(folder: Path, labels: int, per_picture: int) -> Path:
    """A COCO set; the json has no picture files but the first, which is all that opening looks at."""
    write_pictures(folder / "images", 1)
    number = labels // per_picture
    images = [{"id": i, "file_name": f"{i:012d}.png", "height": HEIGHT, "width": WIDTH} for i in range(number)]
    annotations = []
    for index, ring in enumerate(rings(labels)):
        (x, y), (right, bottom) = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
        annotations.append(
            {
                "id": index + 1,
                "image_id": index // per_picture,
                "category_id": index % CLASSES + 1,
                "segmentation": [ring.ravel().tolist()],
                "bbox": [x, y, right - x, bottom - y],
                "area": 100.0,
                "iscrowd": 0,
            }
        )
    categories = [{"id": i + 1, "name": f"class {i}"} for i in range(CLASSES)]
    path = folder / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def write_yolo(folder: Path, labels: int, per_picture: int) -> Path:
    """A YOLO-seg set."""
    number = labels // per_picture
    write_pictures(folder / "images" / "val", number)
    (folder / "labels" / "val").mkdir(parents=True)
    values = rings(labels) / (WIDTH, HEIGHT)
    for index in range(number):
        lines = []
        for at in range(index * per_picture, (index + 1) * per_picture):
            lines.append(f"{at % CLASSES} " + " ".join(f"{value:.6f}" for value in values[at].ravel().tolist()))
        (folder / "labels" / "val" / f"{index:012d}.txt").write_text("\n".join(lines) + "\n")
    path = folder / "data.yaml"
    path.write_text("val: images/val\nnames: " + str([f"class {i}" for i in range(CLASSES)]))
    return path


def seconds(path: Path, cache: Path) -> tuple[str, str]:
    """What was opened, and the seconds that it took."""
    environment = {**os.environ, "EDGESEG_CACHE": str(cache)}
    command = [sys.executable, "-c", OPEN, str(path)]
    pictures, labels, wall, processor = subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout.split()
    return f"{labels} labels, {pictures} pictures", f"{float(wall):.2f} s ({float(processor):.2f} s of processor)"


def main() -> None:
    """Make the sets, open each twice, print."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "cache")
        for name, write, per_picture in (
            ("coco", write_coco, 8),
            ("yolo-seg", write_yolo, 8),
            ("yolo-seg, one label a file", write_yolo, 1),
        ):
            place = Path(folder, name)
            place.mkdir()
            path = write(place, wanted, per_picture)
            found, first = seconds(path, cache)
            _, second = seconds(path, cache)
            print(f"{name}: {found}: first {first}, second {second}")


if __name__ == "__main__":
    main()
