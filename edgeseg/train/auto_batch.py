"""`batch: auto`: how many pictures a training step has memory for.

What a forward pass keeps for its backward pass is counted tensor by tensor. That is the same number on every device
and in every run; the growth of a process is not, since freed memory stays with it.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from edgeseg.data.free_memory import free_memory
from edgeseg.errors import StageError, UsageError
from edgeseg.train.guards import OUTCOME

logger = logging.getLogger(__name__)

MOST = 64
"""The nominal batch: a larger one would change the recipe (facts.md, section 3)."""

_PROBE_PX = 128
"""Side of the pictures that are tried: what is kept grows with the area, so small ones tell in less time."""

_OVERHEAD = 1.5
"""Peak of a step over what it keeps for its backward pass: 1.2 measured on a CPU for forward and backward (scales n, s;
320 and 640 px); the rest is for the loss, which grows with the objects."""

_COPIES = 6
"""Bytes per byte of weights besides them: gradients, two averages of the optimizer, averaged weights, the buffers of
data parallel training, and half-precision copies."""


MEMORY_SHARE = 0.7
"""Of the free memory that a training may plan with."""


def largest_batch(
    network: nn.Module,
    image_size: tuple[int, int],
    device: torch.device,
    *,
    share: float = MEMORY_SHARE,
    most: int = MOST,
    autocast: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
) -> int:
    """Pictures per step that fit the device's free memory: a power of two, so that runs on one machine agree.

    Args:
        network: on `device`, frozen parts marked; left as it is. Not yet data parallel.
        image_size: (height, width) px, the largest of the training.
        device: what it trains on.
        share: part of the free memory to use, above 0, at most 1; divide it among the processes that use one device.
        most: upper limit.
        autocast: the mixed precision of the training.

    Raises:
        StageError: ``train_failed``: there is not even memory for one picture.
        UsageError: the system does not tell how much memory is free.
    """
    trial = copy.deepcopy(network).train()
    one, two = (_kept_bytes(trial, count, device, autocast) for count in (1, 2))
    height, width = image_size
    per_picture = (two - one) * (height * width / _PROBE_PX**2) * _OVERHEAD
    fixed = _COPIES * sum(parameter.nbytes for parameter in network.parameters())
    del trial
    free = free_bytes(device)
    fitting = int((share * free - fixed) / per_picture)
    if fitting < 1:
        raise StageError(
            OUTCOME,
            f"train.batch=auto: {free / 1e6:.0f} MB are free on {device}, and one picture of {height} x {width} needs "
            f"{(per_picture + fixed) / share / 1e6:.0f} MB",
            hint="take a smaller model.image_size or model.scale, or free some memory",
        )
    batch = 1 << (min(fitting, most).bit_length() - 1)
    logger.info("batch %d: %.0f MB per picture, %.0f MB free on %s", batch, per_picture / 1e6, free / 1e6, device)
    return batch


def free_bytes(device: torch.device) -> int:
    """Bytes that can still be allocated on a device.

    Raises:
        UsageError: the system does not tell.
    """
    free = free_memory() if device.type == "cpu" else None
    if device.type == "cuda":
        # What torch's allocator holds without use is free as well.
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free = int(torch.cuda.mem_get_info(device)[0]) + unused
    if free is None:
        raise UsageError(
            f"train.batch=auto: this system does not tell the free memory of {device}",
            hint="--set train.batch=16, or another number",
        )
    return free


def _kept_bytes(
    network: nn.Module, count: int, device: torch.device, autocast: Callable[[], AbstractContextManager[Any]]
) -> int:
    """Bytes that a forward pass of `count` pictures keeps for its backward pass."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    images = torch.zeros(count, 3, _PROBE_PX, _PROBE_PX, device=device).to(memory_format=torch.channels_last)
    with saved_tensors_hooks(note, lambda tensor: tensor), autocast():
        # Held until the end: a storage that were freed could give its address to another.
        outputs = network(images)
    del outputs
    return sum(kept.values())
