"""An engine behind the runner contract, and the portable graph before there is one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg import registry
from edgeseg.errors import ArtifactError, UsageError
from edgeseg.target import Artifact, Options, Runner
from edgeseg.tensors import INPUT_NAME, Array

from . import sdk
from .clocks import clocks
from .cuda import Device
from .engine_file import is_engine, read_engine, read_header
from .options import TensorRTRunOptions

PORTABLE = "onnx"
"""The target that runs the portable graph."""


def open_artifact(artifact: Artifact, options: Options) -> Runner:
    """An engine by TensorRT; the portable graph by ONNX Runtime, which its `execution` says."""
    asked = TensorRTRunOptions.of(options)
    return EngineRunner(artifact, asked) if is_engine(artifact.path) else PortableRunner(artifact, asked)


class PortableRunner(Runner):
    """The graph that an engine is built from, run by ONNX Runtime: what TensorRT will compute, but not by it."""

    def __init__(self, artifact: Artifact, options: TensorRTRunOptions) -> None:
        super().__init__(artifact.metadata)
        target = registry.load(PORTABLE)
        self._runner = target.open(artifact, registry.parse_run_options(target, {"threads": options.threads}))

    @property
    def execution(self) -> Mapping[str, str]:
        """Provider and threads."""
        return {"runs": "the portable graph by ONNX Runtime, not TensorRT", **self._runner.execution}

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return self._runner.run(arrays)

    def _close(self) -> None:
        self._runner.close()


class EngineRunner(Runner):
    """One engine, one execution context, one stream."""

    def __init__(self, artifact: Artifact, options: TensorRTRunOptions) -> None:
        super().__init__(artifact.metadata)
        module = sdk.import_tensorrt(f"running {artifact.path.name}")
        _, built = read_header(artifact.path)
        self._device = Device(options.gpu)
        try:
            gpu = self._device.gpu
            problem = built.mismatch(module.__version__, gpu.name, gpu.compute_capability)
            if problem:
                hint = "an engine runs where it was built: edgeseg verify BUNDLE --finished DIR builds one here"
                raise ArtifactError(f"{artifact.path}: {problem}", hint=hint)
            engine = read_engine(artifact.path)
            loaded = sdk.loaded(module, engine, str(artifact.path), host_code=built.version_compatible)
            self._engine, self._runtime = loaded
            self._check_tensors(module, artifact.path)
            self._context: Any = self._engine.create_execution_context()
        except BaseException:
            self._device.close()
            raise
        self._execution = {
            "gpu": f"{gpu.name}, compute capability {gpu.compute_capability}",
            "tensorrt": module.__version__,
            "float part": built.float_type,
        }
        self._device_ms: float | None = None

    @property
    def execution(self) -> Mapping[str, str]:
        """GPU, version, what computes in float, and the clocks as they are now."""
        return {**self._execution, **clocks()}

    @property
    def device_ms(self) -> float | None:
        """Between two CUDA events around the network, without the copies."""
        return self._device_ms

    def _check_tensors(self, module: Any, path: Path) -> None:
        """Names and types are those of the metadata: a tensor of another type would be read as noise."""
        engine = self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        wanted = {spec.name for spec in (*self.inputs, *self.outputs)}
        other = [name for name in names if engine.get_tensor_dtype(name) != module.DataType.FLOAT]
        if set(names) != wanted or other:
            raise ArtifactError(
                f"{path}: the engine has the tensors {sorted(names)}, of which {other} are not float32; "
                f"expected {sorted(wanted)} as float32",
                hint="export it again",
            )

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        device, context = self._device, self._context
        device.enter()
        images = np.ascontiguousarray(arrays[INPUT_NAME])
        if not context.set_input_shape(INPUT_NAME, images.shape):
            least, tuned, most = (tuple(shape) for shape in self._engine.get_tensor_profile_shape(INPUT_NAME, 0))
            raise UsageError(
                f"the engine takes inputs from {least} to {most}, got {images.shape}",
                hint=f"tuned for {tuned}; export with other `batches` or `sizes`",
            )
        results = {spec.name: np.empty(tuple(context.get_tensor_shape(spec.name)), np.float32) for spec in self.outputs}
        for name, array in {INPUT_NAME: images, **results}.items():
            context.set_tensor_address(name, device.buffer(name, array.nbytes))
        device.upload(INPUT_NAME, images)
        device.mark(start=True)
        done = context.execute_async_v3(device.stream)
        device.mark(start=False)
        for name, array in results.items():
            device.download(name, array)
        self._device_ms = device.wait()
        if not done:
            raise ArtifactError("TensorRT could not start the engine", hint="edgeseg -v shows its log")
        return results

    def _close(self) -> None:
        # The context goes before the engine, both before the memory that they use.
        self._context = None
        self._engine = None
        self._runtime = None
        self._device.close()
