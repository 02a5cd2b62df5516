"""A `.tflite` file behind the runner contract: channels last and integers inside, NCHW float32 outside."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeseg.environment import installed_version
from edgeseg.errors import ArtifactError, EnvironmentMissingError
from edgeseg.quantised import Outputs, Quantised, Tensor, real
from edgeseg.target import Artifact, Options, Runner
from edgeseg.tensors import INPUT_NAME, Array

from . import INTERPRETERS
from .container import DTYPES, Content, channels_last, read_content
from .flatbuffer import Tensor as StoredTensor
from .flatbuffer import with_outputs
from .native_output import to_log
from .options import TfliteRunOptions

CV_DEPTHS: Mapping[str, int] = {"uint8": 0, "int8": 1, "int16": 3, "float32": 5}
"""Types of pixels to what OpenCV calls them: CV_8U, CV_8S, CV_16S, CV_32F."""


@dataclass(frozen=True)
class _End:
    """An input or output of the file.

    Attributes:
        number: of the tensor.
        dtype: numpy's name of what is stored.
        scale: real numbers per step; 0 where real numbers are stored.
        zero_point: the integer that stands for 0.
        last: whether the channels are the last axis in the file.
    """

    number: int
    dtype: str
    scale: float
    zero_point: int
    last: bool


class TfliteRunner(Runner):
    """One interpreter, of LiteRT or of tflite-runtime.

    Args:
        artifact: the file.
        options: `TfliteRunOptions`.
        shown: numbers of inner tensors that it gives out too.
    """

    channels_last = True

    def __init__(self, artifact: Artifact, options: Options, shown: Sequence[int] = ()) -> None:
        super().__init__(artifact.metadata)
        options = TfliteRunOptions.of(options)
        content = read_content(artifact.path)
        self._input, self._outputs = ends_of(content, artifact)
        # Channels last, as all maps in files of this format are.
        self._shown = {
            number: _end(number, tensor, tensor.shape[-1], artifact)
            for number, tensor in ((number, content.network.tensors[number]) for number in shown)
        }
        if shown:
            content = replace(content, data=with_outputs(content.data, shown))
        package = interpreter_package(options, artifact.path.name)
        # The runtimes' own choice is one thread.
        threads = options.threads or usable_cores()
        self._interpreter: Any = _interpreter(package, content, options.delegate, threads)
        self._execution = {
            "interpreter": f"{package} {installed_version(package, INTERPRETERS[package])}",
            "delegate": options.delegate,
            "threads": str(threads),
        }

    @property
    def execution(self) -> Mapping[str, str]:
        """Which interpreter, its delegate and its threads."""
        return self._execution

    def shown(self, images: Array) -> dict[int, Array]:
        """Run; what the inner tensors hold, (B, channels, height, width) float32, by their numbers.

        Args:
            images: (B, 3, H, W) float32.
        """
        self._invoke(images)
        return {number: real(_held(self._interpreter.get_tensor(number), end)) for number, end in self._shown.items()}

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {name: real(tensor) for name, tensor in self._stored(arrays).items()}

    def _start(self, arrays: Mapping[str, Array]) -> Callable[[], Outputs]:
        return functools.partial(self._stored, arrays)

    def _stored(self, arrays: Mapping[str, Array]) -> dict[str, Tensor]:
        """Run; the outputs as the file holds them, copied out of the interpreter's memory."""
        self._invoke(arrays[INPUT_NAME])
        found = {name: _held(self._interpreter.get_tensor(end.number), end) for name, end in self._outputs.items()}
        if self.metadata.head == "decoded":
            # The peer's files of this format give boxes as fractions of the input, where its others give pixels.
            table = real(found["output0"])
            height, width = self.metadata.image_size
            table[:, :4] *= np.array([[width], [height], [width], [height]], np.float32)
            found["output0"] = table
        return found

    def _invoke(self, images: Array) -> None:
        self._interpreter.set_tensor(self._input.number, _narrowed(images, self._input))
        self._interpreter.invoke()

    def _close(self) -> None:
        self._interpreter = None


def usable_cores() -> int:
    """How many this process may run on, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _held(stored: Array, end: _End) -> Tensor:
    """With channels first, as a view: what reads a few points of a map finds them together in memory."""
    first = stored.transpose(0, 3, 1, 2) if end.last else stored
    return Quantised(first, end.scale, end.zero_point) if end.scale else first


def _narrowed(images: Array, end: _End) -> Array:
    """(B, 3, H, W) float32 to what the file takes."""
    import cv2

    # No copy where `predict` made them: the channels lie last then.
    pictures = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    if end.scale:
        stored = np.empty(pictures.shape, end.dtype)
        for real_values, picture in zip(pictures, stored, strict=True):
            # Scaled, rounded and kept within the type in one pass; numpy takes five times as long.
            cv2.addWeighted(
                real_values, 1 / end.scale, real_values, 0, end.zero_point, dst=picture, dtype=CV_DEPTHS[end.dtype]
            )
        pictures = stored
    return pictures if end.last else np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))


def ends_of(content: Content, artifact: Artifact) -> tuple[_End, dict[str, _End]]:
    """The input, and the declared outputs by name.

    Raises:
        ArtifactError: the file has others, or holds them in a type that is not read here.
    """
    network, metadata = content.network, artifact.metadata
    outputs = network.outputs
    if metadata.head == "decoded":
        # Foreign files call them as they like; the one of rank 3 comes first.
        numbers = sorted(outputs.values(), key=lambda number: len(network.tensors[number].shape))
        outputs = dict(zip((spec.name for spec in metadata.outputs), numbers, strict=True))
    declared = {spec.name for spec in metadata.outputs}
    if len(network.inputs) != 1 or outputs.keys() != declared:
        raise ArtifactError(
            f"{artifact.path}: takes {list(network.inputs)} and gives {list(outputs)}, expected {INPUT_NAME} and "
            f"{sorted(declared)}",
            hint="export it again",
        )
    (source,) = network.inputs.values()
    return _end(source, network.tensors[source], 3, artifact), {
        spec.name: _end(outputs[spec.name], network.tensors[outputs[spec.name]], int(spec.shape[1]), artifact)
        for spec in metadata.outputs
    }


def _end(number: int, tensor: StoredTensor, channels: int, artifact: Artifact) -> _End:
    if tensor.type not in DTYPES:
        raise ArtifactError(
            f"{artifact.path}: the tensor {tensor.name} is {tensor.type}, expected one of {', '.join(DTYPES)}",
            hint="export it again with a known precision",
        )
    quantisation = tensor.quantisation
    if tensor.type == "FLOAT32":
        return _End(number, "float32", 0.0, 0, channels_last(tensor.shape, channels))
    if len(quantisation.scales) != 1:
        raise ArtifactError(
            f"{artifact.path}: the tensor {tensor.name} has {len(quantisation.scales)} scales, expected one",
            hint="export it again",
        )
    scale, zero_point = quantisation.scales[0], quantisation.zero_points[0]
    return _End(number, DTYPES[tensor.type], scale, zero_point, channels_last(tensor.shape, channels))


def interpreter_package(options: TfliteRunOptions, name: str) -> str:
    """The package to run with.

    Raises:
        EnvironmentMissingError: it is not installed, or none is.
    """
    wanted = list(INTERPRETERS) if options.interpreter == "auto" else [options.interpreter]
    for package in wanted:
        if installed_version(package, INTERPRETERS[package]):
            return package
    raise EnvironmentMissingError(
        f"running {name} needs the package {' or '.join(wanted)}, which is not installed here",
        hint="pip install 'edgeseg[tflite]'"
        if "ai-edge-litert" in wanted
        else "pip install tflite-runtime 'numpy<2', in an environment of its own",
    )


def _interpreter(package: str, content: Content, delegate: str, threads: int) -> Any:
    try:
        module = importlib.import_module(f"{INTERPRETERS[package]}.interpreter")
    except ImportError as error:
        raise EnvironmentMissingError(f"{package} is installed but cannot be imported: {error}") from error
    resolvers = module.OpResolverType
    resolver = resolvers.AUTO if delegate == "xnnpack" else resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        with to_log():
            interpreter = module.Interpreter(
                model_content=content.data,
                num_threads=threads,
                experimental_op_resolver_type=resolver,
            )
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(f"{content.path}: {package} cannot load it: {error}", hint="export it again") from error
    except (SystemError, AttributeError) as error:
        # tflite-runtime of 2023 was built for numpy 1 and says so in this way only.
        raise EnvironmentMissingError(
            f"{package} does not work here: {error}", hint="pip install 'numpy<2', in an environment of its own"
        ) from error
    return interpreter
