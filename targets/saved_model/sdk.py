"""TensorFlow, imported without its greetings, and what it fixes once per process."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from edgeseg.errors import EnvironmentMissingError, UsageError
from edgeseg.target import EnvReport

PACKAGE = "tensorflow-cpu"
"""What `requirements.txt` pins."""

DISTRIBUTIONS = (PACKAGE, "tensorflow", "tensorflow-intel", "tensorflow-macos")
"""Distributions that bring the module `tensorflow`; any of them serves."""

REMEDY = f"pip install {PACKAGE}, or edgeseg targets install saved_model"
LOG_LEVEL, ALL, ERRORS_ONLY = "TF_CPP_MIN_LOG_LEVEL", "0", "2"


def installed_tensorflow() -> dict[str, str]:
    """Name and version of the distribution that brings the module; empty where there is none. Imports nothing."""
    if find_spec("tensorflow") is None:
        return {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(PackageNotFoundError):
            return {name: version(name)}
    return {PACKAGE: "unknown"}


def report_tensorflow(*to_build: str) -> EnvReport:
    """Whether TensorFlow is there, and the packages that exporting needs besides. Imports nothing."""
    versions = installed_tensorflow()
    missing = {} if versions else {PACKAGE: "running"}
    for name in to_build:
        if find_spec(name) is None:
            missing[name] = "exporting"
        else:
            versions[name] = version(name)
    problems = tuple(f"{name} is not installed, which {purpose} needs" for name, purpose in missing.items())
    return EnvReport(problems, f"pip install {' '.join(missing)}" if missing else "", versions)


def import_tensorflow(purpose: str) -> Any:
    """The SDK, silent below an error; a user who sets TF_CPP_MIN_LOG_LEVEL to 0 sees its remarks.

    Raises:
        EnvironmentMissingError: it is not installed here.
    """
    wanted = os.environ.setdefault(LOG_LEVEL, ERRORS_ONLY) == ALL or "tensorflow" in sys.modules
    try:
        with contextlib.nullcontext() if wanted else _without_stderr(), warnings.catch_warnings():
            # Of the packages below it, about each other.
            warnings.simplefilter("ignore")
            import tensorflow
    except ImportError as error:
        raise EnvironmentMissingError(f"{purpose} needs {PACKAGE}, which is not installed here", hint=REMEDY) from error
    tensorflow.get_logger().setLevel("ERROR")
    return tensorflow


def prepare(tensorflow: Any, threads: int | None) -> None:
    """Set what holds for the process: no GPU, and the threads of one operator.

    Raises:
        UsageError: it runs with another number of threads already.
    """
    config = tensorflow.config
    try:
        config.set_visible_devices([], "GPU")
        if threads is not None:
            config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise UsageError(
            f"TensorFlow has started in this process with {threads_in_use(tensorflow)} threads and its own devices, "
            f"asked were {threads or 'its own number of'} threads and the CPU",
            hint="it sets them once per process: open this artifact in another one",
        ) from error


def threads_in_use(tensorflow: Any) -> str:
    """Threads of one operator, in words."""
    return str(tensorflow.config.threading.get_intra_op_parallelism_threads() or "runtime's choice")


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """The process's own stderr goes nowhere: TensorFlow 2.21 greets there while it is imported, whatever its log
    level says, since its logging is not started yet. What was said is shown where the import fails."""
    try:
        kept = os.dup(2)
    except OSError:
        # A program without stderr.
        yield
        return
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
