"""Processor and memory."""

from __future__ import annotations

from pathlib import Path

from edgeseg.data.free_memory import free_memory
from edgeseg.doctor.finding import Finding
from edgeseg.machine import ROOT, read_machine, total_memory_mb

SCARCE_MB = 2000.0
"""Ours: predicting at 640 x 640 with the smallest scale in PyTorch takes 0.4 GB; exporter and runtime come on top."""


def check_processor(root: Path = ROOT) -> Finding:
    """Its name, the board, the number of cores.

    Args:
        root: where `proc` lies.
    """
    machine = read_machine(root)
    board = f" on a {machine.board}" if machine.board else ""
    text = f"{machine.cpu}{board}, {machine.cores} core{'s' * (machine.cores != 1)}"
    facts = {"cpu": machine.cpu, "board": machine.board, "cores": machine.cores, "system": machine.system}
    return Finding("processor", "ok", text, facts=facts)


def check_memory(root: Path = ROOT) -> Finding:
    """How much there is, and how much a process may still take within its container.

    Args:
        root: where `proc` and `sys` lie.
    """
    total, free = total_memory_mb(root), free_memory(root)
    free_mb = None if free is None else free / 1e6
    facts = {"total_mb": total and round(total), "free_mb": free_mb and round(free_mb)}
    if total is None or free_mb is None:
        text = "the system does not tell" + (f" how much of {total / 1000:.1f} GB is free" if total else "")
        return Finding("memory", "ok", text, facts=facts)
    text = f"{free_mb / 1000:.1f} GB of {total / 1000:.1f} GB are free"
    if free_mb < SCARCE_MB:
        remedy = "end other programs; build on a larger machine and verify here: edgeseg bundle"
        return Finding("memory", "note", f"{text}, training and building need more", remedy, facts=facts)
    return Finding("memory", "ok", text, facts=facts)
