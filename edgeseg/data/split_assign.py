"""Groups of pictures dealt out to the parts of a data set, each class by its share.

First iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011,
https://doi.org/10.1007/978-3-642-23808-6_10): the rarest class first, each of its groups to the part that still
lacks most of that class and has room. Then groups of equal size are swapped between parts where that brings the
classes nearer to their shares, above all where it brings a class into a part that has none of it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SWEEPS = 4
"""Times that swaps are looked for; the third finds few on sets of 128 pictures and 80 classes."""

MOVES = 4000
"""Groups in a sweep for which a swap is looked for, and CANDIDATES the ones it is looked for among: large sets are
near their shares before any swap."""

CANDIDATES = 256

ABSENT = 10.0
"""What a class that a part has none of weighs; a picture too many of a class weighs 1 at most."""


def assign(classes: Ints, pictures: Ints, shares: Floats, rng: np.random.Generator) -> Ints:
    """The part of each of G groups.

    Args:
        classes: (G, C) number of pictures of a group that have a class.
        pictures: (G,) number of pictures of a group.
        shares: (P,) above 0, sum 1: how much of the pictures each part shall have. A part has more than that by
            less than a picture, or where groups are larger than the room that is left, by less than a group.
        rng: breaks ties; the same one deals the same way.

    Returns:
        (G,) 0..P - 1.
    """
    part = _deal(classes, pictures, shares, rng)
    cost = _Cost(classes, shares)
    for _ in range(SWEEPS):
        if not _swap(part, classes, pictures, cost, rng):
            break
    return part


def _deal(classes: Ints, pictures: Ints, shares: Floats, rng: np.random.Generator) -> Ints:
    wanted = shares[:, None] * classes.sum(axis=0)
    room = shares * pictures.sum()
    part = np.full(len(pictures), -1, np.int64)
    # Large groups first, while there is room to make up for them; equal ones in a random order.
    shuffled = rng.permutation(len(pictures))
    order = shuffled[np.argsort(-pictures[shuffled], kind="stable")]
    has = classes > 0
    while (open_ := part < 0).any():
        number = has[open_].sum(axis=0)
        rarest = int(np.argmin(np.where(number > 0, number, len(part) + 1))) if number.any() else None
        members = order[open_[order] & (has[order, rarest] if rarest is not None else True)]
        for group in members.tolist():
            fits = np.flatnonzero(room > pictures[group] - 1)
            choices = fits if len(fits) else np.flatnonzero(room == room.max())
            wish = wanted[choices, rarest] if rarest is not None else room[choices]
            best = choices[np.lexsort([room[choices], wish])[-1]]
            part[group] = best
            room[best] -= pictures[group]
            wanted[best] -= classes[group]
    return part


class _Cost:
    """How far counts of the classes are from their shares."""

    def __init__(self, classes: Ints, shares: Floats) -> None:
        total = classes.sum(axis=0)
        self._wanted = shares[:, None] * total
        self._scale = np.maximum(total, 1)
        # A class of fewer pictures than there are parts cannot be in all of them.
        self._absent = ABSENT * (total >= len(shares))

    def of(self, counts: Ints, parts: Ints) -> Floats:
        """The cost (N,) of parts (N,) with so many pictures of each class (N, C)."""
        apart = (counts - self._wanted[parts]) ** 2 / self._scale
        return np.asarray((apart + self._absent * (counts == 0)).sum(axis=1))


def _swap(part: Ints, classes: Ints, pictures: Ints, cost: _Cost, rng: np.random.Generator) -> bool:
    """Swap groups where it lowers the cost; False where no swap did."""
    counts = np.stack([classes[part == number].sum(axis=0) for number in range(part.max() + 1)])
    found = False
    for group in rng.permutation(len(part))[:MOVES].tolist():
        here = part[group]
        others = np.flatnonzero((part != here) & (pictures == pictures[group]))
        if not len(others):
            continue
        others = rng.choice(others, min(CANDIDATES, len(others)), replace=False)
        there = part[others]
        change = classes[others] - classes[group]
        heres = np.full(len(others), here)
        before = cost.of(counts[heres], heres) + cost.of(counts[there], there)
        gain = before - cost.of(counts[heres] + change, heres) - cost.of(counts[there] - change, there)
        best = int(np.argmax(gain))
        if gain[best] > 1e-9:
            counts[here] += change[best]
            counts[there[best]] -= change[best]
            part[group], part[others[best]] = there[best], here
            found = True
    return found
