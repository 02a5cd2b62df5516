"""GPUs, as far as the system tells without an SDK; with `deep`, also what PyTorch sees."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from edgeseg.doctor.finding import Finding
from edgeseg.machine import ROOT

LIMIT_S = 10.0
QUERY = ("name", "driver_version", "memory.total", "memory.used")
"""Fields of ``nvidia-smi --query-gpu``; memory in MiB."""

VENDORS = {"0x8086": "Intel", "0x1002": "AMD"}
"""PCI vendor ids, as Linux writes them below /sys/class/drm; NVIDIA's own tool tells more."""


def check_gpu(root: Path = ROOT) -> Iterator[Finding]:
    """What there is; a machine without any is all right.

    Args:
        root: where `sys` lies.
    """
    found = [*_nvidia(), *_apple(), *_drm(root)]
    yield from found or [Finding("gpu", "ok", "none is told of: training and PyTorch run on the processor")]


def check_torch() -> Finding:
    """What PyTorch sees; imports it, which takes seconds."""
    if find_spec("torch") is None:
        text = "PyTorch is not installed: no training, no export, no verification against weights"
        return Finding("torch", "note", text, "pip install 'edgeseg[train]'")
    try:
        import torch

        seen = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    except Exception as error:  # noqa: BLE001 - a broken installation or driver may raise anything; the finding says how
        return Finding("torch", "problem", f"PyTorch fails: {type(error).__name__}: {error}", "reinstall torch")
    facts = {"version": torch.__version__, "cuda": torch.version.cuda, "devices": seen}
    if seen and torch.cuda.is_available():
        return Finding("torch", "ok", f"PyTorch {torch.__version__} sees {', '.join(seen)}", facts=facts)
    if shutil.which("nvidia-smi") and torch.version.cuda is None:
        text = f"PyTorch {torch.__version__} is built without CUDA, and this machine has nvidia-smi"
        return Finding("torch", "note", text, "install a CUDA build of torch", facts=facts)
    return Finding("torch", "ok", f"PyTorch {torch.__version__} runs on the processor", facts=facts)


def nvidia_findings(answer: str) -> list[Finding]:
    """One finding a line of ``nvidia-smi --query-gpu=... --format=csv,noheader,nounits``."""
    found = []
    for line in answer.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(QUERY):
            continue
        name, driver, total, used = cells
        # A board whose GPU shares the processor's memory tells [N/A].
        memory = f", {used} of {total} MiB used" if total.isdecimal() else ""
        facts = {"name": name, "driver": driver, "memory_mib": int(total) if total.isdecimal() else None}
        found.append(Finding("gpu", "ok", f"NVIDIA: {name}, driver {driver}{memory}", facts=facts))
    return found


def _nvidia() -> list[Finding]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [_broken(str(error))]
    text = done.stdout.decode(errors="replace")
    found = nvidia_findings(text) if done.returncode == 0 else []
    return found or [_broken(" ".join(text.split()) or f"exit code {done.returncode}")]


def _broken(why: str) -> Finding:
    return Finding("gpu", "note", f"nvidia-smi is there, but tells of no GPU: {why}", "load or update NVIDIA's driver")


def _apple() -> list[Finding]:
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return []
    return [Finding("gpu", "ok", "Apple silicon: GPU and Neural Engine are there", facts={"name": "apple"})]


def _drm(root: Path) -> list[Finding]:
    vendors = set()
    for path in (root / "sys" / "class" / "drm").glob("card*/device/vendor"):
        try:
            vendors.add(path.read_text().strip().lower())
        except OSError:
            continue
    return [
        Finding("gpu", "ok", f"{VENDORS[vendor]} graphics", facts={"name": VENDORS[vendor].lower()})
        for vendor in sorted(vendors & VENDORS.keys())
    ]
