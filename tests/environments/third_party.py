"""A third party's target with one small dependency, installed as pip does it, but into a folder for PYTHONPATH."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PLAIN = Path(__file__).parents[1] / "conformance" / "plain_target.py"

PIN = "humanize==4.9.0"
"""Pure Python, small, and needed by nothing of ours: where it is found is the target's own environment."""

MODULE = """\
from edgeseg.environment import report_packages
from .plain import PlainTarget

class SmallTarget(PlainTarget):
    name = "small"

    def check_env(self):
        return report_packages(("humanize",), (), extra="small")

    def recognizes(self, path):
        return False

target = SmallTarget()
"""

PROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project]
name = "third-small"
version = "1.0"
[project.entry-points."edgeseg.targets"]
small = "third_small:target"
[tool.setuptools]
packages = ["third_small"]
package-data = {third_small = ["*"]}
"""


@dataclass(frozen=True)
class ThirdParty:
    """An installed third-party target.

    Attributes:
        source: its source tree.
        site: the folder of installed packages.
    """

    source: Path
    site: Path

    @property
    def requirements(self) -> Path:
        """The installed file."""
        return self.site / "third_small" / "requirements.txt"

    def edgeseg(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """`edgeseg ARGUMENTS` where the target is installed."""
        path = os.pathsep.join([str(self.site), *sys.path])
        environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200", **variables}
        command = [sys.executable, "-m", "edgeseg", *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def install_third_party(folder: Path) -> ThirdParty:
    """Write the source of the target ``small`` below `folder` and install it from there."""
    source, site = folder / "source", folder / "site"
    package = source / "third_small"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(MODULE)
    (package / "plain.py").write_text(PLAIN.read_text())
    (package / "requirements.txt").write_text(f"# What runs it.\n{PIN}  # pinned\n")
    (source / "pyproject.toml").write_text(PROJECT)
    command = "-m pip install -q --no-deps --no-build-isolation --no-index --target"
    subprocess.run([sys.executable, *command.split(), site, source], check=True, timeout=120)
    return ThirdParty(source, site)
