"""What runs JavaScript here: Node, a browser, and the npm packages of TensorFlow.js. Nothing is ever installed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path

from edgeseg.environment import report_packages
from edgeseg.environments.venv import environments_folder
from edgeseg.errors import EnvironmentMissingError
from edgeseg.target import EnvReport

from ..saved_model.sdk import PACKAGE, REMEDY, installed_tensorflow

PINS = Path(__file__).with_name("page") / "package.json"
LOCK = PINS.with_name("package-lock.json")
FOLDER = "tfjs-npm"
"""Beside the venvs, and not beside the code, which is read-only where it is installed for all users."""

CHROMIUM_VARIABLE = "EDGESEG_CHROMIUM"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
INSTALL_NODE = "install Node (Debian: apt-get install nodejs npm)"
INSTALL_CHROMIUM = (
    f"install it (Debian: apt-get install chromium), or name another one: export {CHROMIUM_VARIABLE}=PROGRAM"
)


def modules_folder() -> Path:
    """Where `node_modules` of the pinned packages lies.

    Raises:
        EnvironmentMissingError: there is no home folder, and no other is named.
    """
    return environments_folder() / FOLDER


def distribution(package: str) -> Path:
    """The folder of a package's built files."""
    return modules_folder() / "node_modules" / "@tensorflow" / package / "dist"


def install_command() -> str:
    """The line that puts the pinned packages into `modules_folder`."""
    folder, pins, lock = (shlex.quote(str(path)) for path in (modules_folder(), PINS, LOCK))
    return f"mkdir -p {folder} && cp {pins} {lock} {folder} && npm ci --ignore-scripts --prefix {folder}"


def module_problem() -> str:
    """What is missing of the npm packages; empty where all are there as pinned."""
    wanted: dict[str, str] = json.loads(PINS.read_bytes())["dependencies"]
    found = {name: _version(name) for name in wanted}
    absent = [name for name, version in found.items() if not version]
    if absent:
        return f"{len(absent)} of the {len(wanted)} npm packages of TensorFlow.js are not in {modules_folder()}"
    wrong = [f"{name} {found[name]}, expected {pin}" for name, pin in wanted.items() if found[name] != pin]
    return f"npm packages in {modules_folder()} are not as pinned: {'; '.join(wrong)}" if wrong else ""


def require_modules(purpose: str) -> Path:
    """The folder with the pinned packages.

    Raises:
        EnvironmentMissingError: they are not there.
    """
    if problem := module_problem():
        raise EnvironmentMissingError(f"{purpose}: {problem}", hint=install_command())
    return modules_folder()


def environment_report() -> EnvReport:
    """Whether all is here that exporting and running need."""
    packages = report_packages((), ("torch", "safetensors"), extra="build")
    tensorflow = installed_tensorflow()
    missing = {
        f"{PACKAGE} is not installed, which exporting needs": "" if tensorflow else REMEDY,
        "node is not installed, which running needs": "" if find_node() else INSTALL_NODE,
    }
    if problem := module_problem():
        missing[f"{problem}, which running and the page need"] = install_command()
    problems = (*packages.problems, *(text for text, remedy in missing.items() if remedy))
    # One environment has both torch and TensorFlow.
    remedies = [packages.remedy if tensorflow else "", *missing.values()]
    return EnvReport(problems, "; ".join(filter(None, remedies)), {**packages.versions, **tensorflow})


def find_node() -> str:
    """Path of Node; empty where there is none."""
    return shutil.which("node") or ""


def find_chromium() -> str:
    """``$EDGESEG_CHROMIUM``, else the first browser of `CHROMIUM_NAMES`; empty where there is none."""
    named = os.environ.get(CHROMIUM_VARIABLE, "")
    return next((path for name in ((named,) if named else CHROMIUM_NAMES) if (path := shutil.which(name))), "")


def _version(package: str) -> str:
    try:
        content = json.loads((modules_folder() / "node_modules" / package / "package.json").read_bytes())
        return str(content["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
