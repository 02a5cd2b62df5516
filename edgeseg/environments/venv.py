"""A venv of the target's own. `ready.json`, written last, says what is in it; without it there is no venv."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.data.index_cache import cache_folder
from edgeseg.environments.contract import Confinement, Environment
from edgeseg.environments.locked import locked
from edgeseg.environments.logged import Log
from edgeseg.environments.recipe import REQUIREMENTS, Recipe, recipe_of
from edgeseg.errors import EnvironmentMissingError
from edgeseg.files import make_folder, write_atomically

FOLDER_VARIABLE = "EDGESEG_ENVIRONMENTS"
READY = "ready.json"
PYTHON = "Scripts/python.exe" if os.name == "nt" else "bin/python"

Progress = Callable[[str], None]
"""Called with a line about what begins."""


@dataclass(frozen=True)
class VenvEnvironment(Environment):
    """A ready venv.

    Attributes:
        folder: of the venv.
    """

    folder: Path = Path()

    @property
    def kind(self) -> str:
        """``venv``."""
        return "venv"

    def describe(self) -> str:
        """The venv's interpreter."""
        return str(self.folder / PYTHON)

    def command(self, arguments: Sequence[str], confinement: Confinement) -> list[str]:
        """A process of that interpreter; limits are its caller's to enforce."""
        # Isolated: neither the caller's PYTHONPATH nor a checkout in the working folder may replace what is pinned.
        return [str(self.folder / PYTHON), "-I", "-m", "edgeseg", *arguments]


def environments_folder() -> Path:
    """``$EDGESEG_ENVIRONMENTS``, else ``environments`` in edgeseg's cache folder."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named).absolute()
    cache = cache_folder()
    if cache is None:
        raise EnvironmentMissingError(
            "there is no home folder to keep venvs in", hint=f"name one: export {FOLDER_VARIABLE}=FOLDER"
        )
    return cache.absolute() / "environments"


def find(target: str) -> VenvEnvironment | None:
    """The venv of a target; None where there is none, or one that was never finished.

    Raises:
        EnvironmentMissingError: it is outdated: made from other requirements, or for another edgeseg.
    """
    recipe = recipe_of(target)
    folder = environments_folder() / recipe.target
    try:
        ready: dict[str, Any] = json.loads((folder / READY).read_bytes())
        versions: dict[str, str] = ready["versions"]
    except (OSError, ValueError, KeyError):
        return None
    expected = _identity(recipe)
    changed = sorted(key for key, value in expected.items() if ready.get(key) != value)
    if not (folder / PYTHON).exists():
        changed.append("python")
    if changed:
        raise EnvironmentMissingError(
            f"the venv of {target!r} is outdated ({', '.join(changed)} changed): {folder}",
            hint=f"make it again: edgeseg targets install {target}",
        )
    return VenvEnvironment(target, versions, folder)


def install(target: str, python: Path | None, progress: Progress) -> VenvEnvironment:
    """Make the venv of a target, in place of an older one.

    Args:
        target: its name.
        python: the interpreter to make it with; None for this one.
        progress: told each step.

    Raises:
        EnvironmentMissingError: a step failed; nothing usable is left.
    """
    recipe = recipe_of(target)
    parent = make_folder(environments_folder())
    with locked(parent / f"{recipe.target}.lock"):
        folder, log = parent / recipe.target, Log(parent / f"{recipe.target}.log")
        # First of all: what is being replaced must not be used meanwhile.
        (folder / READY).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        progress(f"making the venv {folder}")
        log.run([str(python or sys.executable), "-m", "venv", str(folder)], f"making the venv of {recipe.target!r}")
        _fill(recipe, folder, log, progress)
        progress("checking it")
        found = _check(recipe, folder)
        write_atomically(folder / READY, json.dumps({**_identity(recipe), **found}, indent=1).encode())
    return VenvEnvironment(target, found["versions"], folder)


def _identity(recipe: Recipe) -> dict[str, Any]:
    """What a venv was made from; the keys are words for its user."""
    return {
        "requirements": recipe.sha256,
        "packages": recipe.versions,
        "code": recipe.frozen_code,
    }


def _fill(recipe: Recipe, folder: Path, log: Log, progress: Progress) -> None:
    pip = [str(folder / PYTHON), "-I", "-m", "pip", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory() as scratch:
        pins = Path(scratch) / REQUIREMENTS
        pins.write_text("\n".join([*recipe.requirements, *recipe.core]))
        if torch := recipe.torch():
            progress(f"installing {torch[0]}")
            log.run([*pip, "install", *torch], f"installing {torch[0]}")
        progress("installing " + ", ".join(recipe.requirements or recipe.core))
        log.run([*pip, "install", "-r", str(pins)], f"installing the requirements of {recipe.target!r}")
        for package in recipe.packages:
            progress(f"installing {package.name} {package.version}")
            where = ["-e", package.requirement]
            if not package.editable:
                where = [str(package.make_wheel(Path(scratch), log))]
            log.run([*pip, "install", *where], f"installing {package.name}")
    log.run([*pip, "check"], f"checking that the packages of {recipe.target!r} fit each other")


def _check(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Interpreter and tool versions, as `edgeseg targets check` tells them in there."""
    command = [str(folder / PYTHON), "-I", "-m", "edgeseg", "targets", "check", recipe.target, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentMissingError(
            f"the target {recipe.target!r} does not work in its new venv {folder}:\n{done.stderr.strip()}",
            hint=f"something that it needs is not in its {REQUIREMENTS}",
        )
    row: dict[str, Any] = json.loads(done.stdout)
    return {"python": row["python"], "versions": row["versions"]}
