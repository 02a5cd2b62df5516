"""ONNX Runtime behind the runner contract; also reads files exported by the peer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeseg.errors import ArtifactError, EnvironmentMissingError, needs_extra
from edgeseg.foreign import from_peer_keys
from edgeseg.metadata import METADATA_KEY, ArtifactMetadata
from edgeseg.target import Artifact, Options, Runner
from edgeseg.tensors import Array, TensorSpec

from .options import OnnxRunOptions

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
MODEL_FIELDS = frozenset(b"\x12\x1a\x22\x28\x32\x3a\x42\x72")
"""First bytes of the other fields of ModelProto (onnx.proto: fields 2 to 8 and 14)."""


class OnnxRunner(Runner):
    """One inference session."""

    def __init__(self, artifact: Artifact, options: Options) -> None:
        super().__init__(artifact.metadata)
        options = OnnxRunOptions.of(options)
        self._session: Any = new_session(artifact.path, artifact.path, options, optimize=True)
        self._names = [spec.name for spec in self.outputs]
        self._check_names(artifact.path)

    @property
    def execution(self) -> Mapping[str, str]:
        """Provider and threads."""
        threads = self._session.get_session_options().intra_op_num_threads
        return {"provider": self._session.get_providers()[0], "threads": str(threads or "runtime's choice")}

    def _check_names(self, path: Path) -> None:
        inputs = [tensor.name for tensor in self._session.get_inputs()]
        outputs = [tensor.name for tensor in self._session.get_outputs()]
        if inputs != [spec.name for spec in self.inputs] or not set(self._names) <= set(outputs):
            raise ArtifactError(
                f"{path}: takes {inputs} and gives {outputs}, expected {[spec.name for spec in self.inputs]} "
                f"and {self._names}",
                hint="export it again",
            )

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        results = self._session.run(self._names, dict(arrays))
        return dict(zip(self._names, results, strict=True))

    def _close(self) -> None:
        self._session = None


def looks_like_onnx(path: Path) -> bool:
    """A file that starts as a ModelProto: a small ir_version (field 1), then another of its fields."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(3)
    return len(head) == 3 and head[0] == 0x08 and 3 <= head[1] <= 0x20 and head[2] in MODEL_FIELDS


def read_metadata(path: Path) -> ArtifactMetadata:
    """Our metadata from the file; for a foreign file what its own keys and tensors tell."""
    session = new_session(path, path, OnnxRunOptions(), optimize=False)
    keys = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY in keys:
        return ArtifactMetadata.from_json(keys[METADATA_KEY], str(path))
    inputs = tuple(_spec(tensor) for tensor in session.get_inputs())
    outputs = tuple(_spec(tensor) for tensor in session.get_outputs())
    return from_peer_keys(keys, inputs, outputs, "onnx", str(path))


def _spec(tensor: Any) -> TensorSpec:
    return TensorSpec(tensor.name, tuple(tensor.shape), DTYPES.get(tensor.type, tensor.type))


def new_session(model: Path | bytes, path: Path, options: OnnxRunOptions, *, optimize: bool) -> Any:
    """An inference session.

    Args:
        model: a file, or a serialised model.
        path: the artifact, for errors.
        options: provider and threads.
        optimize: whether the runtime may fuse nodes.

    Raises:
        ArtifactError: the runtime does not take it.
        EnvironmentMissingError: the runtime or its provider is not here.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise needs_extra("onnxruntime", "onnx", f"running {path.name}") from error
    provider = PROVIDERS[options.device]
    if provider not in onnxruntime.get_available_providers():
        raise EnvironmentMissingError(
            f"onnxruntime here has no {provider}", hint="pip install onnxruntime-gpu in place of onnxruntime"
        )
    settings = onnxruntime.SessionOptions()
    if options.threads is not None:
        settings.intra_op_num_threads = options.threads
    # Between runs the cores belong to the letterbox and the masks, not to threads that spin for a next run.
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    if not optimize:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Errors reach us as exceptions; the runtime's own log would repeat them on stderr.
    settings.log_severity_level = 4
    try:
        content = model if isinstance(model, bytes) else str(model)
        return onnxruntime.InferenceSession(content, settings, providers=[provider])
    except Exception as error:
        raise ArtifactError(f"{path}: ONNX Runtime cannot load it: {error}", hint="export it again") from error
