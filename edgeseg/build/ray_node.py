"""What runs on a node of a cluster: a look at what it has, and one stage in a process of its own."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeseg import registry
from edgeseg.build.ray_content import BLOBS, BlobStore, on_node, places_on_node
from edgeseg.build.session import ProcessSession
from edgeseg.build.stage import StageRequest, StageResult, attempt
from edgeseg.card.limits import Limits
from edgeseg.data.index_cache import cache_folder
from edgeseg.environments.choose import choose
from edgeseg.environments.contract import Environment
from edgeseg.environments.process import ProcessEnvironment
from edgeseg.errors import EnvironmentMissingError
from edgeseg.files import make_folder

WORK = "ray"
"""Folder in a node's cache folder where stages work; a stage's own ends with it."""

TAKEN_BY_RAY = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
"""Variables that Ray sets for a task from what the task asks: to one thread, and to no GPU where it asks a custom
resource. A stage must find the machine as it does in a build there."""


def look(format_name: str, isolation: Any, engine: str) -> dict[str, Any]:
    """What a node would run a target's stages in; `missing` and `hint` where there is nothing."""
    host = platform.node()
    with _as_started():
        try:
            found = choose(registry.entries()[format_name], isolation, engine)
            deferral = registry.load(format_name).deferral()
        except EnvironmentMissingError as error:
            return {"host": host, "missing": error.message, "hint": error.hint}
        except KeyError:
            return {"host": host, "missing": f"no target {format_name!r} is installed", "hint": "install it there"}
    return {
        "host": host,
        "missing": "",
        "kind": found.kind,
        "description": found.describe(),
        "versions": dict(found.versions),
        "deferral": deferral,
    }


def run(job: Mapping[str, Any], get: Callable[[Any], bytes], node: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Run a stage.

    Args:
        job: request, failure, limits, format, isolation, engine; files as path and sha256; references by sha256.
        get: a reference to its bytes.
        node: what names this node in the facts.

    Returns:
        The result as plain values with the sha256 of each file, and the bytes of all files that the stage wrote, by
        their path in the request's folder.
    """
    with _fresh_root() as root, _as_started():
        request = _mapped(root, job["request"])
        store = BlobStore(root.parent.parent / BLOBS)
        moved = {"fetched": 0, "fetched_bytes": 0}

        def work(_: StageRequest) -> StageResult:
            for path, sha256 in job["files"]:
                size = store.place(sha256, Path(on_node(root, path)), functools.partial(get, job["contents"][sha256]))
                moved["fetched"] += size > 0
                moved["fetched_bytes"] += size
            return _run_there(root, request, job)

        result = attempt(request, work, job["failure"])
        facts = {**result.facts, "ran_on": {"node": node, "host": platform.node(), **moved}}
        return _packed(root, request, replace(result, facts=facts), store)


def _run_there(root: Path, request: StageRequest, job: Mapping[str, Any]) -> StageResult:
    environment = _environment(request, job)
    with ProcessSession(environment, job["format"], make_folder(request.folder.parent), [root]) as session:
        return session.run(request, job["failure"], Limits(**job["limits"]))


def _environment(request: StageRequest, job: Mapping[str, Any]) -> Environment:
    """Where it runs on this node.

    Raises:
        EnvironmentMissingError: there is none, or one with other tools than the stage's key names.
    """
    if not job["format"]:
        return ProcessEnvironment("")
    found = choose(registry.entries()[job["format"]], job["isolation"], job["engine"])
    names = sorted({*found.versions, *request.versions})
    other = [
        f"{name} {found.versions.get(name, 'none')} there, {request.versions.get(name, 'none')} in this build"
        for name in names
        if found.versions.get(name) != request.versions.get(name)
    ]
    if other:
        raise EnvironmentMissingError(
            f"the node {platform.node()} has other tools than this build was planned with: {'; '.join(other)}",
            hint="install the same versions on all nodes that run this target",
        )
    return found


def _mapped(root: Path, content: Mapping[str, Any]) -> StageRequest:
    """The driver's request with this node's paths."""
    inputs = {name: on_node(root, path) for name, path in content["inputs"].items()}
    places = places_on_node(root, content["places"])
    folder = on_node(root, content["folder"])
    return StageRequest.from_json({**content, "inputs": inputs, "places": places, "folder": folder})


def _packed(
    root: Path, request: StageRequest, result: StageResult, store: BlobStore
) -> tuple[dict[str, Any], dict[str, bytes]]:
    files, hashes = {}, {}
    for path in sorted(request.folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".json":
                # Reports name pictures by their path.
                data = data.replace(_as_json(root), b"")
            name = path.relative_to(request.folder).as_posix()
            files[name], hashes[name] = data, hashlib.sha256(data).hexdigest()
            if any(path.is_relative_to(output) for output in result.outputs.values()):
                store.keep(hashes[name], data)
    text = json.dumps(result.to_json(request.folder), default=str).encode().replace(_as_json(root), b"")
    return {"result": json.loads(text), "sha256": hashes}, files


def _as_json(root: Path) -> bytes:
    return json.dumps(str(root))[1:-1].encode()


@contextlib.contextmanager
def _fresh_root() -> Iterator[Path]:
    """A folder of this stage's own, on the file system of the node's store."""
    cache = cache_folder() or Path(tempfile.gettempdir()) / f"edgeseg-{os.getpid()}"
    parent = make_folder(cache.absolute() / WORK).resolve()
    _remove_left(parent)
    root = Path(tempfile.mkdtemp(dir=parent, prefix=f"{platform.node()}+{os.getpid()}+"))
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _remove_left(parent: Path) -> None:
    """Remove what killed stages of this host left."""
    import psutil

    for path in parent.glob(f"{platform.node()}+*"):
        pid = path.name.split("+")[-2]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _as_started() -> Iterator[None]:
    """The environment variables as this node was started with, for the block."""
    import psutil

    before = {name: os.environ.get(name) for name in TAKEN_BY_RAY}
    started: dict[str, str] = {}
    with contextlib.suppress(psutil.Error):
        started = psutil.Process(os.getppid()).environ()
    _set({name: started.get(name) for name in TAKEN_BY_RAY})
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
