"""TensorRT's Python module, and what it says while it works."""

from __future__ import annotations

import functools
import importlib
import logging
from dataclasses import dataclass
from typing import Any

from edgeseg.errors import ArtifactError, EnvironmentMissingError, StageError

from . import cuda

logger = logging.getLogger("edgeseg.tensorrt")

NAME = "tensorrt"
RTX = "tensorrt_rtx"
"""TensorRT for RTX: the same parser and interface, which also builds where there is no GPU."""

OLDEST = (8, 6)
"""The first with version-compatible engines; the calls by tensor name are older (8.5)."""

INSTALL = (
    "on a Jetson it comes with JetPack (package python3-libnvinfer; a venv sees it with --system-site-packages); "
    "elsewhere: pip install tensorrt"
)


def deferral() -> str:
    """Why no engine can be built or run here; empty where it can."""
    reason = cuda.lacking()
    return f"a TensorRT engine is built and run on the NVIDIA GPU that it is for: {reason}" if reason else ""


def import_tensorrt(purpose: str) -> Any:
    """The module.

    Raises:
        EnvironmentMissingError: there is no GPU, no TensorRT, or one that is too old.
    """
    lacking = deferral()
    if lacking:
        raise EnvironmentMissingError(lacking, hint="edgeseg verify BUNDLE on the device builds it there")
    try:
        module = importlib.import_module(NAME)
    except ImportError as error:
        raise EnvironmentMissingError(f"{purpose} needs TensorRT: {error}", hint=INSTALL) from error
    if version_of(module.__version__) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise EnvironmentMissingError(f"{purpose} needs TensorRT {wanted} or later, here is {module.__version__}")
    return module


def version_of(text: str) -> tuple[int, ...]:
    """Major and minor version."""
    return tuple(int(part) for part in text.split(".")[:2])


@functools.cache
def log_of(module: Any) -> Any:
    """The module's one logger, which keeps errors and passes warnings on: TensorRT ignores every further one."""

    class Log(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            """Called by TensorRT, from any thread."""
            if severity in (module.ILogger.Severity.INTERNAL_ERROR, module.ILogger.Severity.ERROR):
                self.errors.append(message)
            elif severity == module.ILogger.Severity.WARNING:
                logger.debug("%s", message)

    return Log()


@dataclass(frozen=True)
class Parsed:
    """A builder, a network, and the parser that read it, which may still hold the weights: all three stay together."""

    builder: Any
    network: Any
    parser: Any


def parsed(module: Any, onnx: bytes, *, typed: bool, outcome: str) -> Parsed:
    """The network that TensorRT's parser reads from an ONNX graph.

    Args:
        module: TensorRT, or TensorRT for RTX.
        onnx: the file's bytes.
        typed: whether the graph's own types decide what computes in which precision.
        outcome: the word of a failure.

    Raises:
        StageError: the parser refuses the graph; the message has its own words.
    """
    log = log_of(module)
    log.errors.clear()
    builder = module.Builder(log)
    flag = module.NetworkDefinitionCreationFlag
    # An open batch is the only kind from TensorRT 10 on, where the flag is ignored, and later gone.
    explicit = 1 << int(flag.EXPLICIT_BATCH) if hasattr(flag, "EXPLICIT_BATCH") else 0
    network = builder.create_network(1 << int(flag.STRONGLY_TYPED) if typed else explicit)
    parser = module.OnnxParser(network, log)
    if not parser.parse(onnx):
        said = [_words(parser.get_error(index)) for index in range(parser.num_errors)]
        raise StageError(
            outcome,
            f"TensorRT {module.__version__} does not read the ONNX graph: {'; '.join(said) or '; '.join(log.errors)}",
            hint="another opset may help: options.opset",
        )
    return Parsed(builder, network, parser)


def _words(error: Any) -> str:
    """A parser's error, with the node that it is about where this version tells (10 and later)."""
    where = [str(getattr(error, name)()) for name in ("node_operator", "node_name") if hasattr(error, name)]
    return f"{error.desc()} ({' '.join(where)})" if any(where) else str(error.desc())


def built(module: Any, graph: Parsed, config: Any, outcome: str) -> bytes:
    """The engine.

    Raises:
        StageError: the builder fails; the message has its own words.
    """
    engine = graph.builder.build_serialized_network(graph.network, config)
    if engine is None:
        said = "; ".join(log_of(module).errors) or "it gives no reason"
        raise StageError(
            outcome, f"TensorRT {module.__version__} builds no engine: {said}", hint="less workspace, or another option"
        )
    return bytes(engine)


def loaded(module: Any, engine: bytes, where: str, *, host_code: bool) -> tuple[Any, Any]:
    """An engine in memory, and its runtime, which must outlive it.

    Raises:
        ArtifactError: TensorRT refuses it; the message has its own words.
    """
    log = log_of(module)
    log.errors.clear()
    runtime = module.Runtime(log)
    if host_code:
        # A version-compatible engine brings a small runtime of its own.
        runtime.engine_host_code_allowed = True
    found = runtime.deserialize_cuda_engine(engine)
    if found is None:
        raise ArtifactError(
            f"{where}: TensorRT {module.__version__} does not load it: {'; '.join(log.errors)}",
            hint="build it again here: edgeseg verify BUNDLE --finished DIR",
        )
    return found, runtime
