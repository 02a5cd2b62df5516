"""The reference: the PyTorch fp32 network of some weights, as a runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field

from edgeseg.errors import EnvironmentMissingError, WeightsError
from edgeseg.metadata import ArtifactMetadata
from edgeseg.model.config import NetworkConfig
from edgeseg.model.fuse import fused
from edgeseg.model.network import SegmentationNetwork
from edgeseg.model.weights import Weights, load_weights
from edgeseg.target import Options, Runner
from edgeseg.tensors import INPUT_NAME, RAW_OUTPUT_NAMES, Array, input_spec, raw_output_specs

FORMAT = "pytorch"

_DEVICES: Mapping[str, Callable[[], bool]] = {
    "cpu": lambda: True,
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
}
"""Device to whether it is there."""


class ReferenceOptions(Options):
    """How the reference runs.

    Attributes:
        threads: of torch's operators; None leaves torch's own choice.
        device: where to run.
    """

    threads: int | None = Field(None, ge=1)
    device: Literal["cpu", "cuda", "mps"] = "cpu"


class ReferenceRunner(Runner):
    """The fused fp32 network on any batch and any size that is a multiple of 32."""

    def __init__(self, weights: Weights, weights_sha256: str = "", options: ReferenceOptions | None = None) -> None:
        options = options or ReferenceOptions()
        super().__init__(_metadata(weights, weights_sha256))
        if not _DEVICES[options.device]():
            raise EnvironmentMissingError(
                f"torch {torch.__version__} here sees no {options.device} device", hint="run with --option device=cpu"
            )
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self._device = torch.device(options.device)
        self._network: SegmentationNetwork | None = fused(build_network(weights)).to(self._device)

    @property
    def execution(self) -> Mapping[str, str]:
        """Device, threads and precision."""
        return {"device": str(self._device), "threads": str(torch.get_num_threads()), "precision": "fp32"}

    @torch.inference_mode()
    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        assert self._network is not None  # noqa: S101 - `run` refuses a closed runner before
        images = torch.from_numpy(arrays[INPUT_NAME])
        outputs = self._network(images.to(self._device))
        return {name: tensor.cpu().numpy() for name, tensor in zip(RAW_OUTPUT_NAMES, outputs, strict=True)}

    def _close(self) -> None:
        self._network = None


def build_network(weights: Weights) -> SegmentationNetwork:
    """The network with these weights, in evaluation mode, fp32.

    Raises:
        WeightsError: the weights lack branches, such as a detector's.
    """
    if weights.metadata.missing:
        raise WeightsError(
            f"{weights.metadata.source.get('file', 'these weights')}: no tensors of "
            f"{', '.join(weights.metadata.missing)}: they come from a detector",
            hint="they are a start for training; give segmentation weights to predict, verify or export",
        )
    network = SegmentationNetwork(weights.config)
    # strict=False only for the normalisations' counters, which evaluation never reads; the rest was checked.
    network.load_state_dict({name: torch.from_numpy(a) for name, a in weights.tensors.items()}, strict=False)
    return network.eval()


def load_network(path: Path, *, halves: bool = True) -> tuple[SegmentationNetwork, Weights]:
    """The network of a weights file as `fused` makes it, for exporters, and the weights themselves."""
    weights = load_weights(path)
    return fused(build_network(weights), halves=halves), weights


def expected_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Name to shape of every tensor of a network, without allocating one."""
    with torch.device("meta"):
        network = SegmentationNetwork(config)
    state = network.state_dict()
    return {n: tuple(t.shape) for n, t in state.items() if not n.endswith("num_batches_tracked")}


def _metadata(weights: Weights, weights_sha256: str) -> ArtifactMetadata:
    found = weights.metadata
    return ArtifactMetadata(
        format=FORMAT,
        precision="fp32",
        head="raw",
        names=found.names,
        image_size=found.image_size,
        dynamic=("batch", "size"),
        inputs=(input_spec(("height", "width"), "batch"),),
        outputs=raw_output_specs(weights.config.num_classes, ("height", "width"), "batch"),
        scale=found.scale,
        license=found.license,
        weights_sha256=weights_sha256,
        data=found.data,
        images=found.images,
        tool_versions={"torch": torch.__version__},
    )
