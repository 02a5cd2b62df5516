"""Targets by entry point. A broken or absent one becomes an entry that explains itself when used."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from edgeseg.devices import catalogue
from edgeseg.errors import ArtifactError, EnvironmentMissingError, UsageError, did_you_mean
from edgeseg.target import EnvReport, Options, Target

logger = logging.getLogger(__name__)

GROUP = "edgeseg.targets"


@dataclass(frozen=True)
class Entry:
    """One format in `edgeseg targets`.

    Attributes:
        name: the format.
        summary: one line about it.
        target: None where the format is known but has no working target here.
        report: whether it is usable here, and what to do where it is not.
    """

    name: str
    summary: str
    target: Target | None
    report: EnvReport


@functools.cache
def entries() -> dict[str, Entry]:
    """All formats that the device catalogue or an entry point names, sorted; broken ones included."""
    points: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        points.setdefault(point.name, []).append(point)
    found = {name: _entry(name, registered) for name, registered in points.items()}
    for name, summary in catalogue().formats.items():
        found.setdefault(name, _absent(name, summary))
    return dict(sorted(found.items()))


def load(name: str) -> Target:
    """The target of a format.

    Raises:
        UsageError: nobody knows this format.
        EnvironmentMissingError: it is known, but no working target is registered here.
    """
    entry = entries().get(name)
    if entry is None:
        raise UsageError(f"unknown format {name!r}", hint=did_you_mean(name, entries()))
    if entry.target is None:
        raise EnvironmentMissingError(entry.report.problems[0], hint=entry.report.remedy)
    return entry.target


def load_usable(name: str) -> Target:
    """`load`, and the target's SDK is there."""
    target = load(name)
    report = target.check_env()
    if not report.usable:
        error = EnvironmentMissingError(
            f"the target {name!r} cannot work here: " + "; ".join(report.problems), hint=report.remedy
        )
        error.target = name
        raise error
    return target


def recognize(path: Path) -> Target:
    """The target whose format `path` holds, told from the bytes."""
    if not path.exists():
        raise ArtifactError(f"{path}: no such file or folder")
    for entry in entries().values():
        if entry.target is not None and _recognizes(entry.target, path):
            return entry.target
    known = [entry.name for entry in entries().values() if entry.target is not None]
    raise ArtifactError(
        f"{path}: neither weights (.safetensors, .pt) nor an artifact of a registered target",
        hint="registered targets: " + ", ".join(known),
    )


def _recognizes(target: Target, path: Path) -> bool:
    try:
        return target.recognizes(path)
    except Exception:
        logger.warning("the target %r failed on %s and was passed over", target.name, path, exc_info=True)
        return False


def parse_run_options(target: Target, pairs: dict[str, object]) -> Options:
    """Run options of `target` from parsed ``--option KEY=VALUE`` pairs."""
    return parse_options(target.run_options_type, pairs, f"run option of {target.name}")


def parse_options(kind: type[Options], pairs: dict[str, object], what: str) -> Options:
    """Validate `pairs` against `kind`; an error names the option and the supported ones."""
    from pydantic import ValidationError

    unknown = sorted(pairs.keys() - kind.model_fields.keys())
    if unknown:
        raise UsageError(f"unknown {what}: {unknown[0]!r}", hint=did_you_mean(unknown[0], kind.model_fields))
    try:
        return kind.model_validate(pairs)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{what} {where}: {first['msg']}, got {first['input']!r}") from error


def _entry(name: str, points: list[EntryPoint]) -> Entry:
    packages = sorted(point.dist.name if point.dist else point.value for point in points)
    owner = f"the package {packages[0]!r}"
    if len(points) > 1:
        return _broken(name, f"the packages {packages} all register it", f"uninstall all but one of {packages}")
    try:
        target = points[0].load()
        problem = _contract_problem(target, name)
        report = EnvReport() if problem else target.check_env()
    except Exception as error:  # noqa: BLE001 - a third party's code may fail in any way; the entry says how
        return _broken(name, f"{owner} fails to provide it: {error!r}", f"reinstall or update {packages[0]!r}")
    if problem:
        return _broken(name, f"{owner} {problem}", f"report it to the authors of {packages[0]!r}")
    return Entry(name, target.summary, target, report)


def _contract_problem(target: object, name: str) -> str:
    """What core would stumble over later; empty for a target that has what core reads."""
    if not isinstance(target, Target):
        return f"gives {target!r}, expected an instance of edgeseg.target.Target"
    missing = [attribute for attribute in Target.__annotations__ if not hasattr(target, attribute)]
    if missing:
        return f"gives a target without {', '.join(missing)}"
    return "" if target.name == name else f"gives a target named {target.name!r}, expected {name!r}"


def _broken(name: str, problem: str, remedy: str) -> Entry:
    return Entry(name, "broken", None, EnvReport((f"the target {name!r} cannot be used: {problem}",), remedy))


def _absent(name: str, summary: str) -> Entry:
    problem = f"no target is registered for the format {name!r} in this installation"
    remedy = "it has not landed in this version of edgeseg; update, or install a package that registers it"
    return Entry(name, summary, None, EnvReport((problem,), remedy))
