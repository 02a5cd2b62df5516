"""What compiled code writes to the process's standard error, past Python: to the log instead."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator

logger = logging.getLogger(__name__)

ERROR_STREAM = 2
"""Number of the standard error stream."""


@contextlib.contextmanager
def to_log() -> Iterator[None]:
    """Keep the lines that the block's compiled code writes for the debug log; TFLite greets with one for each file."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        before = os.dup(ERROR_STREAM)
        os.dup2(kept.fileno(), ERROR_STREAM)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(before, ERROR_STREAM)
            os.close(before)
            kept.seek(0)
            for line in kept.read().decode(errors="replace").splitlines():
                logger.debug("%s", line)
