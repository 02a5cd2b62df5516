"""A bundle, verified where PyTorch is not: a fresh environment with the core install and one runtime.

    python benchmarks/bundle_without_torch.py WEIGHTS PICTURES... [--runtime onnxruntime]

Exports WEIGHTS to ONNX, bundles it with up to eight of PICTURES, makes a virtual environment in a temporary folder
from constraints.txt, checks that it has no torch, and prints size, seconds and outcome of `edgeseg verify` there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CORE = ("numpy", "opencv-python-headless", "pydantic", "click", "pyyaml", "rich")


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a command from outside the checkout, without what this process has on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as elsewhere:
        return subprocess.run(
            [str(word) for word in words], cwd=elsewhere, env=environment, capture_output=True, text=True, check=False
        )


def checked(*words: object) -> str:
    """Standard output of a command that must succeed."""
    done = run(*words)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def fresh_environment(folder: Path, runtime: str) -> Path:
    """A virtual environment with the core install and one runtime; returns its interpreter."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = (python, "-m", "pip", "install", "-q", "--disable-pip-version-check")
    checked(*pip, "-c", ROOT / "constraints.txt", *CORE, runtime)
    checked(*pip, "setuptools>=77")
    checked(*pip, "--no-deps", "--no-build-isolation", "-e", ROOT)
    return python


def main() -> None:
    """Print the proof."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("weights", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--runtime", default="onnxruntime")
    asked = parser.parse_args()
    weights, pictures = asked.weights.resolve(), [path.resolve() for path in asked.pictures]
    with tempfile.TemporaryDirectory(prefix="edgeseg-proof-") as name:
        folder = Path(name)
        here = (sys.executable, "-m", "edgeseg")
        artifact = checked(*here, "export", weights, "-f", "onnx", "-o", folder).strip()
        named = [word for path in pictures for word in ("--pictures", path)]
        start = time.perf_counter()
        facts: dict[str, Any] = json.loads(checked(*here, "bundle", artifact, "--against", weights, *named, "--json"))
        print(f"artifact {Path(artifact).stat().st_size / 1e6:.1f} MB, bundle {facts['megabytes']:.1f} MB with")
        print(
            f"{facts['pictures']} pictures and {facts['instances']} instances, in {time.perf_counter() - start:.1f} s"
        )
        python = fresh_environment(folder / "venv", asked.runtime)
        if run(python, "-c", "import torch").returncode == 0:
            sys.exit("the fresh environment has torch: nothing would be proven")
        print("packages there: " + ", ".join(checked(python, "-m", "pip", "list", "--format=freeze").split()))
        start = time.perf_counter()
        done = run(python, "-m", "edgeseg", "verify", facts["path"], "--json", "-")
        seconds = time.perf_counter() - start
        if not done.stdout:
            sys.exit(f"edgeseg verify: exit {done.returncode}\n{done.stderr}")
        result = json.loads(done.stdout)
        print(f"verify without torch: {result['outcome']}, exit {done.returncode}, {seconds:.1f} s")
        for gate in result["gates"]:
            print(
                f"  {gate['name']}: {gate['value']:.3g}, limit {gate['limit']:g}, {'met' if gate['met'] else 'NOT MET'}"
            )
        if result["benchmark"]:
            latency = result["benchmark"]["latency_ms"]
            print(f"  {result['benchmark']['runs']} runs: p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms")
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
