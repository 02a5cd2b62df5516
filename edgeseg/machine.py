"""The machine that a time was taken on, and the state that it was in. What the system does not tell is None."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")


@dataclass(frozen=True)
class Machine:
    """What does not change.

    Attributes:
        cpu: model name, or the architecture where there is none.
        board: the device tree's name of a single-board computer; empty elsewhere.
        cores: logical ones.
        system: operating system and architecture.
    """

    cpu: str
    board: str
    cores: int
    system: str


@dataclass(frozen=True)
class MachineState:
    """What changes from minute to minute.

    Attributes:
        load: processes that ran or waited to, mean of the last minute.
        temperature_c: of the hottest thermal zone, degrees Celsius.
        frequency_mhz: of the slowest core now.
        max_frequency_mhz: highest that the hardware allows, of any core.
        throttle_count: how often heat has slowed the cores down since the start of the system.
    """

    load: float | None
    temperature_c: float | None
    frequency_mhz: float | None
    max_frequency_mhz: float | None
    throttle_count: int | None


def read_machine(root: Path = ROOT) -> Machine:
    """Look at the processor.

    Args:
        root: where `proc` lies.
    """
    board = _text(root / "proc" / "device-tree" / "model").strip("\0\n ")
    return Machine(
        cpu=_cpu_name(root) or platform.processor() or platform.machine(),
        board=board,
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
    )


def read_state(root: Path = ROOT) -> MachineState:
    """Look at load, heat and clocks.

    Units are those of the Linux kernel: millidegrees (Documentation/driver-api/thermal/sysfs-api.rst) and kHz
    (Documentation/admin-guide/pm/cpufreq.rst).

    Args:
        root: where `sys` lies.
    """
    cpus = root / "sys" / "devices" / "system" / "cpu"
    temperatures = _numbers((root / "sys" / "class" / "thermal").glob("thermal_zone*/temp"))
    frequencies = _numbers(cpus.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
    limits = _numbers(cpus.glob("cpu[0-9]*/cpufreq/cpuinfo_max_freq"))
    counts = _numbers(cpus.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    return MachineState(
        load=_load(),
        temperature_c=max(temperatures) / 1e3 if temperatures else None,
        frequency_mhz=min(frequencies) / 1e3 if frequencies else None,
        max_frequency_mhz=max(limits) / 1e3 if limits else None,
        throttle_count=sum(counts) if counts else None,
    )


def throttled(before: MachineState, after: MachineState) -> bool | None:
    """Whether heat slowed the cores down between two readings; None where the system does not count that."""
    if before.throttle_count is None or after.throttle_count is None:
        return None
    return after.throttle_count > before.throttle_count


def peak_memory_mb(root: Path = ROOT) -> float | None:
    """Largest resident memory of this process so far, 10^6 bytes; None where the system does not tell."""
    for line in _text(root / "proc" / "self" / "status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:
        return None
    # Not on Linux, where this number outlives exec and would be that of the larger parent.
    # macOS counts bytes (getrusage(2)), others kibibytes.
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def total_memory_mb(root: Path = ROOT) -> float | None:
    """Memory of the machine, 10^6 bytes; None where the system does not tell. A container's limit is not seen."""
    for line in _text(root / "proc" / "meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024 / 1e6
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (AttributeError, ValueError, OSError):
        return None


def cpu_flags(root: Path = ROOT) -> frozenset[str]:
    """Instruction sets of the first processor as Linux names them (proc(5), /proc/cpuinfo); empty elsewhere."""
    for line in _text(root / "proc" / "cpuinfo").splitlines():
        name, _, words = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(words.split())
    return frozenset()


def _cpu_name(root: Path) -> str:
    for line in _text(root / "proc" / "cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return ""


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _numbers(paths: Iterable[Path]) -> list[int]:
    texts = (_text(path).strip() for path in paths)
    return [int(text) for text in texts if text.lstrip("-").isdecimal()]


def _text(path: Path) -> str:
    """A kernel file's text; empty where it is absent or its sensor gives no reading."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
