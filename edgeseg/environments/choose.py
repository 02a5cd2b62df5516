"""Where a target's stages run: as asked, else here, else in its venv, else in its image."""

from __future__ import annotations

from collections.abc import Callable

from edgeseg.environments import image, venv
from edgeseg.environments.contract import Environment, Isolation
from edgeseg.environments.process import ProcessEnvironment
from edgeseg.errors import EnvironmentMissingError
from edgeseg.registry import Entry


def choose(entry: Entry, isolation: Isolation, engine: str = "") -> Environment:
    """The environment of a target.

    Args:
        entry: of the registry.
        isolation: ``auto`` takes the first that is there of process, venv and docker.
        engine: container engine, as `edgeseg.environments.engine.find_engine` takes it.

    Raises:
        EnvironmentMissingError: there is none; the hint lists the commands that make one.
    """
    if entry.target is None:
        raise EnvironmentMissingError(entry.report.problems[0], hint=entry.report.remedy)
    ways: dict[str, Callable[[], Environment]] = {
        "process": lambda: _process(entry),
        "venv": lambda: _venv(entry),
        "docker": lambda: _image(entry, engine),
    }
    tried = list(ways) if isolation == "auto" else [isolation]
    missing: list[EnvironmentMissingError] = []
    for way in tried:
        try:
            return ways[way]()
        except EnvironmentMissingError as error:
            missing.append(error)
    if len(missing) == 1:
        raise missing[0]
    raise EnvironmentMissingError(
        f"the target {entry.name!r} has no environment to run in: " + "; ".join(error.message for error in missing),
        hint=", or ".join(dict.fromkeys(error.hint for error in missing if error.hint)),
    )


def _process(entry: Entry) -> Environment:
    if not entry.report.usable:
        raise EnvironmentMissingError("; ".join(entry.report.problems), hint=entry.report.remedy)
    return ProcessEnvironment(entry.name, entry.report.versions)


def _venv(entry: Entry) -> Environment:
    found = venv.find(entry.name)
    if found is None:
        raise EnvironmentMissingError(
            f"the target {entry.name!r} has no venv", hint=f"edgeseg targets install {entry.name}"
        )
    return found


def _image(entry: Entry, engine: str) -> Environment:
    found = image.find(entry.name, engine)
    if found is None:
        raise EnvironmentMissingError(
            f"the target {entry.name!r} has no image", hint=f"edgeseg targets image {entry.name}"
        )
    return found
