"""Ctrl-C and SIGTERM wait while files are written."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Interrupts that come in the block take effect at its end, so that nothing is written by half.

    Only in the main thread, which is where Python handles signals and the command line runs.

    Raises:
        KeyboardInterrupt: at the end, where a signal came.
    """
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
