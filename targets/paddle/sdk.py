"""Importing Paddle without what its import does to the rest of the process."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from typing import Any

from edgeseg.errors import EnvironmentMissingError

HANDLED = ("SIGSEGV", "SIGILL", "SIGFPE", "SIGABRT", "SIGBUS", "SIGTERM")
"""Signals that Paddle handles by printing a trace of its own (paddle/fluid/platform/init.cc)."""


def import_inference(purpose: str) -> Any:
    """The module `paddle.inference`.

    Raises:
        EnvironmentMissingError: it is not installed here.
    """
    # Paddle sets OMP_NUM_THREADS to 1, for all that is loaded after it and for every child.
    variables = dict(os.environ)
    try:
        with warnings.catch_warnings():
            # About a tool that would speed up building extensions.
            warnings.filterwarnings("ignore", "No ccache found", UserWarning)
            import paddle
            import paddle.inference
    except ImportError as error:
        raise EnvironmentMissingError(
            f"{purpose} needs the package 'paddlepaddle', which is not installed here",
            hint="edgeseg targets install paddle, or pip install paddlepaddle==3.2.2",
        ) from error
    _restore(variables)
    _take_signals_back(paddle)
    return paddle.inference


def _restore(variables: dict[str, str]) -> None:
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)


def _take_signals_back(paddle: Any) -> None:
    """Give signals back to the handlers of the program: Paddle's own end it with a trace."""
    paddle.disable_signal_handler()
    if threading.current_thread() is not threading.main_thread():
        return
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if getattr(number, "name", "") in HANDLED and callable(handler):
            # Python still names the handler that Paddle displaced; setting it again puts it in force.
            signal.signal(number, handler)
