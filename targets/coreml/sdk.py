"""coremltools, imported and called without its remarks about other packages, and its progress bars."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from edgeseg.errors import needs_extra


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Errors still come as exceptions. What it drops: on Linux every import lists the parts that only a Mac has,
    untested versions of torch and scikit-learn are named, temporary folders vanish with a ResourceWarning."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def import_coremltools(purpose: str) -> Any:
    """The package.

    Args:
        purpose: what needs it, for the error.

    Raises:
        EnvironmentMissingError: it is not installed.
    """
    try:
        with quiet():
            import coremltools
    except ImportError as error:
        raise needs_extra("coremltools", "coreml", purpose) from error
    return coremltools


def dtype_of(var: Any) -> str:
    """The type of a value of a program: ``fp16``, ``fp32``, ``int8`` ..."""
    from coremltools.converters.mil.mil import types

    return str(types.builtin_to_string(var.dtype))
