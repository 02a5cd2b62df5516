"""How many targets are built at once: as many as asked, as long as their memory limits fit into the free memory."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

logger = logging.getLogger(__name__)


class Admission:
    """Lets work start one by one.

    Args:
        jobs: at most this many at once.
        memory_mb: that they may use together, 10^6 bytes; the first may start whatever it needs.
    """

    def __init__(self, jobs: int, memory_mb: float) -> None:
        self._free_jobs, self._memory = jobs, memory_mb
        self._running = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def admitted(self, name: str, memory_mb: float) -> Iterator[None]:
        """Wait until there is room, and hold it for the block."""
        with self._changed:
            if self._free_jobs and not self._fits(memory_mb):
                logger.info("%s waits: its memory limit of %.0f MB does not fit beside what runs", name, memory_mb)
            self._changed.wait_for(lambda: self._free_jobs and self._fits(memory_mb))
            self._free_jobs -= 1
            self._running += 1
            self._memory -= memory_mb
        try:
            yield
        finally:
            with self._changed:
                self._free_jobs += 1
                self._running -= 1
                self._memory += memory_mb
                self._changed.notify_all()

    def _fits(self, memory_mb: float) -> bool:
        return self._running == 0 or memory_mb <= self._memory


def available_memory_mb() -> float:
    """Memory that new processes can have without swapping, 10^6 bytes."""
    import psutil

    return float(psutil.virtual_memory().available) / 1e6
