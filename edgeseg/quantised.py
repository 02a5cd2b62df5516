"""A tensor as an artifact holds it, in integers, of which only those values that somebody reads become real."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.tensors import Array


@dataclass(frozen=True)
class Quantised:
    """``real = scale * (stored - zero_point)``, computed in float32.

    Attributes:
        stored: integers of 8 or 16 bits, any shape.
        scale: real numbers per step, above 0.
        zero_point: the integer that stands for 0.
    """

    stored: Array
    scale: float
    zero_point: int

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, key: Any) -> Quantised:
        return Quantised(self.stored[key], self.scale, self.zero_point)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of `stored`."""
        return self.stored.shape

    def reshape(self, *shape: int) -> Quantised:
        """The same values in another shape; a view where numpy can make one."""
        return Quantised(self.stored.reshape(*shape), self.scale, self.zero_point)

    def real(self) -> NDArray[np.float32]:
        """Float32, in the order in memory that `stored` has."""
        # Exact: integers of 16 bits and their differences fit float32.
        values: NDArray[np.float32] = np.subtract(self.stored, np.float32(self.zero_point), dtype=np.float32)
        values *= np.float32(self.scale)
        return values

    def above(self, limit: float) -> NDArray[np.bool_]:
        """Where the real value is above a limit, told in integers: the same as ``real() > limit``."""
        limits = np.iinfo(self.stored.dtype)
        steps = np.arange(limits.min, limits.max + 1, dtype=np.int32)
        passing = np.flatnonzero(Quantised(steps, self.scale, self.zero_point).real() > limit)
        if not passing.size:
            return np.zeros(self.stored.shape, bool)
        found: NDArray[np.bool_] = self.stored >= self.stored.dtype.type(steps[passing[0]])
        return found


Tensor = Array | Quantised
Outputs = Mapping[str, Tensor]
"""Tensor name to what a run gave."""


def real(tensor: Tensor) -> Array:
    """The values of a tensor, however it is held."""
    return tensor.real() if isinstance(tensor, Quantised) else tensor
