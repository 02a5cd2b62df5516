"""The stack that a thread's signal handlers run on, kept from OpenVINO."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator

DISABLED = 2
"""``SS_DISABLE``: handlers run on the thread's ordinary stack."""


class _Stack(ctypes.Structure):
    """``stack_t`` of Linux (signal.h)."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def keeping_signal_stack() -> Iterator[None]:
    """Give this thread the stack for signals back that it had before.

    The CPU plugin sets one of its own on the thread that loads it (`SigAltStackSetup` in its sources), and unmaps that
    memory when it is unloaded. The thread gets the former one back only where it unloads the plugin itself, and of
    several the last first. Else its next signal, such as Ctrl-C, or SIGCHLD where a program handles it, would be
    delivered to memory that is gone, which ends the process.

    Linux refuses a former stack that is too small for the processor's registers, now that the plugin has asked for
    those of AMX. No signal could be delivered on that one: the thread is then left without.
    """
    if sys.platform != "linux":
        yield
        return
    libc = ctypes.CDLL(None)
    before = _Stack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        if libc.sigaltstack(ctypes.byref(before), None):
            libc.sigaltstack(ctypes.byref(_Stack(flags=DISABLED)), None)
