"""`val` beside the peer's on the same pictures in one run: wall time, and what of it lies outside the network.

    python benchmarks/val.py DATA.json MODEL... --yolo DATA.yaml --peer-python PYTHON --peer-weights W

DATA.yaml is the same set in YOLO-seg form (`edgeseg data convert DATA.json DIR --to yolo-seg`), which the peer reads.
Both letterbox to a square of 640, take score 0.001 and IoU 0.7. The peer runs as it does for COCO results (masks at the
pictures' own size, written as RLE): without that it judges small masks by a measure of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

OURS = """
import json, sys, time
from pathlib import Path
import edgeseg
from edgeseg.data.open import open_dataset
from edgeseg.validate import validate
if __name__ == "__main__":
    model_path, threads, workers, data = sys.argv[1:]
    model = edgeseg.load(model_path, threads=int(threads))
    start = time.perf_counter()
    metrics = validate(model, open_dataset(Path(data)), workers=int(workers))
    wall = time.perf_counter() - start
    print(json.dumps({"wall": wall, "network": metrics.detections.milliseconds["network"] / 1e3,
                      "pictures": metrics.pictures, "box": metrics.box.map, "mask": metrics.seg.map,
                      "steps": metrics.speed}))
"""

PEER = """
import json, sys, time
import torch
from ultralytics import YOLO
if __name__ == "__main__":
    model_path, threads, workers, data = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = YOLO(model_path, task="segment")
    start = time.perf_counter()
    found = model.val(data=data, imgsz=640, rect=False, batch=1, conf=0.001, iou=0.7, workers=int(workers),
                      plots=False, verbose=False, save_json=True)
    wall = time.perf_counter() - start
    print(json.dumps({"wall": wall, "inference": found.speed["inference"], "steps": found.speed,
                      "box": float(found.box.map), "mask": float(found.seg.map)}))
"""


def run(python: str, program: str, arguments: list[str], threads: int, folder: Path) -> dict[str, float]:
    """One process; its last line is JSON."""
    script = folder / "run.py"
    script.write_text(program)
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [python, str(script), *arguments], env=environment, capture_output=True, text=True, check=False, cwd=folder
    )
    if done.returncode:
        sys.exit(f"{arguments[0]}: {done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Measure and print one line each, then the ratios."""
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--yolo", type=Path)
    parser.add_argument("--peer-python")
    parser.add_argument("--peer-weights", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    count = len(json.loads(args.data.read_bytes())["images"])
    common = [str(args.threads), str(args.workers)]
    outside: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model in args.models:
            found = run(
                sys.executable, OURS, [str(model.resolve()), *common, str(args.data.resolve())], args.threads, folder
            )
            outside[model.name] = _line(model.name, found, count, found["network"] / count)
        if args.peer_python:
            weights = [str(args.peer_weights.resolve()), *common, str(args.yolo.resolve())]
            found = run(args.peer_python, PEER, weights, args.threads, folder)
            peer = _line("peer", found, count, found["inference"] / 1e3)
            for model_name, (wall, rest) in outside.items():
                print(f"{model_name} / peer: whole {wall / peer[0]:.3f}, outside the network {rest / peer[1]:.3f}")


def _line(name: str, found: dict[str, float], count: int, network: float) -> tuple[float, float]:
    wall = found["wall"] / count
    print(
        f"{name}: {1e3 * wall:.0f} ms a picture, {1e3 * (wall - network):.0f} ms outside the network; "
        f"box AP {found['box']:.4f}, mask AP {found['mask']:.4f}; steps {found['steps']}"
    )
    return wall, wall - network


if __name__ == "__main__":
    main()
