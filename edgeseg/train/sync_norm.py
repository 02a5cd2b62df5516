"""Batch normalisation with the statistics of all processes, on CPU as well (torch's own needs CUDA)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist


def synchronised(network: nn.Module) -> nn.Module:
    """Replace every `nn.BatchNorm2d`; parameters, buffers and the names in the state dict stay.

    In training, the statistics are those of the pictures of all processes, so that 2 x 8 pictures learn as 1 x 16;
    in evaluation, and outside a process group, nothing changes.

    Args:
        network: changed in place; it lies on the device that it will train on.

    Returns:
        The network; another object only where it is itself a batch normalisation.
    """
    if next(network.parameters()).is_cuda:
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted
    if type(network) is nn.BatchNorm2d:
        return _synchronised(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, _synchronised(child))
    return network


class SynchronisedNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` over the batches of all processes, which may differ in size."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape and dtype."""
        if not (self.training and dist.is_initialized()):
            return super().forward(x)
        self._check_input_dim(x)
        mean, variance, count = _joint_statistics(x)
        self._track(mean.detach(), variance.detach(), count)
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        shift = -mean * scale
        if self.bias is not None:
            shift = shift + self.bias
        return (x * scale[:, None, None] + shift[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        # No momentum means the plain average of all batches so far, as in nn.BatchNorm2d.
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / (count - 1)).float(), share)


def _joint_statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), biased variance (C,) float32 and the values per channel (1,) float64, of all processes."""
    channels = x.shape[1]
    # float64 because the variance is a difference: in float32 it would lose its digits where the mean is large.
    variance, mean = (part.double() for part in torch.var_mean(x.float(), dim=(0, 2, 3), correction=0))
    own_count = mean.new_tensor([x.numel() // channels])
    parts = torch.cat([mean * own_count, (variance + mean.square()) * own_count, own_count])
    sums, squares, count = _SumOfAll.apply(parts).split([channels, channels, 1])  # type: ignore[no-untyped-call]
    joint_mean = sums / count
    joint_variance = (squares / count - joint_mean.square()).clamp_min(0)
    return joint_mean.float(), joint_variance.float(), count.detach()


class _SumOfAll(torch.autograd.Function):
    """All-reduce whose gradient is the all-reduced gradient (torch.distributed.nn's own is deprecated)."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor) -> Tensor:
        """(K,) to the sum over all processes."""
        total = parts.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """(K,): every process's part enters every process's loss."""
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def _synchronised(norm: nn.BatchNorm2d) -> SynchronisedNorm:
    new = SynchronisedNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    for name, parameter in norm.named_parameters():
        setattr(new, name, parameter)
    for name, buffer in norm.named_buffers():
        setattr(new, name, buffer)
    new.training = norm.training
    return new
