"""Run the tests of one target in the environment of its own, which is made where there is none or an outdated one.

    python tests/targets/own/run.py NAME [PYTEST OPTION]...

The target's venv gets pytest, at the version that the other tests run with, and runs the conformance suite of NAME and
`test_NAME*.py` of this folder.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

from edgeseg.environments import venv
from edgeseg.errors import EnvironmentMissingError

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def main() -> int:
    """The exit code of pytest."""
    name, *options = sys.argv[1:]
    python = str(ready(name).folder / venv.PYTHON)
    pytest = f"pytest=={importlib.metadata.version('pytest')}"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", pytest]
    subprocess.run(install, check=True)
    tests = ["tests/conformance/test_conformance.py", *map(str, sorted(HERE.glob(f"test_{name}*.py")))]
    # Only the classes of this target, and all of its own files.
    chosen = ["-k", f"Test_{name} or test_{name}"]
    # Packages that an SDK drags in bring plugins for pytest, which warn, and a warning is an error here.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [python, "-m", "pytest", *chosen, *tests, *options]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def ready(name: str) -> venv.VenvEnvironment:
    """The target's venv, made anew where it is outdated."""
    try:
        found = venv.find(name)
    except EnvironmentMissingError as error:
        print(error.message, flush=True)
        found = None
    return found or venv.install(name, None, lambda line: print(line, flush=True))


if __name__ == "__main__":
    raise SystemExit(main())
