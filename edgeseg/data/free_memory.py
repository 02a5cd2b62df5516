"""How much memory a process may still take, and how much of it several processes may share."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

ROOT = Path("/")

_CGROUPS = (
    ("sys/fs/cgroup", "memory.max", "memory.current", "file", "shmem"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache", "total_shmem"),
)
"""Folder, limit, usage and the names in memory.stat of files' pages and of shared ones, of cgroups 2 and 1.

Linux kernel, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
"""


def free_memory(root: Path = ROOT) -> int | None:
    """Bytes that can be taken without swapping, within the container's limit; None where the system does not tell.

    Args:
        root: where `proc` and `sys` lie.
    """
    try:
        lines = (root / "proc" / "meminfo").read_text().splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    if "MemAvailable" not in fields:
        return None
    machine = int(fields["MemAvailable"].split()[0]) * 1024
    return min([machine, *(left for left in (_left_of(root, *names) for names in _CGROUPS) if left is not None)])


def room_to_share() -> int:
    """Bytes that `multiprocessing.RawArray` finds room for: in shared memory, else in a file of the temporary folder.

    A container has 64 MB of shared memory unless it is started with more (``--shm-size``).
    """
    places = [Path("/dev/shm"), Path(tempfile.gettempdir())]  # noqa: S108 - where multiprocessing.heap looks
    return max(shutil.disk_usage(place).free for place in places if place.is_dir())


def _left_of(root: Path, folder: str, limit: str, usage: str, files: str, shared: str) -> int | None:
    """Bytes below a cgroup's limit; pages of files are not counted as used, since they are given up on demand."""
    try:
        most = (root / folder / limit).read_text().strip()
        used = int((root / folder / usage).read_text())
        rows = (line.split() for line in (root / folder / "memory.stat").read_text().splitlines())
        statistics = {name: int(value) for name, value in rows}
    except (OSError, ValueError):
        return None
    if most == "max":
        return None
    return max(int(most) - used + statistics.get(files, 0) - statistics.get(shared, 0), 0)
