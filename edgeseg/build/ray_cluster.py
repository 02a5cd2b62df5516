"""`edgeseg build --executor ray`: the stages of many cards on a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.build.execute import Build, ExecuteOptions, execute
from edgeseg.build.plan import Plan
from edgeseg.build.session import Session
from edgeseg.build.target_build import Listener
from edgeseg.card.resolve import ResolvedTarget
from edgeseg.environments.contract import Environment
from edgeseg.errors import EdgesegError, EnvironmentMissingError, UsageError, needs_extra

if TYPE_CHECKING:
    from edgeseg.build.ray_tasks import Tasks

logger = logging.getLogger(__name__)

ADDRESS_VARIABLE = "RAY_ADDRESS"

CONNECT_S = 10.0


def execute_on_cluster(plans: Sequence[Plan], options: ExecuteOptions, listener: Listener) -> list[Build]:
    """Run plans on the cluster of `$RAY_ADDRESS`, or the one on this machine; in their order.

    Args:
        plans: each with a folder of its own.
        options: as for a build here; how many targets run at once is told by the cluster's room.
        listener: is told of every stage, with the card's name before the target where there are several.

    Raises:
        EnvironmentMissingError: Ray is not installed, or there is no cluster.
        EdgesegError: the first card's that could not be built; the others are, with their reports.
    """
    folders = [plan.folder for plan in plans]
    if twice := next((folder for folder in folders if folders.count(folder) > 1), None):
        raise UsageError(f"{twice}: two of these cards build there", hint="give their cards other names")
    with connected() as tasks:
        done = _run_all(plans, _on_cluster(tasks, options), _safe(listener), tasks)
    return _builds(plans, done)


@contextlib.contextmanager
def connected() -> Iterator[Tasks]:
    """The cluster's tasks; a connection that the caller has made is used and left.

    Raises:
        EnvironmentMissingError: Ray is not installed, or there is no cluster.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise needs_extra("ray", "ray", "--executor ray") from error
    from edgeseg.build.ray_tasks import Tasks

    own = not ray.is_initialized()
    if own:
        _connect(ray, os.environ.get(ADDRESS_VARIABLE) or "auto")
    try:
        yield Tasks()
    finally:
        if own:
            ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        _reach(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise EnvironmentMissingError(
            f"there is no Ray cluster to reach at {address!r}: {(str(error).splitlines() or [repr(error)])[0]}",
            hint=f"start one: ray start --head; or name one: export {ADDRESS_VARIABLE}=HEAD:6379",
        ) from error
    finally:
        # Ray takes the signal; the command line ends a build by it, as by Ctrl-C.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _reach(address: str) -> None:
    """Open and close a connection to ``host:port``: where nobody listens, Ray itself tries for minutes.

    Raises:
        OSError: nobody listens.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()


def _on_cluster(tasks: Tasks, options: ExecuteOptions) -> ExecuteOptions:
    from edgeseg.build.ray_places import NodeEnvironment, Places
    from edgeseg.build.ray_session import RaySession, Where

    def session(
        environment: Environment, target: ResolvedTarget | None, scratch: Path, readable: Sequence[Path]
    ) -> Session:
        return RaySession(tasks, environment.where if isinstance(environment, NodeEnvironment) else Where())

    # The nodes' memory is the cluster's to give out, not this machine's.
    return replace(options, session=session, place=Places(tasks).find, memory_mb=math.inf)


def _run_all(plans: Sequence[Plan], options: ExecuteOptions, listener: Listener, tasks: Tasks) -> list[Future[Build]]:
    """All plans to their end, whatever becomes of one."""
    names = len(plans) > 1

    def one(plan: Plan) -> Build:
        def tell(target: str, stage: str, outcome: str) -> None:
            listener(f"{plan.card.card.name} {target}".strip() if names else target, stage, outcome)

        # Threads that only wait: the cluster starts what it has room for.
        return execute(plan, replace(options, jobs=max(len(plan.targets), 1)), tell)

    with ThreadPoolExecutor(tasks.room()) as pool:
        done = [pool.submit(one, plan) for plan in plans]
        try:
            for future in done:
                future.exception()
        except BaseException:
            tasks.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return done


def _builds(plans: Sequence[Plan], done: Sequence[Future[Build]]) -> list[Build]:
    errors = [(plan, error) for plan, future in zip(plans, done, strict=True) if (error := future.exception())]
    good = [future.result() for future in done if future.exception() is None]
    if not errors:
        return good
    from edgeseg.report.build_report import write_reports

    for build in good:
        _, page = write_reports(build)
        logger.info("%s: built, %s", build.plan.card.card.name, page)
    for plan, error in errors:
        if len(plans) > 1:
            logger.error("%s: %s", plan.card.path, error if isinstance(error, EdgesegError) else repr(error))
    # A bug of ours comes first: it shows its trace.
    raise next((error for _, error in errors if not isinstance(error, EdgesegError)), errors[0][1])


def _safe(listener: Listener) -> Listener:
    """The listener, called by one thread at a time."""
    lock = threading.Lock()

    def tell(*words: Any) -> None:
        with lock:
            listener(*words)

    return tell
