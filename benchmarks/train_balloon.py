"""Fine-tuning beside the peer in one run: validation AP and wall time of the whole process.

    python benchmarks/train_balloon.py DATA WEIGHTS [--peer-python PYTHON] [--epochs 10] [--seeds 0 1 2]

DATA is a folder with `annotations/train.json`, `annotations/val.json` and `images/`; WEIGHTS a YOLOv8n-seg checkpoint.
Both train at 320 px, batch 8, with the defaults of their recipe, and start as a fresh process; the wall time has
imports, reading, training and the validation of every epoch in it. Seeds and sides alternate, ours first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PEER = """
import json, sys
import torch
from ultralytics import YOLO
if __name__ == "__main__":
    weights, data, epochs, seed, threads, project = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = YOLO(weights)
    model.train(data=data, imgsz=320, batch=8, epochs=int(epochs), seed=int(seed), device="cpu", workers=int(threads),
                plots=False, verbose=False, project=project, name="run")
    found = model.val(data=data, imgsz=320, rect=False, plots=False, verbose=False, workers=0)
    print(json.dumps({"box": float(found.box.map), "mask": float(found.seg.map)}))
"""


def card(data: Path, weights: Path, epochs: int, seed: int) -> dict[str, Any]:
    """A card that trains as the peer is told to."""
    return {
        "schema": 1,
        "name": "balloon",
        "license": "Apache-2.0",
        "model": {"scale": "n", "classes": ["balloon"], "image_size": [320, 320]},
        "weights": {"path": str(weights)},
        "data": {
            "root": str(data),
            "train": {"annotations": "annotations/train.json", "images": "images/train"},
            "val": {"annotations": "annotations/val.json", "images": "images/val"},
        },
        "train": {"epochs": epochs, "batch": 8, "seed": seed},
        "targets": [{"format": "onnx"}],
    }


def ours(args: argparse.Namespace, seed: int, folder: Path) -> tuple[float, float, float]:
    """Seconds, box AP and mask AP of one training with edgeseg."""
    written = folder / f"card-{seed}.yaml"
    content = card(args.data.resolve(), args.weights.resolve(), args.epochs, seed)
    written.write_text(json.dumps(content))
    extra = [word for pair in args.set for word in ("--set", pair)]
    command = [
        sys.executable,
        "-m",
        "edgeseg",
        "train",
        str(written),
        "-o",
        str(folder / f"ours-{seed}"),
        "-q",
        "--json",
    ]
    seconds, text = _timed([*command, *extra], args.threads, folder)
    epochs = json.loads(text)["epochs"]
    best = next(epoch for epoch in reversed(epochs) if epoch["best"])
    return seconds, best["scores"]["box_ap"], best["scores"]["mask_ap"]


def peer(args: argparse.Namespace, seed: int, folder: Path, data: Path) -> tuple[float, float, float]:
    """Seconds, box AP and mask AP of one training with the peer; the AP is its own measure."""
    script = folder / "peer.py"
    script.write_text(PEER)
    words = [args.weights.resolve(), data, args.epochs, seed, args.threads, folder / f"peer-{seed}"]
    seconds, text = _timed([args.peer_python, str(script), *map(str, words)], args.threads, folder)
    found = json.loads(text.splitlines()[-1])
    return seconds, found["box"], found["mask"]


def yolo_form(data: Path, folder: Path) -> Path:
    """The set in the form that the peer reads, both parts in one folder."""
    for part in ("train", "val"):
        source = [str(data / f"annotations/{part}.json"), str(folder / part), "--images", str(data / f"images/{part}")]
        command = [sys.executable, "-m", "edgeseg", "data", "convert", *source]
        subprocess.run([*command, "--to", "yolo-seg", "--copy", "--split", part, "-q"], check=True)
    written = folder / "peer.yaml"
    found = {part: str(folder / part / "images" / part) for part in ("train", "val")}
    written.write_text(json.dumps({"path": str(folder), **found, "names": {"0": "balloon"}}))
    return written


def _timed(command: list[str], threads: int, folder: Path) -> tuple[float, str]:
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        sys.exit(f"{command[:4]}: {done.stderr[-3000:]}")
    return time.perf_counter() - start, done.stdout


def _summary(name: str, rows: list[tuple[float, float, float]]) -> None:
    for index, what in enumerate(("seconds", "box AP", "mask AP")):
        values = [row[index] for row in rows]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{name}: {what} mean {statistics.mean(values):.4f}, standard deviation {spread:.4f}")


def main() -> None:
    """Train, print a line for each training, then means and the ratio of the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--peer-python")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for our card")
    args = parser.parse_args()
    results: dict[str, list[tuple[float, float, float]]] = {"ours": [], "peer": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = yolo_form(args.data.resolve(), folder) if args.peer_python else folder
        for seed in args.seeds:
            results["ours"].append(ours(args, seed, folder))
            if args.peer_python:
                results["peer"].append(peer(args, seed, folder, data))
            for side, rows in results.items():
                if rows:
                    print(
                        f"seed {seed} {side}: {rows[-1][0]:.1f} s, box AP {rows[-1][1]:.4f}, mask AP {rows[-1][2]:.4f}"
                    )
    for side, rows in results.items():
        if rows:
            _summary(side, rows)
    if results["peer"]:
        ratio = sum(row[0] for row in results["ours"]) / sum(row[0] for row in results["peer"])
        print(f"wall time ours / peer: {ratio:.3f}")


if __name__ == "__main__":
    main()
