"""A target's stages on the nodes of a Ray cluster: their files move by hash, and a lost node's stage runs elsewhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from edgeseg.build.ray_content import files_of
from edgeseg.build.ray_tasks import RETRIES, Tasks, no_worker, words_of
from edgeseg.build.stage import StageRequest, StageResult
from edgeseg.build.steps import STEPS
from edgeseg.card.limits import Limits
from edgeseg.environments.contract import Isolation
from edgeseg.errors import EdgesegError, EnvironmentMissingError, StageError
from edgeseg.files import write_atomically


@dataclass(frozen=True)
class Where:
    """Where on the cluster a target's stages run.

    Attributes:
        format: of the target; empty for stages of the core.
        isolation: how they run on their node.
        engine: container engine there.
        resource: that a node with the device offers; empty where any node will do.
        anywhere: stages that do not need the device run on any node.
    """

    format: str = ""
    isolation: Isolation = "auto"
    engine: str = ""
    resource: str = ""
    anywhere: bool = True


class RaySession:
    """Runs the stages of one target, each as a task of its own.

    Args:
        tasks: of the cluster.
        where: what its nodes must be.
    """

    def __init__(self, tasks: Tasks, where: Where) -> None:
        self._tasks, self._where = tasks, where

    def run(self, request: StageRequest, failure: str, limits: Limits) -> StageResult:
        """Run a stage on some node; what it wrote is in the request's folder then."""
        try:
            return self._run(request, failure, limits)
        except EnvironmentMissingError as error:
            return StageResult("env_missing", error.message, error.hint)
        except ray.exceptions.RayTaskError as error:
            hint = "it broke outside of the stage: is this version of edgeseg on every node?"
            return StageResult(failure, f"on the cluster: {words_of(error)}", hint, log=str(error)[-4000:])
        except ray.exceptions.RayError as error:
            message = f"its worker was lost, and {RETRIES} times again elsewhere: {words_of(error)}"
            return StageResult(failure, message, "look at the cluster: ray status, and its logs on the nodes")
        except EdgesegError as error:
            return StageResult(failure, error.message, error.hint)

    def close(self) -> None:
        """Nothing stays on a node between two stages but the content that it may need again."""

    def _run(self, request: StageRequest, failure: str, limits: Limits) -> StageResult:
        where = self._where
        resource = where.resource if STEPS[request.stage].on_device or not where.anywhere else ""
        if not self._tasks.has(resource):
            raise no_worker(resource)
        files = files_of(request)
        job = {
            "request": request.to_json(),
            "failure": failure,
            "limits": limits.model_dump(),
            "format": where.format,
            "isolation": where.isolation,
            "engine": where.engine,
            "files": [(file.path, file.sha256) for file in files],
            "contents": {file.sha256: self._tasks.contents.reference(file) for file in files},
        }
        answer, written = self._tasks.run(job, resource, limits.memory_mb)
        for name, data in written.items():
            _write(request.folder, name, data, answer["sha256"][name])
        return StageResult.from_json(answer["result"], request.folder)


def _write(folder: Path, name: str, data: bytes, sha256: Any) -> None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise StageError("run_failed", f"a node sent {name!r}, which is outside of the stage's folder")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise StageError("run_failed", f"{name}: arrived with another content than was sent", hint="build again")
    write_atomically(path, data)
