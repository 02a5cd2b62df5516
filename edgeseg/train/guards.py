"""What goes wrong in trainings, said in words that help: losses that are no numbers, memory that is not enough."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from edgeseg.errors import StageError
from edgeseg.files import replacing
from edgeseg.train.batch import Batch
from edgeseg.train.callbacks import LOSSES

OUTCOME = "train_failed"

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
"""Parts of what PyTorch says on Linux, on Windows, on every GPU, and in its CUDA libraries."""

_SHOWN_NAMES = 4


def check_finite(values: Tensor, batch: Batch, folder: Path, epoch: int, step: int) -> None:
    """Stop a training whose loss or gradient is no number any more, and keep the batch for a look at it.

    Args:
        values: (4,) the parts of the loss in the order of `LOSSES`, or one value, the norm of the gradient.
        batch: what they come from, of this process.
        folder: where the batch is written, as ``not-finite-epoch-E-step-S.npz``.
        epoch: 1-based.
        step: 1-based, within the epoch.

    Raises:
        StageError: ``train_failed``: one of the values is not finite.
    """
    if bool(torch.isfinite(values).all()):
        return
    names = LOSSES if values.numel() == len(LOSSES) else ("gradient norm",)
    found = ", ".join(f"{name} {value:.4g}" for name, value in zip(names, values.flatten().tolist(), strict=True))
    # The loss is the sum over all processes: each of them comes here, and writes its own part of the batch.
    process = f"-process-{dist.get_rank()}" if dist.is_available() and dist.is_initialized() else ""
    path = folder / f"not-finite-epoch-{epoch}-step-{step}{process}.npz"
    _write(batch, path)
    more = f" and {len(batch.names) - _SHOWN_NAMES} more" if len(batch.names) > _SHOWN_NAMES else ""
    raise StageError(
        OUTCOME,
        f"epoch {epoch}, step {step}: not finite: {found}; pictures {', '.join(batch.names[:_SHOWN_NAMES])}{more}",
        hint=f"lower train.lr0, or set train.amp=false; the batch is in {path}: look at its boxes and masks",
    )


@contextlib.contextmanager
def memory_guard(batch: int) -> Iterator[None]:
    """Around a training step: memory that is not enough becomes an error that names a smaller batch.

    Args:
        batch: pictures per step of this process.

    Raises:
        StageError: ``train_failed``: the GPU's or the computer's memory is used up, or a loader's process died.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        refused = memory_error(error, batch) or worker_error(error)
        if refused is None:
            raise
        raise refused from error


def memory_error(error: RuntimeError | MemoryError, batch: int) -> StageError | None:
    """The error to raise in place of one that tells of lacking memory; None for any other."""
    lacking = isinstance(error, torch.cuda.OutOfMemoryError | MemoryError)
    if not lacking and not any(words in str(error) for words in _NO_MEMORY):
        return None
    hint = "a smaller model.image_size or model.scale needs less"
    if batch > 1:
        hint = (
            f"--set train.batch={batch // 2}, or train.batch=auto: gradients are still gathered up to "
            "train.nominal_batch pictures"
        )
    said = str(error).strip().split("\n", maxsplit=1)[0]
    return StageError(OUTCOME, f"out of memory at batch {batch}: {said or 'MemoryError'}", hint=hint)


def worker_error(error: RuntimeError | MemoryError) -> StageError | None:
    """The error to raise in place of one that tells of a dead loader's process; None for any other.

    torch raises it in the main thread at any moment, from its handler of SIGCHLD.
    """
    said = str(error)
    if "DataLoader worker" not in said or not ("killed by signal" in said or "exited unexpectedly" in said):
        return None
    return StageError(
        OUTCOME,
        f"a process that reads pictures died: {said.strip()}",
        hint="most often memory is used up: fewer train.workers, train.cache=off, in Docker a larger --shm-size; "
        'a script that trains needs `if __name__ == "__main__":` around its start',
    )


def _write(batch: Batch, path: Path) -> None:
    arrays: dict[str, Any] = {name: tensor.cpu().numpy() for name, tensor in batch.tensors.items()}
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays, names=np.array(batch.names))
