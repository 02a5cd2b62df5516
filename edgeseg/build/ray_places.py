"""Where on a cluster a target runs: told by the device catalogue's resource, and by what the nodes say they have."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgeseg.build.execute import ExecuteOptions, Place
from edgeseg.build.ray_session import Where
from edgeseg.build.ray_tasks import Tasks, no_worker
from edgeseg.card.resolve import ResolvedTarget
from edgeseg.devices import catalogue
from edgeseg.environments.contract import Confinement, Environment
from edgeseg.errors import EnvironmentMissingError


@dataclass(frozen=True)
class NodeEnvironment(Environment):
    """An environment of the nodes that a target runs on.

    Attributes:
        where: on the cluster.
        on_node: ``process``, ``venv`` or ``docker``, as the node said that was asked.
        description: of it there.
    """

    where: Where = Where()  # noqa: RUF009 - frozen
    on_node: str = "process"
    description: str = ""

    @property
    def kind(self) -> str:
        """As on the node."""
        return self.on_node

    def describe(self) -> str:
        """With the node's name."""
        return self.description

    def command(self, arguments: Sequence[str], confinement: Confinement) -> list[str]:
        """Refused: its commands are started by the node itself.

        Raises:
            EnvironmentMissingError: always.
        """
        raise EnvironmentMissingError(f"{self.description}: is on another machine", hint="run it there, by a session")


class Places:
    """Asks the nodes, each question once.

    Args:
        tasks: of the cluster.
    """

    def __init__(self, tasks: Tasks) -> None:
        self._tasks, self._lock = tasks, threading.Lock()
        self._known: dict[tuple[str, str], dict[str, Any]] = {}

    def find(self, target: ResolvedTarget, options: ExecuteOptions) -> Place:
        """The place of a target.

        Where the cluster has the device, its node says which tools count; other nodes take stages that do not need the
        device if they have the very same tools. Where it lacks the device, any node takes those stages, and the others
        say what is missing.

        Raises:
            EnvironmentMissingError: no node can run any of its stages.
        """
        resource = catalogue().resource_of(target.format, target.device)
        with self._lock:
            device = self._looked(target.format, resource, options) if resource else {}
            other = self._looked(target.format, "", options)
        good = [found for found in (device, other) if found and not found["missing"]]
        if not good or (device and device["missing"]):
            raise _missing(target, resource, device or other)
        anywhere = bool(other) and other.get("versions") == good[0]["versions"]
        where = Where(target.format, options.isolation, options.engine, resource, anywhere)
        environment = NodeEnvironment(
            target=target.format,
            versions=good[0]["versions"],
            where=where,
            on_node=good[0]["kind"],
            description=f"{good[0]['description']} on {good[0]['host']}",
        )
        # Without the device the stages that need it say so, and there is no bundle in their place.
        return Place(environment, good[0]["deferral"] if device or not resource else "")

    def _looked(self, format_name: str, resource: str, options: ExecuteOptions) -> dict[str, Any]:
        """What a node with a resource says; empty where there is no such node."""
        key = (format_name, resource)
        if key not in self._known and self._tasks.has(resource):
            self._known[key] = self._tasks.look(format_name, options.isolation, options.engine, resource)
        return self._known.get(key, {})


def _missing(target: ResolvedTarget, resource: str, found: dict[str, Any]) -> EnvironmentMissingError:
    if not found:
        return no_worker(resource)
    return EnvironmentMissingError(
        f"the node {found['host']} cannot run {target.format!r}: {found['missing']}", hint=found["hint"]
    )
