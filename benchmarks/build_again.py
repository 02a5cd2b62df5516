"""How long a build takes when nothing has changed, beside the first one.

    python benchmarks/build_again.py CARD WEIGHTS [BUILD ARGUMENTS...]

Whole processes, imports and all; the second build is timed five times. It must run no stage.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPEATS = 5


def main() -> None:
    """Print seconds of the first build, median and extremes of the second."""
    card, weights, *extra = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "edgeseg", "build", card, "--weights", weights, "-o", f"{folder}/out", *extra]
        first, _ = timed(command)
        runs = [timed(command) for _ in range(REPEATS)]
        times = [seconds for seconds, _ in runs]
        nothing = all("nothing had to run again" in text for _, text in runs)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    print(f"first build {first:.1f} s; {size / 1e6:.1f} MB in its folder")
    print(f"again {statistics.median(times):.2f} s (of {REPEATS}: {min(times):.2f} to {max(times):.2f})")
    print("no stage ran" if nothing else "A STAGE RAN")


def timed(command: list[str]) -> tuple[float, str]:
    """Seconds and stdout of a build that passes."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - start, done.stdout


if __name__ == "__main__":
    main()
