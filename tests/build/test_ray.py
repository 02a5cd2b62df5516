"""A build on a real cluster of this machine: a head that runs nothing, and two workers with caches of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from edgeseg.build.execute import Build, ExecuteOptions, execute
from edgeseg.build.plan import Plan, make_plan
from edgeseg.build.ray_cluster import execute_on_cluster
from edgeseg.card.load import load_card
from edgeseg.card.resolve import resolve
from edgeseg.errors import EnvironmentMissingError, UsageError
from edgeseg.files import sha256_of
from edgeseg.testing import write_tiny_card

pytest.importorskip("ray", reason="needs Ray: pip install 'edgeseg[ray]'")

pytestmark = pytest.mark.slow

BOARD = "jetson-orin-nano"
"""The resource of one of the workers."""

WAIT_S = 120.0


@dataclass
class Cluster:
    """The cluster's own handle, each worker's handle by the folder of its cache, and its id by that."""

    handle: Any
    workers: dict[Path, Any] = field(default_factory=dict)

    def add(self, cache: Path, **offered: Any) -> None:
        variables = {"EDGESEG_CACHE": str(cache)}
        self.workers[cache] = self.handle.add_node(num_cpus=2, env_vars=variables, **offered)

    def id_of(self, cache: Path) -> str:
        return str(self.workers[cache].node_id)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    from ray.cluster_utils import Cluster as LocalCluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        head = {"num_cpus": 0, "include_dashboard": False}
        started = Cluster(LocalCluster(initialize_head=True, head_node_args=head))
        try:
            started.add(tmp_path_factory.mktemp("plain"))
            started.add(tmp_path_factory.mktemp("board"), resources={BOARD: 1})
            patch.setenv("RAY_ADDRESS", started.handle.address)
            yield started
        finally:
            started.handle.shutdown()


def _plan(folder: Path, weights: Path, name: str, output: str) -> Plan:
    card = write_tiny_card(folder / f"{name}.yaml", weights, "onnx")
    text = card.read_text().replace("name: tiny", f"name: {name}")
    card.write_text(f"{text}  - {{format: torchscript}}\nlimits: {{memory_mb: 3000}}\n")
    return make_plan(resolve(load_card(card)), weights_given=False, output=folder / output)


def _ran_on(build: Build, target: int, stage: str) -> dict[str, Any]:
    found: dict[str, Any] = build.targets[target].stages[stage]["ran_on"]
    return found


@pytest.fixture(scope="module")
def by_device(cluster: Cluster, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A target for the device of one worker, and one for a device that none has."""
    plan = _plan(tmp_path_factory.mktemp("devices"), tiny_weights, "devices", "out")
    there, absent = plan.targets
    targets = (replace(there, device=BOARD), replace(absent, device="jetson-agx-orin"))
    return execute_on_cluster([replace(plan, targets=targets)], ExecuteOptions(), lambda *_: None)[0]


def test_stages_on_a_device_run_on_the_worker_that_offers_it(by_device: Build, cluster: Cluster) -> None:
    assert by_device.targets[0].outcome == "passed"
    board = cluster.id_of(list(cluster.workers)[1])
    assert [_ran_on(by_device, 0, stage)["node"] for stage in ("verify", "benchmark")] == [board, board]


def test_device_that_no_worker_offers_is_said_with_the_command(by_device: Build) -> None:
    target = by_device.targets[1]
    assert (target.outcome, target.skipped) == ("env_missing", ["validate", "benchmark"])
    assert target.message == "no worker of the Ray cluster offers the resource 'jetson-agx-orin'"
    assert target.hint.endswith("""ray start --address=HEAD:6379 --resources='{"jetson-agx-orin": 1}'""")
    # What needs no device was done.
    assert target.artifact is not None
    assert target.artifact.is_file()
    assert list(target.stages) == ["export", "inspect", "verify", "gates"]


@dataclass(frozen=True)
class Survived:
    """Two builds from which one worker was taken: which one, and the other's id."""

    builds: list[Build]
    local: Build
    killed: Path
    left: Path
    survivor: str
    told: list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def survived(
    by_device: Build, cluster: Cluster, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Survived:
    folder = tmp_path_factory.mktemp("two")
    plans = [_plan(folder, tiny_weights, name, name) for name in ("one", "other")]
    told: list[tuple[str, str, str]] = []
    with ThreadPoolExecutor(1) as pool:
        built = pool.submit(execute_on_cluster, plans, ExecuteOptions(), lambda *words: told.append(words))
        killed, left = _stage_at_work(list(cluster.workers))
        cluster.handle.remove_node(cluster.workers[killed], allow_graceful=False)
        builds = built.result(timeout=4 * WAIT_S)
    survivor = next(cluster.id_of(cache) for cache in cluster.workers if cache != killed)
    local = execute(_plan(folder, tiny_weights, "one", "local"), ExecuteOptions(jobs=2))
    return Survived(builds, local, killed, left, survivor, told)


def _stage_at_work(caches: list[Path]) -> tuple[Path, Path]:
    """A worker's cache, and the folder there of an export whose process has its request and has not answered."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        for cache in caches:
            for request in (cache / "ray").glob("**/session-*/export/request.json"):
                if not request.with_name("answer.json").exists():
                    return cache, next(path for path in request.parents if path.parent == cache / "ray")
        time.sleep(0.02)
    raise AssertionError(f"no export ran within {WAIT_S:g} s")


def test_all_targets_pass_though_a_worker_was_killed_in_a_stage(survived: Survived) -> None:
    # Its folder is still there: the stage did not come to its end.
    assert survived.left.is_dir()
    outcomes = [(target.target.id, target.outcome) for build in survived.builds for target in build.targets]
    assert outcomes == [("onnx-fp32", "passed"), ("torchscript-fp32", "passed")] * 2
    last = [_ran_on(build, target, "benchmark")["node"] for build in survived.builds for target in (0, 1)]
    assert set(last) == {survived.survivor}


@pytest.mark.parametrize("target", [0, 1], ids=["onnx", "torchscript"])
def test_artifacts_are_those_of_a_build_here(survived: Survived, target: int) -> None:
    found = [build.targets[target].artifact for build in (survived.builds[0], survived.local)]
    assert len({sha256_of(path) for path in found if path is not None}) == 1


def test_content_is_fetched_once_by_a_node(survived: Survived) -> None:
    runs = [_ran_on(build, target, "export") for build in survived.builds for target in (0, 1)]
    # An export reads the weights alone. At most two run at once, before the node has them.
    assert [run["fetched"] for run in runs if run["node"] == survived.survivor].count(0) >= 2


def test_listener_is_told_the_card(survived: Survived) -> None:
    assert ("one onnx-fp32", "export", "passed") in survived.told
    assert ("other torchscript-fp32", "benchmark", "passed") in survived.told


def test_stage_whose_workers_are_all_lost_fails_in_words(
    survived: Survived, cluster: Cluster, tiny_weights: Path, tmp_path: Path
) -> None:
    plan = _plan(tmp_path, tiny_weights, "lost", "out")
    killed: set[int] = set()
    with ThreadPoolExecutor(1) as pool:
        plans = [replace(plan, targets=plan.targets[:1])]
        built = pool.submit(execute_on_cluster, plans, ExecuteOptions(), lambda *_: None)
        while not built.done():
            # A stage's folder is named by host and process.
            pids = {int(path.name.split("+")[-2]) for cache in cluster.workers for path in (cache / "ray").iterdir()}
            for pid in pids - killed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed |= pids
            time.sleep(0.02)
    target = built.result()[0].targets[0]
    assert target.outcome == "export_failed"
    assert target.message.startswith("its worker was lost, and 3 times again elsewhere: WorkerCrashedError")
    # The first run and three more, and what the node that was killed before has left.
    assert len(killed) == 5


def test_build_again_runs_nothing(survived: Survived, cluster: Cluster) -> None:
    again = execute_on_cluster([survived.builds[0].plan], ExecuteOptions(), lambda *_: None)
    assert again[0].ran == []
    assert [target.outcome for target in again[0].targets] == ["passed", "passed"]


def test_one_card_that_cannot_be_built_leaves_the_others(
    survived: Survived, cluster: Cluster, tmp_path: Path, tiny_weights: Path
) -> None:
    good = survived.builds[0].plan
    broken = replace(_plan(tmp_path, tiny_weights, "broken", "out"), weights=tmp_path / "broken.yaml")
    with pytest.raises(UsageError, match=r"broken\.yaml"):
        execute_on_cluster([broken, good], ExecuteOptions(), lambda *_: None)
    assert (good.folder / "report.html").is_file()


def test_no_cluster_is_said_with_the_command(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    plan = _plan(tmp_path, tiny_weights, "none", "out")
    with pytest.raises(EnvironmentMissingError, match=r"no Ray cluster to reach at '127\.0\.0\.1:9'") as caught:
        execute_on_cluster([plan], ExecuteOptions(), lambda *_: None)
    assert "ray start --head" in caught.value.hint
