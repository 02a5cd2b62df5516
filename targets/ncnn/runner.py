"""ncnn behind the runner contract, and what a folder says about itself; also reads folders exported by the peer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from edgeseg.errors import ArtifactError, EnvironmentMissingError, needs_extra
from edgeseg.folder_metadata import METADATA_FILE, check_hashes, read_folder_metadata
from edgeseg.foreign import from_peer_keys
from edgeseg.metadata import ArtifactMetadata
from edgeseg.target import Artifact, Options, Runner
from edgeseg.tensors import DECODED_OUTPUT_NAMES, INPUT_NAME, Array, decoded_output_specs, input_spec

from .network import BIN_FILE, CONVOLUTIONS, PARAM_FILE, Layer, ends_of, read_layers, stored_types
from .options import NcnnRunOptions

PEER_FILE = "metadata.yaml"
PEER_NAMES = {INPUT_NAME: "in0", **{name: f"out{index}" for index, name in enumerate(DECODED_OUTPUT_NAMES)}}
"""Names of tensors in the decoded layout to those that the converter gives, and that existing clients ask for."""

SWITCHES: Mapping[str, tuple[str, ...]] = {
    "fp16": ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"),
    "bf16": ("use_bf16_packed", "use_bf16_storage"),
}
"""Members of ncnn.Option by arithmetic; ncnn's own default is fp16 wherever it can."""

RAW = 1
"""To `Extractor.extract`: the tensor as the layer holds it, not widened to fp32."""


class NcnnRunner(Runner):
    """One loaded network. ncnn has no batch in its files: the pictures of one run after each other."""

    def __init__(self, artifact: Artifact, options: Options) -> None:
        super().__init__(artifact.metadata)
        options = NcnnRunOptions.of(options)
        layers = checked_layers(artifact.path)
        self._blobs = _blob_names(artifact, layers)
        new_pool = _ncnn(artifact.path).PoolAllocator
        # Apart: a layer's scratch space would take a block that the next tensor fits.
        self._pool: Any = new_pool()
        self._scratch: Any = new_pool()
        self._net: Any = _loaded(artifact.path, options, self._pool, self._scratch)
        self._device = _device_name(self._net, options)
        self._arithmetic = self._probed(layers) if options.device == "cpu" else _switched(self._net.opt)
        if self._arithmetic != options.arithmetic:
            # ncnn computes in fp32 without a word.
            self.close()
            raise EnvironmentMissingError(
                f"{self._device} here does not compute this network in {options.arithmetic}, but in {self._arithmetic}",
                hint=f"run with --option arithmetic={self._arithmetic}",
            )

    @property
    def execution(self) -> Mapping[str, str]:
        """Device, threads, and the arithmetic found in the network's first convolution."""
        threads = str(self._net.opt.num_threads)
        return {"device": self._device, "threads": threads, "arithmetic": self._arithmetic}

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        names = [spec.name for spec in self.outputs]
        runs = [self.extracted(picture, [self._blobs[name] for name in names]) for picture in arrays[INPUT_NAME]]
        if len(runs) == 1:
            return {name: array[None] for name, array in zip(names, runs[0], strict=True)}
        return {name: np.stack([run[index] for run in runs]) for index, name in enumerate(names)}

    def extracted(self, picture: Array, blobs: list[str]) -> list[Array]:
        """Run one (3, H, W) picture; the arrays lie in ncnn's memory, which they keep alive."""
        import ncnn

        # ncnn keeps an address, not the array: it stays named here, and the clone is ncnn's own.
        contiguous = np.ascontiguousarray(picture)
        found = []
        with self._net.create_extractor() as extractor:
            extractor.input(self._blobs[INPUT_NAME], ncnn.Mat(contiguous).clone(self._pool))
            for blob in blobs:
                code, mat = extractor.extract(blob)
                if code:
                    raise ArtifactError(f"ncnn gives no tensor {blob}: code {code}", hint="see that memory is free")
                found.append(np.asarray(_InPool(mat, self._pool)))
        return found

    def _probed(self, layers: list[Layer]) -> str:
        """What the first convolution leaves: only that says what a processor is able to."""
        import ncnn

        first = next((top for layer in layers if layer.kind in CONVOLUTIONS for top in layer.tops), None)
        if first is None:
            return "fp32"
        picture = np.zeros((3, *self.metadata.image_size), np.float32)
        with self._net.create_extractor() as extractor:
            extractor.input(self._blobs[INPUT_NAME], ncnn.Mat(picture).clone(self._pool))
            _, mat = extractor.extract(first, RAW)
        return _switched(self._net.opt) if mat.elembits() == 16 else "fp32"

    def _close(self) -> None:
        self._net.clear()
        self._net = self._pool = self._scratch = None


class _InPool:
    """What an array of ncnn's holds on to: the tensor, and the pool that it may lie in, freed after it.

    The binding of today copies a tensor out of the pool; nothing says that the next one does.
    """

    def __init__(self, mat: Any, pool: Any) -> None:
        self.__array_interface__ = np.asarray(mat).__array_interface__
        # A tuple lets go of its last member first.
        self._held = (pool, mat)


def checked_layers(path: Path) -> list[Layer]:
    """The layers of a folder whose files are whole.

    Raises:
        ArtifactError: a file is absent, damaged, or not the one that was written there.
    """
    layers = read_layers(path)
    stored_types(path, layers)
    if (path / METADATA_FILE).is_file():
        check_hashes(path / METADATA_FILE, path, (PARAM_FILE, BIN_FILE))
    return layers


def read_metadata(path: Path) -> ArtifactMetadata:
    """Our metadata from the folder; for a foreign one what its `metadata.yaml` tells."""
    if (path / METADATA_FILE).is_file():
        return read_folder_metadata(path / METADATA_FILE)
    keys = _peer_keys(path)
    layers = read_layers(path)
    found, wanted = ends_of(layers), (["in0"], ["out0", "out1"])
    if found != wanted:
        raise ArtifactError(
            f"{path}: takes {found[0]} and gives {found[1]}, and nothing in it says what they are",
            hint=f"expected {METADATA_FILE}, or {wanted[0]} and {wanted[1]} in the decoded layout",
        )
    size = keys["imgsz"]
    outputs = decoded_output_specs(len(keys["names"]), size, "batch")
    metadata = from_peer_keys(keys, (input_spec(size, "batch"),), outputs, "ncnn", str(path))
    types = set(stored_types(path, layers).values())
    return replace(metadata, precision="int8" if "int8" in types else "fp16" if types == {"fp16"} else "fp32")


def _peer_keys(path: Path) -> dict[str, Any]:
    """The peer's keys, with class ids and size as numbers."""
    file = path / PEER_FILE
    try:
        keys = yaml.safe_load(file.read_bytes())
        height, width = keys["imgsz"]
        names = {int(index): str(name) for index, name in keys["names"].items()}
        return {**keys, "names": names, "imgsz": (int(height), int(width))}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise ArtifactError(
            f"{path}: neither {METADATA_FILE} nor a readable {PEER_FILE} inside: {error!r}", hint="export it again"
        ) from error


def _blob_names(artifact: Artifact, layers: list[Layer]) -> dict[str, str]:
    """Name of each declared tensor to that in the description."""
    names = PEER_NAMES if artifact.metadata.head == "decoded" else {}
    declared = [spec.name for spec in (*artifact.metadata.inputs, *artifact.metadata.outputs)]
    blobs = {name: names.get(name, name) for name in declared}
    inputs, outputs = ends_of(layers)
    if [blobs[INPUT_NAME]] != inputs or sorted(blobs.values()) != sorted((*inputs, *outputs)):
        raise ArtifactError(
            f"{artifact.path}: takes {inputs} and gives {outputs}, expected {sorted(blobs.values())}",
            hint="export it again",
        )
    return blobs


def _ncnn(path: Path) -> Any:
    try:
        import ncnn
    except ImportError as error:
        raise needs_extra("ncnn", "ncnn", f"running {path.name}") from error
    return ncnn


def _loaded(path: Path, options: NcnnRunOptions, pool: Any, scratch: Any) -> Any:
    ncnn = _ncnn(path)
    vulkan = options.device == "vulkan"
    if vulkan and ncnn.get_gpu_count() == 0:
        raise EnvironmentMissingError(
            "ncnn sees no Vulkan device here", hint="install its driver, or run with --option device=cpu"
        )
    net = ncnn.Net()
    for arithmetic, switches in SWITCHES.items():
        for switch in switches:
            setattr(net.opt, switch, arithmetic == options.arithmetic)
    net.opt.use_vulkan_compute = vulkan
    if options.threads is not None:
        net.opt.num_threads = options.threads
    if net.load_param(str(path / PARAM_FILE)) or net.load_model(str(path / BIN_FILE)):
        raise ArtifactError(f"{path}: ncnn cannot load it", hint="export it again")
    # Memory of one run serves the next: asked for anew, its pages would be cleared each time. Only now, since some
    # layers keep what loading allocates: weights in a pool that goes before the net would be freed twice.
    net.opt.blob_allocator, net.opt.workspace_allocator = pool, scratch
    return net


def _device_name(net: Any, options: NcnnRunOptions) -> str:
    return f"vulkan: {net.vulkan_device().info().device_name()}" if options.device == "vulkan" else "cpu"


def _switched(options: Any) -> str:
    """The arithmetic that an ncnn.Option holds; loading takes back what a Vulkan device is not able to."""
    for arithmetic, switches in SWITCHES.items():
        if getattr(options, switches[-1]):
            return arithmetic
    return "fp32"
