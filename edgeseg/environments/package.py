"""Where pip got a package that is installed here, so that it can install the same one elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from edgeseg.environments.logged import Log

BUILD_LEFTOVERS = {"build", "dist"}
"""What setuptools leaves in a source tree, and would pack into the next wheel."""

SETUPTOOLS_NEEDED = 77
"""Major version in our own ``[build-system]``: where it is here, a wheel of edgeseg is built without a download."""


@dataclass(frozen=True)
class Package:
    """An installed distribution and its origin.

    Attributes:
        name: of the distribution.
        version: installed here.
        requirement: what pip installs: a folder, a file, a URL or ``name==version``.
        editable: installed from a folder whose changes take effect at once.
    """

    name: str
    version: str
    requirement: str
    editable: bool = False

    def make_wheel(self, folder: Path, log: Log) -> Path:
        """Build or fetch its wheel into `folder`; the same source gives the same bytes."""
        with tempfile.TemporaryDirectory() as scratch:
            source, fresh = self.requirement, Path(scratch) / "wheel"
            flags = ["--no-deps", "--disable-pip-version-check"]
            if Path(source).is_dir():
                source = str(_without_leftovers(Path(source), Path(scratch) / "source"))
                flags += ["--no-build-isolation"] if self.name == "edgeseg" and _can_build_here() else []
            command = [sys.executable, "-m", "pip", "wheel", *flags, "-w", str(fresh), source]
            # 1 January 1980, the earliest time in a zip: an unchanged wheel leaves an image's layers unchanged.
            environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800"}
            log.run(command, f"making the wheel of {self.name!r}", environment)
            (wheel,) = fresh.glob("*.whl")
            return Path(shutil.move(wheel, folder / wheel.name))


def installed_package(name: str) -> Package:
    """An installed distribution, by its `direct_url.json` (PEP 610) where it has one."""
    found = list(distributions(name=name))
    if not found:
        raise PackageNotFoundError(name)
    # A source tree on the path holds an `egg-info`, which knows no origin and hides the real entry.
    origins = [text for one in found if (text := one.read_text("direct_url.json"))]
    number = found[0].version
    by_index = Package(name, number, f"{name}=={number}")
    if not origins:
        return by_index
    origin: dict[str, Any] = json.loads(origins[0])
    url = origin["url"]
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        return Package(name, number, f"{name} @ {vcs['vcs']}+{url}@{vcs['commit_id']}")
    if urlsplit(url).scheme != "file":
        return Package(name, number, f"{name} @ {url}")
    path = Path(url2pathname(urlsplit(url).path))
    if not path.exists():
        return by_index
    return Package(name, number, str(path), editable=bool(origin.get("dir_info", {}).get("editable")))


def _without_leftovers(source: Path, folder: Path) -> Path:
    """A view of a source tree in which a build neither finds nor leaves anything of its own."""
    folder.mkdir()
    for path in source.iterdir():
        if path.name not in BUILD_LEFTOVERS and path.suffix != ".egg-info":
            (folder / path.name).symlink_to(path, target_is_directory=path.is_dir())
    return folder


def _can_build_here() -> bool:
    try:
        return int(version("setuptools").partition(".")[0]) >= SETUPTOOLS_NEEDED
    except (PackageNotFoundError, ValueError):
        return False
