"""Error statistics of a tensor against its reference, accumulated over pictures in constant memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeseg.tensors import Array


@dataclass
class TensorError:
    """Running sums over all elements seen, in float64.

    Attributes:
        name: the tensor's name.
        max_abs: largest absolute difference.
        varies: False while every picture gave the same values.
        reference_varies: the same of the reference.
    """

    name: str
    max_abs: float = 0.0
    varies: bool = False
    reference_varies: bool = False
    _count: int = 0
    _abs: float = 0.0
    _signed: float = 0.0
    _error_squares: float = 0.0
    _reference_squares: float = 0.0
    _found_squares: float = 0.0
    _products: float = 0.0
    _first: tuple[Array, Array] | None = field(default=None, repr=False)

    def add(self, reference: Array, found: Array) -> None:
        """Add one pair of equal shapes; a NaN, or two infinities, make every statistic of the error NaN."""
        if reference.shape != found.shape:
            raise ValueError(f"{self.name}: shape {found.shape}, expected the reference's {reference.shape}")
        wide_reference, wide_found = _flat(reference), _flat(found)
        with np.errstate(invalid="ignore"):
            error = wide_found - wide_reference
        largest = float(np.abs(error).max(initial=0.0))
        self.max_abs = math.nan if math.isnan(largest) or math.isnan(self.max_abs) else max(self.max_abs, largest)
        self._count += error.size
        self._abs += float(np.abs(error).sum())
        self._signed += float(error.sum())
        self._error_squares += float(error @ error)
        self._reference_squares += float(wide_reference @ wide_reference)
        self._found_squares += float(wide_found @ wide_found)
        self._products += float(wide_reference @ wide_found)
        if self._first is None:
            self._first = (reference.copy(), found.copy())
        else:
            self.reference_varies |= not np.array_equal(self._first[0], reference)
            self.varies |= not np.array_equal(self._first[1], found)

    @property
    def found_is_zero(self) -> bool:
        """Whether every value of the artifact is 0 where the reference's are not."""
        return self._found_squares == 0 and self._reference_squares > 0

    @property
    def relative(self) -> float:
        """Root of the error's energy over the reference's; 0 where there is no error, of an empty reference too."""
        if self._error_squares == 0:
            return 0.0
        return math.sqrt(self._error_squares / self._reference_squares) if self._reference_squares else math.inf

    def summary(self) -> dict[str, float | str]:
        """JSON-able statistics: max, mean, signed mean, SQNR in dB (infinite when equal), cosine."""
        norms = math.sqrt(self._reference_squares * self._found_squares)
        ratio = self._reference_squares / self._error_squares if self._error_squares else math.inf
        return {
            "name": self.name,
            "max_abs": self.max_abs,
            "mean_abs": self._abs / max(self._count, 1),
            "mean_signed": self._signed / max(self._count, 1),
            "sqnr_db": -math.inf if ratio == 0 else 10 * math.log10(ratio),
            "cosine": self._products / norms if norms else math.nan,
            "reference_rms": math.sqrt(self._reference_squares / max(self._count, 1)),
        }


def _flat(array: Array) -> NDArray[np.float64]:
    flat: NDArray[np.float64] = array.astype(np.float64).reshape(-1)
    return flat
