"""Median milliseconds per step over a folder of photos; a peer beside us in the same run.

    python benchmarks/predict.py PHOTOS MODEL... [--peer-python PYTHON --peer-weights W] [--rounds 2] [--threads 2]

Everything runs in turn, round by round, one process per model: two runtimes in one process fight for the cores.
The peer is run as a black box by the interpreter of its own environment, with masks at the photos' own size.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

OURS = """
import json, sys, time
import edgeseg
from edgeseg.data.picture import read_picture
from edgeseg.sources import Frame
from edgeseg.predict import PredictOptions
model_path, threads, *photos = sys.argv[1:]
model = edgeseg.load(model_path, threads=int(threads))
options = PredictOptions()
rows = []
for path in photos[:3] + photos:
    start = time.perf_counter()
    picture = read_picture(__import__("pathlib").Path(path))
    read = time.perf_counter() - start
    (result,) = model.predict_frames([Frame(picture, path)], options)
    times = result.times
    rows.append({"read": 1e3 * read, "letterbox": times.letterbox, "network": times.network,
                 "decode+nms": times.decode, "masks": times.masks, "instances": len(result.instances)})
print(json.dumps(rows[3:]))
"""

PEER = """
import json, sys, time
import cv2, torch
from ultralytics import YOLO
model_path, threads, *photos = sys.argv[1:]
torch.set_num_threads(int(threads))
model = YOLO(model_path, task="segment")
rows = []
for path in photos[:3] + photos:
    start = time.perf_counter()
    picture = cv2.imread(path)
    read = time.perf_counter() - start
    result = model.predict(picture, imgsz=640, rect=False, conf=0.25, iou=0.7, retina_masks=True, verbose=False)[0]
    speed = result.speed
    rows.append({"read": 1e3 * read, "letterbox": speed["preprocess"], "network": speed["inference"],
                 "post-processing": speed["postprocess"], "instances": len(result)})
print(json.dumps(rows[3:]))
"""

NOT_TIMES = ("instances",)
OUTSIDE = ("letterbox", "decode+nms", "masks", "post-processing")
"""Steps outside the network: what an implementer of the SDK is responsible for."""


def measure(python: str, program: str, model: str, threads: int, photos: list[str]) -> list[dict[str, float]]:
    """One process, one pass over the photos."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(threads)}
    command = [python, "-c", program, model, str(threads), *photos]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"{model}: {run.stderr[-2000:]}")
    rows: list[dict[str, float]] = json.loads(run.stdout.splitlines()[-1])
    return rows


def main() -> None:
    """Measure, print a table and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--peer-python")
    parser.add_argument("--peer-weights")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, default=0, help="use the first N photos only")
    args = parser.parse_args()
    photos = sorted(str(path) for path in args.photos.iterdir() if path.suffix in (".jpg", ".png"))
    photos = photos[: args.limit or None]
    jobs = [(Path(model).name, sys.executable, OURS, model) for model in args.models]
    if args.peer_python:
        jobs.append(("peer", args.peer_python, PEER, args.peer_weights))
    rows: dict[str, list[dict[str, float]]] = {name: [] for name, *_ in jobs}
    for _ in range(args.rounds):
        for name, python, program, model in jobs:
            rows[name] += measure(python, program, model, args.threads, photos)
    print(f"{len(photos)} photos, {args.rounds} rounds, {args.threads} threads; median milliseconds a photo")
    outside = {name: report(name, found) for name, found in rows.items()}
    for name in list(outside)[:-1] if args.peer_python else []:
        print(f"outside the network, peer / {name}: {outside['peer'] / outside[name]:.2f}")


def report(name: str, rows: list[dict[str, float]]) -> float:
    """Print one model's medians; returns the median of what lies outside the network."""
    outside = median(sum(row[step] for step in OUTSIDE if step in row) for row in rows)
    steps = ", ".join(f"{step} {median(row[step] for row in rows):.2f}" for step in rows[0] if step not in NOT_TIMES)
    print(f"{name}: {steps}; outside the network {outside:.2f}; instances {sum(row['instances'] for row in rows):.0f}")
    return outside


if __name__ == "__main__":
    main()
