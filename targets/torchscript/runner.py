"""A TorchScript module behind the runner contract; also reads files exported by the peer."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeseg.errors import ArtifactError, EnvironmentMissingError, needs_extra
from edgeseg.foreign import from_peer_keys
from edgeseg.metadata import ArtifactMetadata
from edgeseg.target import Artifact, Options, Runner
from edgeseg.tensors import (
    DECODED_OUTPUT_NAMES,
    INPUT_NAME,
    NUM_COEFFICIENTS,
    Array,
    decoded_output_specs,
    input_spec,
)

from .options import TorchScriptRunOptions

METADATA_FILE = "edgeseg.json"
PEER_FILE = "config.txt"


class TorchScriptRunner(Runner):
    """One loaded module."""

    def __init__(self, artifact: Artifact, options: Options) -> None:
        super().__init__(artifact.metadata)
        options = TorchScriptRunOptions.of(options)
        try:
            import torch
        except ImportError as error:
            raise needs_extra("torch", "torchscript", f"running {artifact.path.name}") from error
        if options.device == "cuda" and not torch.cuda.is_available():
            raise EnvironmentMissingError("torch here sees no CUDA device", hint="run with --option device=cpu")
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self._device = options.device
        self._module: Any = _loaded(artifact.path, options.device)
        self._names = [spec.name for spec in self.outputs]

    @property
    def execution(self) -> Mapping[str, str]:
        """Device and threads."""
        import torch

        return {"device": self._device, "threads": str(torch.get_num_threads())}

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        import torch

        with torch.inference_mode():
            results = self._module(torch.from_numpy(arrays[INPUT_NAME]).to(self._device))
        if len(results) != len(self._names):
            raise ArtifactError(f"the module gives {len(results)} tensors, its metadata says {self._names}")
        return {name: tensor.cpu().numpy() for name, tensor in zip(self._names, results, strict=True)}

    def _close(self) -> None:
        self._module = None


def looks_like_torchscript(path: Path) -> bool:
    """A zip archive with compiled code beside its constants."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        parts = {name.partition("/")[2] for name in archive.namelist()}
    return "constants.pkl" in parts and any(part.startswith("code/") for part in parts)


def read_metadata(path: Path) -> ArtifactMetadata:
    """Our metadata from the archive; for a foreign file its own keys, in the decoded layout."""
    with zipfile.ZipFile(path) as archive:
        extra = {name.rpartition("/extra/")[2]: name for name in archive.namelist() if "/extra/" in name}
        if METADATA_FILE in extra:
            return ArtifactMetadata.from_json(archive.read(extra[METADATA_FILE]).decode(), str(path))
        if PEER_FILE not in extra:
            raise ArtifactError(
                f"{path}: TorchScript without metadata (neither {METADATA_FILE} nor {PEER_FILE} inside)",
                hint="export it with edgeseg; a bare trace does not say its classes and size",
            )
        keys = json.loads(archive.read(extra[PEER_FILE]))
    height, width = (int(side) for side in keys["imgsz"])
    specs = decoded_output_specs(len(keys["names"]), ("height", "width"), "batch")
    if [spec.name for spec in specs] != list(DECODED_OUTPUT_NAMES) or specs[1].shape[1] != NUM_COEFFICIENTS:
        raise ArtifactError(f"{path}: not the decoded layout")
    sized = {**keys, "imgsz": [height, width]}
    return from_peer_keys(sized, (input_spec(("height", "width"), "batch"),), specs, "torchscript", str(path))


def _loaded(path: Path, device: str) -> Any:
    import torch

    with warnings.catch_warnings():
        # torch deprecates TorchScript as a whole; the format stays a target because devices run it.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise ArtifactError(f"{path}: torch cannot load it: {error}", hint="export it again") from error
