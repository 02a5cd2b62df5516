"""Room for results and for the cache."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from edgeseg.data.index_cache import CACHE_VARIABLE, cache_folder
from edgeseg.doctor.finding import Finding, Level

FULL_MB, SCARCE_MB = 100.0, 2000.0
"""Ours: weights and one fp32 artifact of the smallest scale take 14 MB each; a venv with PyTorch and ONNX 1.5 GB."""


def check_output(folder: Path) -> Finding:
    """The folder that results go to; the core writes there, so it must be writable and have room.

    Args:
        folder: need not exist.
    """
    return _check("results", folder, "choose another folder with --output", core=True)


def check_cache() -> Finding:
    """The folder of remembered data. Nothing fails without one, it only takes longer."""
    folder, remedy = cache_folder(), f"name a folder with room: export {CACHE_VARIABLE}=FOLDER"
    if folder is None:
        return Finding("cache", "note", "there is no home folder to keep it in, data is read anew each time", remedy)
    return _check("cache", folder, remedy, core=False)


def _check(area: str, folder: Path, remedy: str, *, core: bool) -> Finding:
    bad: Level = "problem" if core else "note"
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        what = "is not writable" if place.is_dir() else "is no folder"
        return Finding(
            area, bad, f"{folder.absolute()}: {place} {what}", remedy, core, {"path": str(folder.absolute())}
        )
    usage = shutil.disk_usage(place)
    free = usage.free / 1e6
    facts = {"path": str(folder.absolute()), "free_mb": round(free), "total_mb": round(usage.total / 1e6)}
    text = f"{folder.absolute()}: {free / 1000:.1f} GB free"
    if free < FULL_MB:
        return Finding(area, bad, f"{text}, which is too little", remedy, core, facts)
    if free < SCARCE_MB:
        return Finding(area, "note", f"{text}, too little for a venv or image of a target", remedy, core, facts)
    return Finding(area, "ok", text, core=core, facts=facts)
