"""Several processes that train one network, as torchrun starts them; without torchrun, a world of one.

Only the first process writes files and calls callbacks. If one fails, the others lose contact and fail too;
torchrun then ends with an error of its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

from edgeseg.errors import EnvironmentMissingError, StageError, UsageError
from edgeseg.train.sync_norm import synchronised

Thing = TypeVar("Thing")

TIMEOUT = timedelta(minutes=30)
"""Longest wait for the other processes. They wait while the first one validates, which takes minutes on COCO."""

_SIZE = "WORLD_SIZE"
_PLACE = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_MEETING = ("MASTER_ADDR", "MASTER_PORT")
"""Environment variables that torchrun sets (torch/distributed/run.py, "Environment Variables")."""

_BACKENDS = {"cpu": "gloo", "cuda": "nccl"}

_PRESENT: Mapping[str, Callable[[], bool]] = {
    "cpu": lambda: True,
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
}

_CONTACT_LOST = ("closed by peer", "reset by peer", "Broken pipe", "Timed out waiting")
"""Parts of what gloo says when a process has gone or does not answer; NCCL and the store raise errors of their own."""


@dataclass(frozen=True)
class World:
    """All processes of a training, as one of them sees them.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
        local_rank: number of this process among those of its machine, from 0.
        device: what this process computes on.
    """

    rank: int
    size: int
    local_rank: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and calls callbacks."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, detached: no gradient passes.

        Args:
            tensor: of the same shape and dtype in every process, on `device`.
        """
        total = tensor.detach()
        if self.size > 1:
            total = total.clone()
            dist.all_reduce(total)
        return total

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)

    def broadcast_object(self, thing: Thing) -> Thing:
        """The first process's `thing`, in all of them; what the others give is not looked at.

        Args:
            thing: anything that pickle takes.
        """
        things = [thing]
        if self.size > 1:
            dist.broadcast_object_list(things, src=0, device=self.device)
        return things[0]

    def parallel(self, network: nn.Module, *, sync_batch_norm: bool = True) -> nn.Module:
        """The network to call in training: its gradients become the mean over all processes.

        The weights of the first process are those that all start from.

        Args:
            network: on `device`; its normalisations are changed in place where they are to be synchronised.
            sync_batch_norm: whether batch statistics are those of all processes together.

        Returns:
            The network itself where this is the only process.
        """
        if self.size == 1:
            return network
        if sync_batch_norm:
            network = synchronised(network)
        # Running statistics stay each process's own where they are not synchronised: the first one's are kept.
        gpus = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=gpus, broadcast_buffers=False)


@contextlib.contextmanager
def join(device: str) -> Iterator[World]:
    """Be one of the processes that torchrun started, or the only one.

    Args:
        device: ``cpu``, ``cuda`` (each process takes the GPU of its local rank), ``auto`` (cuda where there is a GPU,
            else cpu); for one process also ``cuda:1`` or ``mps``.

    Raises:
        UsageError: the environment is torchrun's only in part, there are more processes than GPUs, or the device is
            none that several processes can train on.
        EnvironmentMissingError: the device, or this PyTorch's support for several processes, is absent.
        StageError: the others cannot be reached, in the block too.
    """
    world = _world(device)
    if world.device.type == "cuda":
        torch.cuda.set_device(world.device)
    if world.size == 1:
        yield world
        return
    backend = _BACKENDS[world.device.type]
    try:
        dist.init_process_group(backend, rank=world.rank, world_size=world.size, timeout=TIMEOUT)
        yield world
        # Nobody takes the meeting place away while another still uses it.
        world.barrier()
        dist.destroy_process_group()
    except Exception as error:
        # NCCL would wait for what the others never send; the end of this process closes its connections.
        if backend == "gloo" and dist.is_initialized():
            dist.destroy_process_group()
        if isinstance(error, dist.DistError) or (
            isinstance(error, RuntimeError) and any(words in str(error) for words in _CONTACT_LOST)
        ):
            raise _contact_lost(world, error) from error
        raise


def _world(device: str) -> World:
    size, rank, local_rank, local_size = _from_environment(os.environ)
    chosen = _device(device)
    if size == 1:
        return World(0, 1, 0, chosen)
    if chosen.type not in _BACKENDS:
        raise UsageError(f"device {device!r}: {size} processes train on one of: {', '.join(_BACKENDS)}")
    if not dist.is_available():
        raise EnvironmentMissingError(
            f"{_SIZE} is {size}, but this PyTorch was built without torch.distributed",
            hint="start one process, without torchrun",
        )
    if chosen.type == "cuda":
        _check_gpus(device, local_size)
        chosen = torch.device("cuda", local_rank)
    return World(rank, size, local_rank, chosen)


def _from_environment(environment: Mapping[str, str]) -> tuple[int, int, int, int]:
    """World size, rank, local rank and processes on this machine."""
    if _SIZE not in environment:
        return 1, 0, 0, 1
    size = _number(environment, _SIZE)
    if size == 1:
        return 1, 0, 0, 1
    absent = [name for name in (*_PLACE, *_MEETING) if name not in environment]
    if absent:
        raise UsageError(
            f"{_SIZE} is {size}, but {', '.join(absent)} is not set",
            hint=f"start with torchrun, which sets them all; or unset {_SIZE} to train in one process",
        )
    rank, local_rank, local_size = (_number(environment, name) for name in _PLACE)
    if not (rank < size and local_rank < local_size <= size):
        raise UsageError(
            f"RANK {rank} of {_SIZE} {size}, LOCAL_RANK {local_rank} of LOCAL_WORLD_SIZE {local_size}: "
            "ranks count from 0, and a machine has at most all processes",
            hint="start with torchrun, which sets them all",
        )
    return size, rank, local_rank, local_size


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment[name]
    lowest = 0 if name in ("RANK", "LOCAL_RANK") else 1
    if not text.isdecimal() or int(text) < lowest:
        raise UsageError(f"environment variable {name}: expected a whole number from {lowest}, got {text!r}")
    return int(text)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in _PRESENT or (number and not (kind == "cuda" and number.isdecimal())):
        raise UsageError(f"device {name!r}: expected one of: auto, {', '.join(_PRESENT)}, cuda:N")
    if not _PRESENT[kind]():
        raise EnvironmentMissingError(
            f"device {name!r}: PyTorch {torch.__version__} sees none here",
            hint="train on cpu, or install the PyTorch build for this machine's GPU and its driver",
        )
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {name!r}: there are {torch.cuda.device_count()} GPUs here, counted from 0")
    return torch.device(kind, int(number or 0)) if kind == "cuda" else torch.device(kind)


def _check_gpus(device: str, local_size: int) -> None:
    if ":" in device:
        raise UsageError(f"device {device!r}: several processes take one GPU each", hint="write cuda")
    count = torch.cuda.device_count()
    if local_size > count:
        raise UsageError(
            f"{local_size} processes on this machine, which has {count} GPUs: each needs its own",
            hint=f"torchrun --nproc-per-node {count}",
        )


def _contact_lost(world: World, error: RuntimeError) -> StageError:
    first_line = str(error).strip().split("\n", maxsplit=1)[0]
    return StageError(
        "train_failed",
        f"process {world.rank} of {world.size} lost contact with the others: {first_line}",
        hint="the cause is the first error of another process; where there is none, look at network and firewall",
    )
