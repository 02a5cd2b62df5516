"""Milliseconds of `import edgeseg` and of `edgeseg --help`, and that neither imports a heavy package.

python benchmarks/startup.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

HEAVY = ("torch", "onnxruntime", "cv2", "onnx", "pydantic")
RUNS = 9


def seconds(command: list[str]) -> float:
    """Median wall time of a whole process."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return median(times)


def main() -> None:
    """Print three medians and the heavy packages found."""
    edgeseg = str(Path(sys.executable).parent / "edgeseg")
    bare = seconds([sys.executable, "-c", "pass"])
    print(f"python -c pass         {1e3 * bare:.0f} ms")
    print(f"import edgeseg         {1e3 * seconds([sys.executable, '-c', 'import edgeseg']):.0f} ms")
    print(f"edgeseg --help         {1e3 * seconds([edgeseg, '--help']):.0f} ms")
    code = "import sys, edgeseg; print(sorted(set(sys.modules)))"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    found = [name for name in HEAVY if f"'{name}'" in modules]
    print("heavy packages imported:", ", ".join(found) or "none")


if __name__ == "__main__":
    main()
