"""A SavedModel behind the runner contract, and what its folder says about itself; also reads the peer's folders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.errors import ArtifactError
from edgeseg.folder_metadata import METADATA_FILE, check_hashes, read_folder_metadata
from edgeseg.foreign import from_peer_keys, read_peer_keys
from edgeseg.metadata import ArtifactMetadata
from edgeseg.target import Artifact, Options, Runner
from edgeseg.tensors import INPUT_NAME, Array, TensorSpec

from .options import SavedModelRunOptions
from .sdk import import_tensorflow, prepare, threads_in_use
from .wire import starts_as_saved_model

MODEL_FILE = "saved_model.pb"
EXTRA_FILE = f"assets.extra/{METADATA_FILE}"
"""The format keeps that folder for what its users add, and no loader reads it."""

PEER_FILE = "metadata.yaml"
SIGNATURE = "serving_default"
TO_LAST, TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


class TensorFlowRunner(Runner):
    """One function of TensorFlow that takes and gives pictures channels last.

    Args:
        artifact: opened.
        function: takes the input tensor, gives output tensors in the order of the metadata.
        tensorflow: the module.
    """

    channels_last = True

    def __init__(self, artifact: Artifact, function: Any, tensorflow: Any) -> None:
        super().__init__(artifact.metadata)
        self._function, self._tensorflow, self._path = function, tensorflow, artifact.path

    @property
    def execution(self) -> Mapping[str, str]:
        """Device, and threads of one operator."""
        return {"device": "cpu", "threads": threads_in_use(self._tensorflow)}

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        pictures = np.ascontiguousarray(arrays[INPUT_NAME].transpose(TO_LAST))
        try:
            results = self._function(self._tensorflow.constant(pictures))
        except self._tensorflow.errors.OpError as error:
            raise ArtifactError(
                f"{self._path}: TensorFlow cannot run it: {first_line(error)}", hint="see that memory is free"
            ) from error
        names = [spec.name for spec in self.outputs]
        return {name: _own(result) for name, result in zip(names, results, strict=True)}

    def _close(self) -> None:
        self._function = None


class SavedModelRunner(TensorFlowRunner):
    """The folder's default signature."""

    def __init__(self, artifact: Artifact, options: Options) -> None:
        options = SavedModelRunOptions.of(options)
        check_hash(artifact.path)
        tensorflow = import_tensorflow(f"running {artifact.path.name}")
        prepare(tensorflow, options.threads)
        # A signature holds no reference to what was loaded with it.
        self._loaded = _loaded(artifact.path)
        signature = self._loaded.signatures[SIGNATURE]
        given = [spec.name for spec in _signature_inputs(signature)]
        names = _output_names(artifact, signature)
        super().__init__(artifact, lambda pictures: _called(signature, {given[0]: pictures}, names), tensorflow)

    def _close(self) -> None:
        super()._close()
        self._loaded = None


def looks_like_saved_model(path: Path) -> bool:
    """A folder with a SavedModel message."""
    return starts_as_saved_model(path / MODEL_FILE)


def read_metadata(path: Path) -> ArtifactMetadata:
    """Our metadata from the folder; for a foreign one what its signature and the `metadata.yaml` in it tell."""
    if (path / EXTRA_FILE).is_file():
        return read_folder_metadata(path / EXTRA_FILE)
    if not looks_like_saved_model(path):
        raise ArtifactError(f"{path}: no SavedModel, expected a folder with {MODEL_FILE}", hint="export it again")
    loaded = _loaded(path)
    signature = loaded.signatures[SIGNATURE]
    inputs, outputs = _signature_inputs(signature), _signature_outputs(signature)
    keys = read_peer_keys(path / PEER_FILE)
    return from_peer_keys(keys, as_contract(inputs), by_rank(as_contract(outputs)), "saved_model", str(path))


def check_hash(path: Path) -> None:
    """Raise `ArtifactError` where the graph of a folder of ours is not the one that was written there."""
    if (path / EXTRA_FILE).is_file():
        check_hashes(path / EXTRA_FILE, path, (MODEL_FILE,))


def _loaded(path: Path) -> Any:
    """A folder as TensorFlow's own loader gives it; it has the default signature."""
    tensorflow = import_tensorflow(f"running {path.name}")
    try:
        loaded = tensorflow.saved_model.load(str(path))
    except Exception as error:
        raise ArtifactError(
            f"{path}: TensorFlow cannot load it: {first_line(error)}", hint="export it again"
        ) from error
    if SIGNATURE not in loaded.signatures:
        raise ArtifactError(
            f"{path}: has the signatures {sorted(loaded.signatures)}, expected {SIGNATURE}", hint="export it again"
        )
    return loaded


def _signature_inputs(signature: Any) -> tuple[TensorSpec, ...]:
    """Names and shapes that a signature takes."""
    return tuple(_spec(name, given) for name, given in signature.structured_input_signature[1].items())


def _signature_outputs(signature: Any) -> tuple[TensorSpec, ...]:
    return tuple(_spec(name, given) for name, given in sorted(signature.structured_outputs.items()))


def as_contract(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """Specs with pictures channels first."""
    return tuple(
        TensorSpec(spec.name, tuple(spec.shape[axis] for axis in TO_FIRST), spec.dtype)
        if len(spec.shape) == len(TO_FIRST)
        else spec
        for spec in specs
    )


def by_rank(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """The decoded layout's order: points (rank 3), then prototypes (rank 4); a foreign exporter names them freely."""
    return tuple(sorted(specs, key=lambda spec: len(spec.shape)))


def first_line(error: Exception) -> str:
    """The SDK's own sentence; the lines below it are places in its source."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _spec(name: str, given: Any) -> TensorSpec:
    shape = [axis if axis is not None else f"axis{index}" for index, axis in enumerate(given.shape)]
    return TensorSpec(name, tuple(shape), given.dtype.name)


def _output_names(artifact: Artifact, signature: Any) -> list[str]:
    """What the signature calls the outputs of the metadata, in their order."""
    found = _signature_outputs(signature)
    wanted = [spec.name for spec in artifact.metadata.outputs]
    if {spec.name for spec in found} == set(wanted):
        return wanted
    if artifact.metadata.weights_sha256 or len(found) != len(wanted):
        raise ArtifactError(
            f"{artifact.path}: gives {[spec.name for spec in found]}, expected {wanted}", hint="export it again"
        )
    return [spec.name for spec in by_rank(found)]


def _called(signature: Any, given: Mapping[str, Any], names: list[str]) -> list[Any]:
    results = signature(**given)
    return [results[name] for name in names]


def _own(tensor: Any) -> Array:
    """A copy, since TensorFlow may lend its own memory; of a picture the view with channels first."""
    array = np.array(tensor, np.float32)
    return array.transpose(TO_FIRST) if array.ndim == len(TO_FIRST) else array
