"""What reading or converting a data set did besides the plain thing: counted, said, never silent."""

from __future__ import annotations

import logging
from collections import Counter

logger = logging.getLogger(__name__)


class Notes:
    """Counts by sentence; `said` gives them as text."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, what: str, number: int = 1) -> None:
        """Add to what is said as ``<count> <what>``; `what` is a plural phrase such as ``crowds: left out``."""
        if number:
            self._counts[what] += number

    def said(self) -> tuple[str, ...]:
        """One sentence for each thing that was counted, in the order of first occurrence."""
        return tuple(f"{number} {what}" for what, number in self._counts.items())


def log_notes(source: object, notes: tuple[str, ...]) -> None:
    """Warn of each note, with the source's name."""
    for note in notes:
        logger.warning("%s: %s", source, note)
