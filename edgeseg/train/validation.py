"""AP of the averaged weights while they are trained, by the same protocol as `edgeseg val`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from edgeseg.data.dataset import Dataset
from edgeseg.machine import peak_memory_mb as peak_memory_of_process
from edgeseg.model.network import SegmentationNetwork
from edgeseg.model.reference import ReferenceOptions, ReferenceRunner
from edgeseg.model.weights import Weights, WeightsMetadata
from edgeseg.predict import Model
from edgeseg.validate import Metrics, validate

PICTURES_PER_WORKER = 100
"""A process for masks starts in about as long as it takes to make those of this many pictures."""


def weights_of(network: SegmentationNetwork, metadata: WeightsMetadata) -> Weights:
    """The tensors of a network as weights, on the CPU, float32."""
    state = network.state_dict()
    tensors = {
        # A copy: the network goes on changing.
        name: np.array(tensor.detach().float().cpu().contiguous().numpy())
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    }
    return Weights(tensors, metadata, network.config)


def validated(weights: Weights, dataset: Dataset, device: str, image_size: tuple[int, int]) -> Metrics:
    """AP of weights.

    Args:
        weights: of the average.
        dataset: annotated pictures.
        device: where the network runs.
        image_size: (height, width) of the letterbox, px.
    """
    workers = min(len(dataset) // PICTURES_PER_WORKER, max((os.cpu_count() or 1) - 1, 0))
    options = ReferenceOptions.model_validate({"device": device})
    with closing(Model(ReferenceRunner(weights, options=options), Path("averaged weights"))) as model:
        return validate(model, dataset, workers=workers, image_size=image_size)


def scores_of(metrics: Metrics) -> Mapping[str, float]:
    """The numbers of an epoch's record; NaN, where a set has no object, becomes 0."""
    found = {
        "box_ap": metrics.box.map,
        "box_ap50": metrics.box.map50,
        "mask_ap": metrics.seg.map,
        "mask_ap50": metrics.seg.map50,
    }
    return {name: float(np.nan_to_num(value)) for name, value in found.items()}


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory so far in MB: of the GPU where one is used, else of this process; 0 where the system cannot tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return peak_memory_of_process() or 0.0
