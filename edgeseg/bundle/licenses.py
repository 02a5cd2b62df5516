"""`LICENSES.txt`: whose work a bundle carries. What is not known is said to be unknown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeseg import __version__
from edgeseg.photos import shipped_photos

UNKNOWN = "unknown: ask whoever made them before you pass this bundle on"


def license_note(weights: str, pictures: Sequence[str | Path], calibration: Sequence[str | Path]) -> str:
    """The note as text.

    Args:
        weights: licence of the weights, as their metadata says; empty where it does not.
        pictures: sources of the golden vectors.
        calibration: sources of the calibration pictures.
    """
    lines = [
        "What is in this bundle, and whose it is",
        "",
        f"artifact/ and golden/ (computed from the weights): {weights or UNKNOWN}",
        f"the files' formats and this text (edgeseg {__version__}): Apache-2.0",
        f"pictures in golden/: {_pictures(pictures)}",
    ]
    if calibration:
        lines.append(f"pictures in calibration/: {_pictures(calibration)}")
    return "\n".join([*lines, ""])


def _pictures(sources: Sequence[str | Path]) -> str:
    shipped = {str(path) for path in shipped_photos()}
    if all(str(source) in shipped for source in sources):
        return "public domain or CC0, the photos that ship with edgeseg (edgeseg/photos/SOURCES.md)"
    return UNKNOWN
