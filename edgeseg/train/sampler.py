"""Which pictures make which batch: a pure function of seed, epoch and step, so that a resume replays nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from edgeseg.model.config import STRIDE_MULTIPLE

_ORDER, _SIZES = 1, 2
"""Last words of seeds. An augmentation's seed is (seed, epoch, position), to which NumPy's SeedSequence adds zeros, so
these keep the streams apart."""


class Key(NamedTuple):
    """One training picture, as a worker is asked for it.

    Attributes:
        epoch: 1-based.
        position: place in the epoch, from 0, over all processes; with seed and epoch it seeds the augmentation.
        picture: its index in the data set.
        height: of the network's input, px.
        width: of the network's input, px.
        mosaic: whether it may become a mosaic.
    """

    epoch: int
    position: int
    picture: int
    height: int
    width: int
    mosaic: bool


@dataclass(frozen=True)
class BatchOrder:
    """The order of a data set's pictures, dealt out to the processes of a training.

    Every batch is full: the last one of an epoch goes on from the start of the epoch's permutation. So every step
    counts the same, and 2 processes x b pictures learn from exactly the pictures of 1 x 2b.

    Attributes:
        count: pictures of the data set.
        batch: pictures per step of one process.
        seed: of the permutations.
        world_size: processes.
        rank: of this process.
    """

    count: int
    batch: int
    seed: int
    world_size: int = 1
    rank: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return -(-self.count // (self.batch * self.world_size))

    def permutation(self, epoch: int) -> NDArray[np.int64]:
        """The indices (count,) of all pictures in the order of an epoch, the same in every process."""
        return np.random.default_rng([self.seed, epoch, 0, _ORDER]).permutation(self.count)

    def positions(self, step: int) -> range:
        """Places in the epoch of this process's pictures at a step, from 0; those past `count` start over."""
        first = (step * self.world_size + self.rank) * self.batch
        return range(first, first + self.batch)


@dataclass(frozen=True)
class InputSizes:
    """The network's input size of each batch.

    Attributes:
        image_size: (height, width) px.
        multi_scale: the factor on both is drawn from 1 - multi_scale to 1 + multi_scale; 0 for none.
        seed: of the draw, which is the same in every process.
    """

    image_size: tuple[int, int]
    multi_scale: float
    seed: int

    def at(self, epoch: int, step: int) -> tuple[int, int]:
        """(height, width) px of a batch, multiples of 32."""
        if not self.multi_scale:
            return self.image_size
        drawn = np.random.default_rng([self.seed, epoch, step, _SIZES]).uniform(-1, 1)
        factor = 1 + self.multi_scale * drawn
        height, width = (max(1, round(side * factor / STRIDE_MULTIPLE)) * STRIDE_MULTIPLE for side in self.image_size)
        return height, width


class BatchKeys(Sampler[list[Key]]):
    """The keys of one process's batches, through all epochs: the `batch_sampler` of a torch `DataLoader`.

    Args:
        order: of the pictures.
        sizes: of the network's input.
        epochs: the last epoch.
        close_mosaic: how many epochs at the end go without mosaic.
        start: (epoch, step) of the first batch; the epoch 1-based, the step 0-based.
    """

    def __init__(
        self, order: BatchOrder, sizes: InputSizes, epochs: int, close_mosaic: int, start: tuple[int, int] = (1, 0)
    ) -> None:
        self.order = order
        self.sizes = sizes
        self.epochs = epochs
        self.close_mosaic = close_mosaic
        self.start = start

    def __len__(self) -> int:
        epoch, step = self.start
        return (self.epochs - epoch + 1) * self.order.steps_per_epoch - step

    def __iter__(self) -> Iterator[list[Key]]:
        """The batches in turn, each a list of `order.batch` keys."""
        first_epoch, first_step = self.start
        for epoch in range(first_epoch, self.epochs + 1):
            permutation = self.order.permutation(epoch)
            for step in range(first_step if epoch == first_epoch else 0, self.order.steps_per_epoch):
                yield self._batch(permutation, epoch, step)

    def _batch(self, permutation: NDArray[np.int64], epoch: int, step: int) -> list[Key]:
        height, width = self.sizes.at(epoch, step)
        mosaic = epoch <= self.epochs - self.close_mosaic
        return [
            Key(epoch, position, int(permutation[position % self.order.count]), height, width, mosaic)
            for position in self.order.positions(step)
        ]
