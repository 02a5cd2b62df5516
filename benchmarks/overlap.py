"""Pictures a second with one run of the network at a time, and with several under way, over the same folder.

    python benchmarks/overlap.py PHOTOS ARTIFACT [--hint bf16] [--requests 2] [--rounds 5] [--threads 2] [--limit N]

All ways are open in one process and take turns, photo file to instances; every way must find exactly the same. Of an
artifact whose runner keeps one run under way there is nothing to compare, and the program says so.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import edgeseg
from edgeseg.instances import Instances
from edgeseg.predict import PredictOptions, Result
from edgeseg.sources import open_sources

BASE = "one at a time"


def ways(requests: int) -> Mapping[str, dict[str, Any]]:
    """What to compare, the base first: run options."""
    return {
        BASE: {"mode": "latency", "requests": 1},
        f"latency, {requests} requests": {"mode": "latency", "requests": requests},
        "throughput": {"mode": "throughput"},
    }


def main() -> None:
    """Print a line for each way; exit 1 where one finds something else."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--hint", default="f32")
    parser.add_argument("--requests", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, default=0, help="use the first N photos only")
    args = parser.parse_args()
    files = sorted(str(path) for path in args.photos.iterdir() if path.suffix in (".jpg", ".png"))[: args.limit or None]
    models = {
        name: edgeseg.load(args.artifact, threads=args.threads, hint=args.hint, **options)
        for name, options in ways(args.requests).items()
    }
    if all(model.runner.in_flight == 1 for model in models.values()):
        sys.exit(f"{args.artifact}: its runner keeps one run under way, whatever is asked")
    wanted = [found for _, found in passed(models[BASE], files)[1]]
    seconds: dict[str, list[float]] = {name: [] for name in models}
    differ: set[str] = set()
    # Another order in every round, so that none always comes after the same.
    orders = itertools.cycle(itertools.permutations(models))
    for _, order in zip(range(args.rounds), orders, strict=False):
        for name in order:
            taken, results = passed(models[name], files)
            seconds[name].append(taken)
            same = [source for source, _ in results] == files
            if not same or not all(map(equal, wanted, (found for _, found in results))):
                differ.add(name)
    print(f"{len(files)} photos, {args.rounds} rounds, {args.threads} threads, {args.hint}, {os.cpu_count()} cores")
    for name, taken in seconds.items():
        ratios = [base / own for base, own in zip(seconds[BASE], taken, strict=True)]
        found = "OTHER RESULTS" if name in differ else "the same results"
        print(
            f"{name}: {len(files) / median(taken):.1f} pictures a second ({len(files) / min(taken):.1f} at best), "
            f"{median(ratios):.2f} of the base ({min(ratios):.2f} to {max(ratios):.2f} by round), {found}"
        )
    sys.exit(bool(differ))


def passed(model: edgeseg.Model, files: list[str]) -> tuple[float, list[tuple[str, Instances]]]:
    """Seconds of a pass over the folder, reading included, and what was found in each file."""
    start = time.perf_counter()
    found = []
    for result in model.predict_frames(open_sources(files), PredictOptions()):
        if not isinstance(result, Result):
            sys.exit(f"{result.source}: {result.error}")
        found.append((result.source, result.instances))
    return time.perf_counter() - start, found


def equal(ours: Instances, theirs: Instances) -> bool:
    """Whether two pictures' instances are the same to the bit."""
    parts = [(one.xyxy.tobytes(), one.scores.tobytes(), one.class_ids.tobytes()) for one in (ours, theirs)]
    masks = [[mask.bitmap.tobytes() for mask in one.masks or ()] for one in (ours, theirs)]
    return parts[0] == parts[1] and masks[0] == masks[1]


if __name__ == "__main__":
    main()
