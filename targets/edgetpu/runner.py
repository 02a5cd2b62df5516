"""A file for the Edge TPU behind the runner contract: compiled by the device, else by the reference kernels."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from edgeseg.environment import installed_version
from edgeseg.errors import ArtifactError, EnvironmentMissingError, UsageError
from edgeseg.target import Artifact, Options, Runner

from ..tflite import INTERPRETERS
from ..tflite import runner as tflite
from ..tflite.container import Content, read_content
from ..tflite.native_output import to_log
from ..tflite.options import TfliteRunOptions
from .compiled import is_compiled
from .devices import INSTALL, find_devices, require_library
from .nodes import graph_of
from .options import EdgeTpuRunOptions

NOT_COMPILED = "not compiled: reference kernels on the processor, no Edge TPU"


def open_file(artifact: Artifact, options: Options) -> Runner:
    """The runner that fits the file.

    A file that is not compiled runs by TensorFlow Lite's reference kernels, whose integer arithmetic is what the
    format's specification says: proof of the network before a compiler sees it, and no statement about a device.

    Raises:
        EnvironmentMissingError: an interpreter, the Edge TPU's library or the device is not here.
        UsageError: a device for a file that runs on none.
    """
    chosen = EdgeTpuRunOptions.of(options)
    content = read_content(artifact.path)
    package = tflite.interpreter_package(TfliteRunOptions(), artifact.path.name)
    module = _module(package)
    threads = chosen.threads or tflite.usable_cores()
    execution = {
        "interpreter": f"{package} {installed_version(package, INTERPRETERS[package])}",
        "threads": str(threads),
    }
    if is_compiled(graph_of(content.data)):
        delegate = _delegate(module, artifact, chosen.device)
        execution |= {"device": chosen.device or "any Edge TPU"}
        arguments: dict[str, Any] = {"experimental_delegates": [delegate]}
    elif chosen.device:
        raise UsageError(
            f"device {chosen.device}: {artifact.path.name} is not compiled, so that it runs on no Edge TPU",
            hint="compile it first, as the target's README says, or leave the option out",
        )
    else:
        execution |= {"device": NOT_COMPILED}
        arguments = {"experimental_op_resolver_type": module.OpResolverType.BUILTIN_REF}
    interpreter = _interpreter(module, content, {**arguments, "num_threads": threads})
    return EdgeTpuRunner(artifact, content, interpreter, execution)


class EdgeTpuRunner(tflite.TfliteRunner):
    """An interpreter made here; what goes in and comes out is that of any `.tflite` file."""

    def __init__(self, artifact: Artifact, content: Content, interpreter: Any, execution: Mapping[str, str]) -> None:
        Runner.__init__(self, artifact.metadata)
        self._input, self._outputs = tflite.ends_of(content, artifact)
        self._interpreter = interpreter
        self._execution = dict(execution)


def _module(package: str) -> Any:
    try:
        return importlib.import_module(f"{INTERPRETERS[package]}.interpreter")
    except ImportError as error:
        raise EnvironmentMissingError(f"{package} is installed but cannot be imported: {error}") from error


def _delegate(module: Any, artifact: Artifact, device: str) -> Any:
    """The Edge TPU's delegate, with the device chosen."""
    name = require_library(f"running {artifact.path.name}")
    try:
        return module.load_delegate(name, {"device": device} if device else {})
    except ValueError as error:
        seen = ", ".join(find_devices()) or "none"
        raise EnvironmentMissingError(
            f"{name} opens no Edge TPU (asked: {device or 'any'}, plugged in: {seen}): {error}",
            hint="plug one in, or name another with --option device=usb, pci or :0",
        ) from error


def _interpreter(module: Any, content: Content, arguments: Mapping[str, Any]) -> Any:
    try:
        with to_log():
            interpreter = module.Interpreter(model_content=content.data, **arguments)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(
            f"{content.path}: cannot be loaded: {error}",
            hint=f"export it again; where it is compiled and the file is good, {INSTALL}",
        ) from error
    return interpreter
