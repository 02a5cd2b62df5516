"""A TorchScript module behind the runner contract; also reads files exported by the peer."""

from __future__ import annotations

import json
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeseg.errors import ArtifactError, EnvironmentMissingError, needs_extra
from edgeseg.foreign import from_peer_keys
from edgeseg.metadata import ArtifactMetadata
from edgeseg.target import Artifact, Options, Runner
from edgeseg.tensors import INPUT_NAME, Array, Dimension, decoded_output_specs, input_spec

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
        here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not here[options.device]:
            raise EnvironmentMissingError(
                f"torch {torch.__version__} here sees no {options.device} device", hint="run with --option device=cpu"
            )
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

    @property
    def module(self) -> Any:
        """The loaded module."""
        return self._module

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
    extra = _extra_files(path)
    if METADATA_FILE in extra:
        return ArtifactMetadata.from_json(extra[METADATA_FILE], str(path))
    if PEER_FILE not in extra:
        raise ArtifactError(
            f"{path}: TorchScript without metadata (neither {METADATA_FILE} nor {PEER_FILE} inside)",
            hint="export it with edgeseg; a bare trace does not say its classes and size",
        )
    keys = _peer_keys(extra[PEER_FILE], path)
    # A trace tells no shapes before it runs, and the peer's fixes the size: they are what its keys say.
    is_open = bool((keys.get("args") or {}).get("dynamic"))
    batch: Dimension = "batch" if is_open else keys["batch"]
    size: tuple[Dimension, Dimension] = ("height", "width") if is_open else keys["imgsz"]
    specs = decoded_output_specs(len(keys["names"]), size, batch)
    return from_peer_keys(keys, (input_spec(size, batch),), specs, "torchscript", str(path))


def _extra_files(path: Path) -> dict[str, str]:
    """The texts that were saved beside the module."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/extra/")[2]: name for name in archive.namelist() if "/extra/" in name}
            wanted = {key: names[key] for key in (METADATA_FILE, PEER_FILE) if key in names}
            return {key: archive.read(name).decode() for key, name in wanted.items()}
    except (OSError, EOFError, UnicodeDecodeError, zipfile.BadZipFile, zlib.error) as error:
        raise ArtifactError(f"{path}: no readable TorchScript archive: {error}", hint="export it again") from error


def _peer_keys(text: str, path: Path) -> dict[str, Any]:
    """The peer's keys with class ids as numbers, which JSON cannot hold as keys."""
    try:
        keys = json.loads(text)
        height, width = keys["imgsz"]
        names = {int(index): str(name) for index, name in keys["names"].items()}
        return {**keys, "names": names, "imgsz": (int(height), int(width)), "batch": int(keys["batch"])}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(f"{path}: its {PEER_FILE} is not readable: {error!r}", hint="export it again") from error


def _loaded(path: Path, device: str) -> Any:
    import torch

    with warnings.catch_warnings():
        # torch deprecates TorchScript as a whole; the format stays a target because devices run it.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise ArtifactError(f"{path}: torch cannot load it: {error}", hint="export it again") from error
