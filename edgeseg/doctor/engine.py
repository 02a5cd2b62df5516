"""The container engine: which one, whether its daemon answers, and whether it needs root."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from edgeseg.doctor.finding import Finding
from edgeseg.environments.engine import find_engine
from edgeseg.errors import EnvironmentMissingError

LIMIT_S = 10.0
"""A daemon that takes longer is of no use to a build either."""


def check_engine() -> Finding:
    """The engine that a build would use. None is needed: targets run in this interpreter or in venvs, too."""
    try:
        engine = find_engine()
    except EnvironmentMissingError as error:
        return Finding("engine", "note", f"{error.message}: stages cannot run in images", error.hint)
    name = " ".join(engine)
    try:
        done = subprocess.run(
            [*engine, "info", "--format", "{{json .}}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _silent(engine, f"no answer within {LIMIT_S:.0f} s")
    except OSError as error:
        return _silent(engine, f"it cannot be started: {error.strerror}")
    facts = engine_facts(done.stdout)
    if not facts["version"]:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return _silent(engine, said[-1] if said else f"exit code {done.returncode}")
    rootless = "rootless" if facts["rootless"] else "with root"
    return Finding("engine", "ok", f"{name} {facts['version']}, {rootless}", facts={"engine": list(engine), **facts})


def engine_facts(answer: bytes) -> dict[str, Any]:
    """Version and whether it is rootless, from ``info --format '{{json .}}'`` of docker or podman; no version where
    the daemon did not answer.

    The keys are those of the engines' own APIs: Docker Engine API 1.50 (GET /info: ServerVersion, SecurityOptions)
    and podman-info(1) (version.Version, host.security.rootless).
    """
    try:
        info = json.loads(answer)
    except ValueError:
        info = {}
    if not isinstance(info, dict):
        info = {}
    podman = _mapping(info, "version").get("Version")
    if podman:
        return {"version": str(podman), "rootless": bool(_mapping(_mapping(info, "host"), "security").get("rootless"))}
    options = info.get("SecurityOptions") or []
    return {"version": str(info.get("ServerVersion") or ""), "rootless": any("rootless" in str(one) for one in options)}


def _mapping(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = content.get(key)
    return found if isinstance(found, Mapping) else {}


def _silent(engine: Sequence[str], why: str) -> Finding:
    name = " ".join(engine)
    text = f"{name} is there, but its daemon does not answer: {why}"
    remedy = "start it (systemctl start docker, or open Docker Desktop), or name another with EDGESEG_ENGINE"
    return Finding("engine", "note", text, remedy, facts={"engine": list(engine), "version": "", "rootless": None})
