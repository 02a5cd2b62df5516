"""Two real processes over gloo against one process that sees all pictures."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from edgeseg.errors import EdgesegError, EnvironmentMissingError, UsageError
from edgeseg.train.distributed import join
from edgeseg.train.sync_norm import SynchronisedNorm, synchronised
from tests.train.process import SHARES, network_case, network_loss, norm_case, state_of

ROOT = Path(__file__).parents[2]
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
LIMIT_S = 120


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if key not in NAMES}
    return {**own, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def launched(case: str, output: Path) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    command = [sys.executable, *launcher, "--master-port", str(free_port()), "-m", "tests.train.process", case]
    return subprocess.run(
        [*command, str(output)], env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S
    )


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Sequence[dict[str, Any]]:
    """What each of two processes saw."""
    output = tmp_path_factory.mktemp("learned")
    run = launched("learn", output)
    assert run.returncode == 0, run.stderr
    return [torch.load(output / f"{rank}.pt") for rank in (0, 1)]


def assert_equal_states(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=tolerance, atol=tolerance)


def test_each_process_knows_its_place(learned: Sequence[dict[str, Any]]) -> None:
    assert [seen["place"] for seen in learned] == [(0, 2, 0, True, "cpu"), (1, 2, 1, False, "cpu")]


def test_sum_adds_all_processes_and_leaves_the_own_part(learned: Sequence[dict[str, Any]]) -> None:
    for rank, seen in enumerate(learned):
        assert seen["sum"].tolist() == [3.0, 20.0]
        assert not seen["sum"].requires_grad
        assert seen["kept"].tolist() == [1.0 + rank, 10.0]


def test_broadcast_object_gives_the_first_processs_to_all(learned: Sequence[dict[str, Any]]) -> None:
    assert [seen["object"] for seen in learned] == [{"from": 0}, {"from": 0}]


def test_synchronised_norm_equals_batch_norm_over_the_joined_batch(learned: Sequence[dict[str, Any]]) -> None:
    norm, pictures, factors = norm_case()
    pictures.requires_grad_()
    out = norm(pictures)
    (out * factors).sum().backward()
    expected = state_of(norm)
    norm.eval()

    assert pictures.grad is not None
    for rank, share in enumerate(SHARES):
        seen = learned[rank]["norm"]
        torch.testing.assert_close(seen["out"], out[share].detach(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(seen["gradient"], pictures.grad[share], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(seen["evaluated"], norm(pictures).detach(), rtol=1e-5, atol=1e-5)
        buffers = {name: value for name, value in seen["state"].items() if not name.endswith(".grad")}
        assert_equal_states(buffers, {name: expected[name] for name in buffers}, 1e-5)
    # A parameter's gradient is of the own pictures; data parallel training adds them up.
    for name in ("weight.grad", "bias.grad"):
        total = learned[0]["norm"]["state"][name] + learned[1]["norm"]["state"][name]
        torch.testing.assert_close(total, expected[name], rtol=1e-5, atol=1e-4)


def test_two_processes_of_two_pictures_learn_as_one_of_four(learned: Sequence[dict[str, Any]]) -> None:
    network, pictures = network_case()
    loss = network_loss(network(pictures))
    loss.backward()  # type: ignore[no-untyped-call]

    for seen in learned:
        torch.testing.assert_close(seen["loss"], loss.detach(), rtol=1e-5, atol=1e-5)
        assert_equal_states(seen["network"], state_of(network), 1e-4)


def test_a_failing_process_ends_the_run_with_its_error(tmp_path: Path) -> None:
    run = launched("fail", tmp_path)

    assert run.returncode == 1
    assert "picture 7 is broken" in run.stderr


def test_the_others_lose_contact_and_end_when_a_process_fails_without_a_launcher(tmp_path: Path) -> None:
    port = str(free_port())
    start = time.monotonic()
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.train.process", "fail", str(tmp_path)],
            env=environment(**dict(zip(NAMES, (rank, "2", rank, "2", "127.0.0.1", port), strict=True))),
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        errors = [run.communicate(timeout=LIMIT_S)[1] for run in runs]
    finally:
        for run in runs:
            run.kill()

    assert [run.returncode for run in runs] == [1, 1]
    assert "process 0 of 2 lost contact with the others" in errors[0]
    assert "picture 7 is broken" in errors[1]
    assert time.monotonic() - start < LIMIT_S / 2


def test_one_process_needs_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join("cpu") as world:
        value = torch.tensor([2.0], requires_grad=True)
        network = torch.nn.BatchNorm2d(3)

        assert (world.rank, world.size, world.is_first) == (0, 1, True)
        assert world.sum(value).item() == 2.0
        assert not world.sum(value).requires_grad
        assert world.broadcast_object("own") == "own"
        assert world.parallel(network) is network
        assert not torch.distributed.is_initialized()
        world.barrier()


@pytest.mark.parametrize(
    ("given", "device", "error", "words"),
    [
        pytest.param({"WORLD_SIZE": "2"}, "cpu", UsageError, "RANK, LOCAL_RANK", id="no-rank"),
        pytest.param({"WORLD_SIZE": "two"}, "cpu", UsageError, "WORLD_SIZE: expected a whole number", id="no-number"),
        pytest.param(
            dict(zip(NAMES, ("2", "2", "0", "2", "localhost", "1"), strict=True)),
            "cpu",
            UsageError,
            "RANK 2",
            id="rank",
        ),
        pytest.param(
            dict(zip(NAMES, ("0", "2", "0", "2", "localhost", "1"), strict=True)),
            "mps",
            EdgesegError,
            "mps",
            id="mps-of-two",
        ),
        pytest.param({}, "gpu", UsageError, "one of: auto, cpu, cuda, mps, cuda:N", id="unknown-device"),
        pytest.param({}, "cpu:1", UsageError, "one of: auto", id="numbered-cpu"),
    ],
)
def test_join_refuses_what_cannot_train(
    given: dict[str, str], device: str, error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(error, match=words), join(device):
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_join_refuses_cuda_where_there_is_no_gpu() -> None:
    with pytest.raises(EnvironmentMissingError, match="sees none here"), join("cuda"):
        pass


def test_synchronised_keeps_parameters_buffers_and_names() -> None:
    network, pictures = network_case()
    before = {name: id(value) for name, value in network.named_parameters()}
    names, settings = list(network.state_dict()), [(m.eps, m.momentum) for m in _norms(network)]
    network.eval()
    expected = network(pictures)

    changed = synchronised(network)

    assert changed is network
    assert list(network.state_dict()) == names
    assert {name: id(value) for name, value in network.named_parameters()} == before
    assert [(m.eps, m.momentum) for m in _norms(network)] == settings
    assert all(isinstance(module, SynchronisedNorm) for module in _norms(network))
    assert len(_norms(network)) > 20
    for out, wanted in zip(network(pictures), expected, strict=True):
        torch.testing.assert_close(out, wanted, rtol=0, atol=0)


def _norms(network: torch.nn.Module) -> list[torch.nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
