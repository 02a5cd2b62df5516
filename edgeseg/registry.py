"""Targets by entry point. A broken or absent one becomes an entry that explains itself when used."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from edgeseg.devices import catalogue
from edgeseg.errors import ArtifactError, EnvironmentMissingError, UsageError, did_you_mean
from edgeseg.target import EnvReport, Options, Target

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
    found = {point.name: _entry(point) for point in entry_points(group=GROUP)}
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
        raise EnvironmentMissingError(
            f"the target {name!r} cannot work here: " + "; ".join(report.problems), hint=report.remedy
        )
    return target


def recognize(path: Path) -> Target:
    """The target whose format `path` holds, told from the bytes."""
    if not path.exists():
        raise ArtifactError(f"{path}: no such file or folder")
    for entry in entries().values():
        if entry.target is not None and entry.target.recognizes(path):
            return entry.target
    known = [entry.name for entry in entries().values() if entry.target is not None]
    raise ArtifactError(
        f"{path}: neither weights (.safetensors, .pt) nor an artifact of a registered target",
        hint="registered targets: " + ", ".join(known),
    )


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


def _entry(point: EntryPoint) -> Entry:
    package = point.dist.name if point.dist else point.value
    try:
        target = point.load()
    except Exception as error:  # noqa: BLE001 - a third party's import may fail in any way; the entry says how
        problem = f"the target {point.name!r} of the package {package!r} does not import: {error!r}"
        return Entry(point.name, "broken", None, EnvReport((problem,), f"reinstall or update {package!r}"))
    if not isinstance(target, Target) or target.name != point.name:
        problem = (
            f"the entry point {point.name!r} of the package {package!r} gives {target!r}, "
            f"expected an edgeseg.target.Target named {point.name!r}"
        )
        return Entry(point.name, "broken", None, EnvReport((problem,), f"report it to the authors of {package!r}"))
    return Entry(target.name, target.summary, target, target.check_env())


def _absent(name: str, summary: str) -> Entry:
    problem = f"no target is registered for the format {name!r} in this installation"
    remedy = "it has not landed in this version of edgeseg; update, or install a package that registers it"
    return Entry(name, summary, None, EnvReport((problem,), remedy))
