"""Tasks on a Ray cluster: what they ask for, and waiting for them while nodes come and go."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import ray

from edgeseg.build import ray_node
from edgeseg.build.ray_content import Contents
from edgeseg.errors import EnvironmentMissingError, StageError

RETRIES = 3
"""How often what ran on a lost worker is started elsewhere."""

WAIT_S, LOOK_S = 1.0, 5.0
"""Between two looks whether the build was ended, and at what the cluster has."""

PATIENCE_S = 120.0
"""A cluster that has lost the last worker of a kind may get it back: a board needs a minute to start again."""

CPU = "CPU"


class Tasks:
    """Starts tasks and waits for them, from many threads."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self.contents = Contents(ray.put)
        self._patience_s = patience_s
        self._stopped = threading.Event()
        self._run, self._look = ray.remote(_run), ray.remote(ray_node.look)

    def stop(self) -> None:
        """End all tasks; whoever waits for one gets an error."""
        self._stopped.set()

    def has(self, resource: str) -> bool:
        """Whether some worker offers a resource now; the empty one is a CPU."""
        return float(ray.cluster_resources().get(resource or CPU, 0)) >= 1

    def room(self) -> int:
        """How many tasks can run at once, at least 1."""
        return max(int(sum(_counts(ray.cluster_resources()))), 1)

    def run(self, job: Mapping[str, Any], resource: str, memory_mb: float) -> tuple[dict[str, Any], dict[str, bytes]]:
        """`ray_node.run` on a node.

        Args:
            job: what to run.
            resource: that the node must offer; empty for any with a free CPU.
            memory_mb: that the stage may use, 10^6 bytes.

        Raises:
            EnvironmentMissingError: no node offers the resource.
            ray.exceptions.RayError: it was lost with its worker more often than it may be, or its code broke.
        """
        if self._stopped.is_set():
            raise _ended()
        task = self._run.options(**_asked(resource, memory_mb))
        result: tuple[dict[str, Any], dict[str, bytes]] = self._result(task.remote(job), resource)
        return result

    def look(self, format_name: str, isolation: str, engine: str, resource: str) -> dict[str, Any]:
        """`ray_node.look` on a node that offers a resource.

        Raises:
            EnvironmentMissingError: no node does, or it has another edgeseg or none.
        """
        task = self._look.options(**_asked(resource, 0))
        try:
            found: dict[str, Any] = self._result(task.remote(format_name, isolation, engine), resource)
        except ray.exceptions.RayError as error:
            raise EnvironmentMissingError(
                f"the cluster's workers cannot say what they have of {format_name!r}: {words_of(error)}",
                hint="install this version of edgeseg on every node, for its `ray start` to find",
            ) from error
        return found

    def _result(self, task: Any, resource: str) -> Any:
        seen = look = time.monotonic()
        while True:
            if ray.wait([task], timeout=WAIT_S)[0]:
                return ray.get(task)
            if self._stopped.is_set():
                ray.cancel(task, force=True)
                raise _ended()
            now = time.monotonic()
            if now - look < LOOK_S:
                continue
            look = now
            seen = now if self.has(resource) else seen
            if now - seen >= self._patience_s:
                ray.cancel(task, force=True)
                raise no_worker(resource)


def _ended() -> StageError:
    return StageError("run_failed", "the build was ended")


def no_worker(resource: str) -> EnvironmentMissingError:
    """The error for a cluster without a worker of a kind."""
    offered = f" --resources='{{\"{resource}\": 1}}'" if resource else ""
    what = f"the resource {resource!r}" if resource else "a CPU"
    return EnvironmentMissingError(
        f"no worker of the Ray cluster offers {what}",
        hint=f"start one on such a machine: ray start --address=HEAD:6379{offered}",
    )


def words_of(error: Exception) -> str:
    """What broke, in one line: Ray's own texts are long, and hold the trace of a remote exception."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0] if lines else 'no more is known'}"


def _counts(resources: Mapping[str, float]) -> Iterator[float]:
    """CPUs and custom resources; Ray names nodes and bytes among them, too."""
    for name, count in resources.items():
        if name not in ("memory", "object_store_memory") and not name.startswith("node:"):
            yield count


def _run(job: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
    return ray_node.run(job, ray.get, ray.get_runtime_context().get_node_id())


def _asked(resource: str, memory_mb: float) -> dict[str, Any]:
    """A task's options: the device alone, or a CPU with memory on any node, the free ones first."""
    if resource:
        return {"num_cpus": 0, "resources": {resource: 1}, "max_retries": RETRIES}
    asked = {"num_cpus": 1, "max_retries": RETRIES, "scheduling_strategy": "SPREAD"}
    # A limit above what any node has would wait for ever: such a stage gets the largest node to itself.
    largest = max((node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]), default=0)
    return {**asked, "memory": int(min(memory_mb * 1e6, largest))} if memory_mb else asked
