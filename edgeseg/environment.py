"""What is installed here, told from package metadata without importing anything."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from edgeseg.target import EnvReport


def report_packages(to_run: tuple[str, ...], to_build: tuple[str, ...], extra: str) -> EnvReport:
    """Whether some packages are there.

    Args:
        to_run: packages without which an artifact does not run.
        to_build: packages that exporting needs besides.
        extra: the pip extra that installs all of them.
    """
    versions = {name: found for name in (*to_run, *to_build) if (found := installed_version(name))}
    problems = tuple(
        f"{name} is not installed, which {purpose} needs"
        for names, purpose in ((to_run, "running"), (to_build, "exporting"))
        for name in names
        if name not in versions
    )
    return EnvReport(problems, f"pip install 'edgeseg[{extra}]'" if problems else "", versions)


def installed_version(name: str, module: str = "") -> str:
    """The version of a package, empty where it is not installed or cannot be imported.

    Args:
        name: of the distribution.
        module: what it is imported as; `name` where empty.
    """
    try:
        return version(name) if find_spec(module or name) else ""
    except PackageNotFoundError:
        return "unknown"
