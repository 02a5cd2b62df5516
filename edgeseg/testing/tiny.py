"""A segmentation network of 80,000 random weights that finds a handful of instances on drawn pictures.

It exports in seconds, has every operator of the real one, and is made from a seed: no download, no licence.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeseg.model.config import NetworkConfig
from edgeseg.sources import Frame
from edgeseg.tensors import REG_MAX

if TYPE_CHECKING:
    from torch import Generator, Tensor
    from torch.nn import BatchNorm2d, Module

    from edgeseg.model.network import SegmentationNetwork

NAMES = ("square", "disc", 'it\'s a "ring"')
"""Class names; the quotes break metadata that is put together without escaping."""

IMAGE_SIZE = (96, 160)
"""(height, width) in pixels, not square, so that a target that swaps them is found out."""

LICENSE = "Apache-2.0"
SEED = 243
"""Chosen with `_CLASS_BIAS` so that no score is within 0.004 of 0.25, which is more than fp16 rounding moves one."""

_CONFIG = NetworkConfig((8, 8, 16, 16, 16), 1, 1, 16, 16, 16, 16, len(NAMES))
_NOISE = 0.4
"""Random part of a weight beside the identity's 1: a wholly random network amplifies rounding a hundredfold."""

_BOX_SPREAD, _BOX_BIN = 0.6, 2.0
"""Spread of the box logits, and the bin that they favour: boxes of about four strides."""

_CLASS_SPREAD, _CLASS_BIAS = 1.2, -3.213
"""Spread and mean of the class logits: a few points of each picture reach a probability of 0.25."""


def write_tiny_weights(path: Path, seed: int = SEED) -> Path:
    """Write the tiny network's weights as safetensors.

    Args:
        path: the file to write.
        seed: of the random numbers; another one gives other weights, with as few instances or none.

    Returns:
        `path`. The same seed on the same machine gives the same bytes.
    """
    from edgeseg.model.weights import Weights, WeightsMetadata, save_weights

    state = _network(seed).state_dict()
    tensors = {name: tensor.numpy() for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    # A card must name a scale and a build compares it: this is an n, cut down.
    metadata = WeightsMetadata(
        names=NAMES, scale="n", license=LICENSE, image_size=IMAGE_SIZE, source={"seed": str(seed)}
    )
    save_weights(Weights(tensors, metadata, _CONFIG), path)
    return path


def write_tiny_card(path: Path, weights: Path, format_name: str) -> Path:
    """Write a model card that exports the tiny weights to one format.

    Args:
        path: the YAML file to write.
        weights: the tiny weights.
        format_name: a registered target.
    """
    from edgeseg.files import sha256_of, write_atomically

    text = f"""\
schema: 1
name: tiny
license: {LICENSE}
model: {{family: yolov8-seg, scale: n, classes: {json.dumps(NAMES)}, image_size: {list(IMAGE_SIZE)}}}
weights: {{path: {json.dumps(str(weights))}, sha256: {sha256_of(weights)}}}
targets:
  - {{format: {format_name}}}
"""
    write_atomically(path, text.encode())
    return path


def tiny_picture(height: int = IMAGE_SIZE[0], width: int = IMAGE_SIZE[1], seed: int = 0) -> NDArray[np.uint8]:
    """A drawn picture: a colour gradient with squares, discs and rings.

    Args:
        height: in pixels.
        width: in pixels.
        seed: of places, sizes and colours.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    ramps = np.stack([x / width, y / height, 1 - x / width], axis=2)
    picture = (255 * (0.25 + 0.5 * ramps)).astype(np.uint8)
    for index in range(9):
        centre_y, centre_x = random.uniform(0, height), random.uniform(0, width)
        radius = random.uniform(0.08, 0.25) * min(height, width)
        round_distance = np.hypot(y - centre_y, x - centre_x)
        square_distance = np.maximum(np.abs(y - centre_y), np.abs(x - centre_x))
        inside = (
            square_distance < radius,
            round_distance < radius,
            np.abs(round_distance - radius) < radius / 3,
        )[index % 3]
        picture[inside] = random.integers(0, 256, 3)
    return picture


def tiny_frames() -> list[Frame]:
    """Pictures to compare an artifact on: one of the tiny size, one that needs padding, one much larger."""
    sizes = (IMAGE_SIZE, (150, 200), (240, 426))
    return [
        Frame(tiny_picture(height, width, seed), f"tiny:{height}x{width}", seed)
        for seed, (height, width) in enumerate(sizes)
    ]


def _network(seed: int) -> SegmentationNetwork:
    import torch
    from torch import nn

    from edgeseg.data.letterbox import letterbox, to_input
    from edgeseg.model.network import SegmentationNetwork

    # Our own generator: the global one belongs to the caller.
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        network = SegmentationNetwork(_CONFIG)
    images = torch.from_numpy(to_input([letterbox(frame.picture, IMAGE_SIZE)[0] for frame in tiny_frames()]))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            _start(name, parameter, random)
        for norm in norms:
            norm.momentum = None
        # One training pass measures the statistics; then they are moved, so that a lost normalisation shows.
        network.train()(images)
        network.eval()
        for norm in norms:
            _move_statistics(norm, random)
        _aim_head(network, images)
    return network


def _start(name: str, parameter: Tensor, random: Generator) -> None:
    """Convolutions start as the identity with He noise, biases at zero."""
    import torch

    if parameter.dim() > 1:
        he = (2 / parameter[0].numel()) ** 0.5
        parameter.copy_(_NOISE * he * torch.randn(parameter.shape, generator=random))
        if name.endswith("conv.weight"):
            outputs, inputs, kernel, _ = parameter.shape
            for channel in range(outputs):
                parameter[channel, channel % inputs, kernel // 2, kernel // 2] += 1
    elif ".bn." not in name:
        parameter.zero_()


def _move_statistics(norm: BatchNorm2d, random: Generator) -> None:
    import torch

    def tenth() -> Tensor:
        return 0.1 * torch.randn(norm.num_features, generator=random)

    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("a normalisation without running statistics")
    norm.weight.mul_(1 + tenth())
    norm.bias.add_(tenth())
    mean.add_(tenth() * variance.sqrt())
    variance.mul_(torch.exp(tenth()))


def _aim_head(network: SegmentationNetwork, images: Tensor) -> None:
    """Scale the last layers to the spreads above, on the pictures that the tests use."""
    import torch

    favoured = (-0.3 * (torch.arange(REG_MAX) - _BOX_BIN) ** 2).repeat(4)
    for level, feature in enumerate(network.neck(network.backbone(images))):
        box, cls, coef = (branch[level] for branch in (network.head.box, network.head.cls, network.head.coef))
        _scale_last(box, feature, _BOX_SPREAD).copy_(favoured)
        bias = _scale_last(cls, feature, _CLASS_SPREAD)
        bias.copy_(_CLASS_BIAS - cls(feature).mean(dim=(0, 2, 3)))
        _scale_last(coef, feature, 1.0)


def _scale_last(branch: Module, feature: Tensor, spread: float) -> Tensor:
    """Give the outputs of a branch this standard deviation; returns the bias of its last layer."""
    last = list(branch.children())[-1]
    weight, bias = last.get_parameter("weight"), last.get_parameter("bias")
    weight.mul_(spread / branch(feature).std())
    return bias
