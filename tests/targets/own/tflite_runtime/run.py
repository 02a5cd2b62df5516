"""Export in the environment of the tflite target, run in one of tflite-runtime.

python -m tests.targets.own.tflite_runtime.run [PYTEST OPTION]...
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import venv as standard_venv
from pathlib import Path

from edgeseg.environments import venv
from tests.targets.own.run import ready

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
NAME = "tflite-runtime"


def main() -> int:
    """The exit code of pytest."""
    exporting = str(ready("tflite").folder / venv.PYTHON)
    running = _environment()
    with tempfile.TemporaryDirectory(prefix="edgeseg-products-") as folder:
        subprocess.run([exporting, "-m", f"{__package__}.products", folder], cwd=ROOT, check=True)
        test = [running, "-m", "pytest", str(HERE / "test_products.py"), *sys.argv[1:]]
        environment = {**os.environ, "EDGESEG_TFLITE_PRODUCTS": folder}
        return subprocess.run(test, cwd=ROOT, env=environment, check=False).returncode


def _environment() -> str:
    """The interpreter of a venv with the pinned packages, made anew where they have changed."""
    folder = venv.environments_folder() / NAME
    python, stamp = str(folder / venv.PYTHON), folder / "requirements.sha256"
    requirements = HERE / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != digest:
        standard_venv.create(folder, clear=True, with_pip=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pytest = f"pytest=={importlib.metadata.version('pytest')}"
        subprocess.run([*pip, "-r", str(requirements), pytest, "setuptools>=77"], check=True)
        subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)], check=True)
        subprocess.run([python, "-m", "pip", "check"], check=True)
        stamp.write_text(digest)
    return python


if __name__ == "__main__":
    raise SystemExit(main())
