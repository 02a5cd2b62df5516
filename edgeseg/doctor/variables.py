"""Environment variables that change what edgeseg does or how fast it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgeseg.card.data_paths import ROOT_VARIABLE
from edgeseg.data.index_cache import CACHE_VARIABLE
from edgeseg.doctor.finding import Finding
from edgeseg.spinning import WAIT_POLICY

SHOWN = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "EDGESEG_ENGINE", "EDGESEG_ENVIRONMENTS")


def check_variables(variables: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Those that are set, and what is wrong with them.

    Args:
        variables: name to value; None for those of this process.
    """
    values = os.environ if variables is None else variables
    yield _wait_policy(values.get(WAIT_POLICY, ""))
    for name, what in ((ROOT_VARIABLE, "data sets"), (CACHE_VARIABLE, "the cache")):
        if value := values.get(name, ""):
            yield _folder(name, value, what)
    for name in SHOWN:
        if name in values:
            yield _shown(name, values[name])


def _wait_policy(value: str) -> Finding:
    facts = {"name": WAIT_POLICY, "value": value}
    if value.upper() == "PASSIVE" or not value:
        # The command line sets it itself; a program that imports edgeseg does so, or threads spin.
        text = f"{WAIT_POLICY} is {value or 'not set'}: the command edgeseg limits how long threads spin, a program of "
        text += "yours that shares its processor should set it to PASSIVE"
        return Finding("variables", "ok", text, facts=facts)
    text = f"{WAIT_POLICY} is {value}: waiting threads spin, and two runtimes on one machine slow each other down"
    return Finding("variables", "note", text, f"export {WAIT_POLICY}=PASSIVE", facts=facts)


def _folder(name: str, value: str, what: str) -> Finding:
    facts = {"name": name, "value": value}
    path = Path(value)
    if path.is_dir():
        return Finding(
            "variables", "ok", f"{name} is {value}: where {what} {'lies' if 'cache' in what else 'lie'}", facts=facts
        )
    if name == CACHE_VARIABLE and not path.exists():
        return Finding("variables", "ok", f"{name} is {value}: it is made when it is needed", facts=facts)
    text = f"{name} is {value}, which is no folder: {what} are looked for there"
    return Finding("variables", "problem", text, f"export {name}=FOLDER, or unset {name}", facts=facts)


def _shown(name: str, value: str) -> Finding:
    if name == "CUDA_VISIBLE_DEVICES" and value.strip() in ("", "-1"):
        text = f"{name} is {value.strip() or 'empty'}: every GPU is hidden"
        return Finding("variables", "note", text, f"unset {name}", facts={"name": name, "value": value})
    return Finding("variables", "ok", f"{name} is {value}", facts={"name": name, "value": value})
