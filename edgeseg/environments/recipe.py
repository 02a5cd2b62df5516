"""What a target's own environment is made of: its pinned requirements, the core's, edgeseg, the target's package."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

from edgeseg import registry
from edgeseg.build.code_version import code_version
from edgeseg.environments.package import Package, installed_package
from edgeseg.errors import EnvironmentMissingError
from edgeseg.files import sha256_of_folder

EDGESEG = "edgeseg"
REQUIREMENTS = "requirements.txt"


@dataclass(frozen=True)
class Recipe:
    """How to make a target's environment.

    Attributes:
        target: its name, or that of the target whose environment serves it.
        requirements: pinned lines of that target.
        core: pinned lines of edgeseg's own dependencies, without those that the target pins otherwise.
        packages: edgeseg, and the target's distribution where that is another one.
        folder: of the target's package.
        code: package name to a digest of its code as it is here: in a source tree a release tells nothing.
    """

    target: str
    requirements: tuple[str, ...]
    core: tuple[str, ...]
    packages: tuple[Package, ...]
    folder: Path
    code: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """Of all pinned lines."""
        return hashlib.sha256("\n".join([*self.requirements, "", *self.core]).encode()).hexdigest()

    @property
    def versions(self) -> dict[str, str]:
        """Of edgeseg and of the target's package."""
        return {package.name: package.version for package in self.packages}

    @property
    def frozen_code(self) -> dict[str, str]:
        """`code` of the packages that are not editable: a venv has the others as they are at any time."""
        return {package.name: self.code[package.name] for package in self.packages if not package.editable}

    def torch(self) -> tuple[str, ...]:
        """The line that names torch, if any: pip gets it alone first, so that its index cannot win over others."""
        return tuple(line for line in self.requirements if _name(line) == "torch")


def recipe_of(target: str) -> Recipe:
    """The recipe of a registered target.

    Raises:
        UsageError: nobody knows this format.
        EnvironmentMissingError: it has no working target here, or that brings no requirements.
    """
    target = registry.load(target).capabilities.environment or target
    module_name = type(registry.load(target)).__module__
    # The registry has seen to it that there is one; a source tree on the path may list it a second time.
    point = next(iter(entry_points(group=registry.GROUP, name=target)))
    owner = point.dist.name if point.dist else EDGESEG
    folder = _package_folder(point.module)
    if folder is None or not (folder / REQUIREMENTS).is_file():
        raise EnvironmentMissingError(
            f"the target {target!r} brings no {REQUIREMENTS} in its package, which an environment of its own needs",
            hint=f"install its SDK here, or ask the authors of {owner!r} for the file",
        )
    requirements = _lines((folder / REQUIREMENTS).read_text())
    pinned = {_name(line) for line in requirements}
    core = _lines(files("edgeseg.environments").joinpath("core.txt").read_text())
    code = {EDGESEG: code_version(module_name if owner == EDGESEG else "")}
    if owner != EDGESEG:
        code[owner] = sha256_of_folder(folder, leave_out=set(folder.rglob("__pycache__/*")))
    return Recipe(
        target=target,
        requirements=requirements,
        core=tuple(line for line in core if _name(line) not in pinned),
        packages=tuple(installed_package(name) for name in code),
        folder=folder,
        code=code,
    )


def _package_folder(module: str) -> Path | None:
    """Folder of the package that `module` is or lies in; None for a module on its own."""
    is_package = hasattr(importlib.import_module(module), "__path__")
    package = module if is_package else module.rpartition(".")[0]
    return Path(str(files(package))) if package else None


def _lines(text: str) -> tuple[str, ...]:
    # As pip reads them: a number sign within a word belongs to a URL.
    stripped = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return tuple(line for line in stripped if line)


def _name(requirement: str) -> str:
    """The normalized name in a requirement line."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s=<>!~;@\[]", requirement, maxsplit=1)[0]).lower()
