"""A container engine for tests: the private one that `../shared/docker/engine.sh` starts, where it can."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeseg.environments.recipe import recipe_of

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT.parent / "shared" / "docker" / "engine.sh"
START_LIMIT_S = 600


def engine_variables() -> dict[str, str]:
    """Environment variables by which the engine is found; skips the test where there is none.

    The engine stays up: other tests, and other checkouts on the machine, share it.
    """
    if not SCRIPT.is_file():
        pytest.skip("needs ../shared/docker/engine.sh, which a public clone does not have")
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("starting a container engine needs Linux and root")
    program = 'set -e; lines=$("$0" up); eval "$lines"; printf "%s\\0%s" "$DOCKER_HOST" "$PATH"'
    # Not through pipes for stderr: the daemon that it leaves behind would hold them open.
    done = subprocess.run(["bash", "-c", program, SCRIPT], stdout=subprocess.PIPE, text=True, timeout=START_LIMIT_S)
    assert done.returncode == 0, f"{SCRIPT} up failed: see its output above"
    host, path = done.stdout.split("\0")
    return {"DOCKER_HOST": host, "PATH": path}


def fill_wheelhouse(target: str, folder: Path) -> Path:
    """The wheels of a target and of the core, as ``make wheelhouse`` gets them."""
    recipe = recipe_of(target)
    command = "-m pip download -q --only-binary :all: --python-version 3.11 -d"
    wanted = [*recipe.requirements, *recipe.core]
    subprocess.run([sys.executable, *command.split(), folder, *wanted], check=True, timeout=600)
    return folder
