"""One of several processes of `test_distributed.py`; started by torch's launcher or by hand.

process.py learn OUTPUT    writes what it sees to OUTPUT/RANK.pt
process.py fail OUTPUT     the second process breaks while the first waits for it
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgeseg.errors import SourceError
from edgeseg.model.config import NetworkConfig
from edgeseg.model.network import SegmentationNetwork
from edgeseg.train.distributed import World, join
from edgeseg.train.sync_norm import synchronised

SHARES = (slice(0, 3), slice(3, 4))
"""Pictures of each process: not equally many, as no promise says so."""

HALVES = (slice(0, 2), slice(2, 4))


def norm_case() -> tuple[nn.BatchNorm2d, Tensor, Tensor]:
    """A normalisation with state, pictures with a mean far from 0, factors that make the loss."""
    generator = torch.Generator().manual_seed(0)
    norm = nn.BatchNorm2d(5, eps=1e-3, momentum=0.03)
    nn.init.uniform_(norm.weight, 0.5, 1.5, generator=generator)
    nn.init.uniform_(norm.bias, -1, 1, generator=generator)
    pictures = torch.randn(4, 5, 6, 7, generator=generator) + torch.arange(5.0)[:, None, None] * 20
    return norm, pictures, torch.randn(4, 5, 6, 7, generator=generator)


def network_case() -> tuple[SegmentationNetwork, Tensor]:
    """A small network of every kind of layer, and four pictures."""
    torch.manual_seed(1)
    network = SegmentationNetwork(NetworkConfig((8, 8, 16, 16, 16), 1, 1, 16, 16, 16, 16, 3))
    return network.train(), torch.rand(4, 3, 64, 96)


def network_loss(outputs: tuple[Tensor, ...]) -> Tensor:
    """A sum over pictures, so that the parts of a batch add up to the whole."""
    return torch.stack([out.square().mean(dim=(1, 2, 3)).sum() for out in outputs]).sum()


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Everything that training leaves in a module."""
    gradients = {f"{name}.grad": p.grad for name, p in module.named_parameters() if p.grad is not None}
    return {**{name: value.clone() for name, value in module.state_dict().items()}, **gradients}


def learn_norm(world: World) -> dict[str, Any]:
    """One step of a synchronised normalisation on this process's pictures."""
    norm, pictures, factors = norm_case()
    norm = synchronised(norm)  # type: ignore[assignment]
    own = pictures[SHARES[world.rank]].requires_grad_()
    out = norm(own)
    (out * factors[SHARES[world.rank]]).sum().backward()
    norm.eval()
    return {"out": out.detach(), "gradient": own.grad, "state": state_of(norm), "evaluated": norm(pictures).detach()}


def learn(world: World) -> dict[str, Any]:
    """What the tests compare."""
    network, pictures = network_case()
    if not world.is_first:
        nn.init.zeros_(network.backbone.stem.conv.weight)
    parallel = world.parallel(network)
    loss = network_loss(parallel(pictures[HALVES[world.rank]]))
    (loss * world.size).backward()  # type: ignore[no-untyped-call]
    value = torch.tensor([1.0 + world.rank, 10.0], requires_grad=True)
    return {
        "sum": world.sum(value),
        "kept": value.detach(),
        "object": world.broadcast_object({"from": world.rank}),
        "loss": world.sum(loss),
        "network": state_of(network),
        "norm": learn_norm(world),
        "place": (world.rank, world.size, world.local_rank, world.is_first, str(world.device)),
    }


def main(case: str, output: Path) -> None:
    """Be one process."""
    torch.set_num_threads(1)
    with join("cpu") as world:
        if case == "learn":
            torch.save(learn(world), output / f"{world.rank}.pt")
            return
        world.barrier()
        if world.rank == 1:
            raise SourceError("picture 7 is broken")
        world.sum(torch.zeros(1))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
