"""Mixed precision: which type, where it is faster, and the loss scale that fp16 needs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgeseg.machine import ROOT, cpu_flags

CPU_FLAGS = ("amx_bf16", "avx512_bf16")
"""Instructions that make bf16 faster than fp32 on a CPU, by their names in /proc/cpuinfo
(`benchmarks/train_precision.py` prints by how much); without them torch converts to and fro and is far slower."""

TYPES: Mapping[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """How the network computes in training; weights, losses and the optimizer stay fp32.

    Attributes:
        name: ``fp32``, ``bf16`` or ``fp16``.
        device: ``cpu``, ``cuda`` or ``mps``.
    """

    name: str
    device: str

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Around the network's forward."""
        if self.name == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device, TYPES[self.name])

    def scaler(self) -> torch.amp.GradScaler:
        """The loss scale: fp16's small gradients would vanish; the other types need none."""
        return torch.amp.GradScaler(self.device, enabled=self.name == "fp16")


def choose_precision(device: str, *, amp: bool, root: Path = ROOT) -> Precision:
    """fp32 without `amp`; with it bf16 where the device has instructions for it, else fp16 on a GPU.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
        amp: whether mixed precision is asked for.
        root: where `proc` lies.
    """
    if not amp or device == "mps":
        return Precision("fp32", device)
    if device == "cuda":
        return Precision("bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16", device)
    return Precision("bf16" if has_fast_bf16(root) else "fp32", device)


def has_fast_bf16(root: Path = ROOT) -> bool:
    """Whether this CPU computes faster in bf16. A fact, not a timing, so that a resume decides as the start did."""
    return bool(cpu_flags(root) & set(CPU_FLAGS))
