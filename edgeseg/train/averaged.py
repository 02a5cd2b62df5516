"""The exponential moving average of the weights: what is validated and kept (Polyak averaging)."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from edgeseg.model.network import SegmentationNetwork


class Averaged:
    """A copy of a network that follows it slowly.

    Args:
        network: followed; parameters and running statistics.
        decay: of the average, reached after several `tau`.
        tau: moves of the optimizer over which the decay is ramped up, so that early weights are forgotten.
    """

    def __init__(self, network: SegmentationNetwork, decay: float, tau: float) -> None:
        self.network = copy.deepcopy(network).eval()
        self.network.requires_grad_(requires_grad=False)
        self.decay = decay
        self.tau = tau
        self.moves = 0

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Take one move of the optimizer in."""
        self.moves += 1
        decay = self.decay * (1 - math.exp(-self.moves / self.tau))
        state = network.state_dict()
        ours = self.network.state_dict()
        floating = [name for name, tensor in ours.items() if tensor.dtype.is_floating_point]
        torch._foreach_lerp_([ours[name] for name in floating], [state[name] for name in floating], 1 - decay)
        for name in ours.keys() - set(floating):
            ours[name].copy_(state[name])
