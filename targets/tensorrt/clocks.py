"""The clocks that a GPU runs at, as the system tells them: a time means nothing without them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path("/")
LIMIT_S = 5.0
QUERY = "clocks.sm,clocks.mem,power.limit"
"""MHz, MHz and watts (nvidia-smi --help-query-gpu)."""

POWER_MODE = Path("var/lib/nvpmodel/status")
"""Where a Jetson keeps its power mode, such as ``pmode:0000`` (nvpmodel, Jetson Linux developer guide)."""


def clocks(root: Path = ROOT) -> dict[str, str]:
    """Name to value; empty where the system tells nothing.

    Args:
        root: where `sys` and `var` lie.
    """
    return _jetson(root) or _desktop()


def _jetson(root: Path) -> dict[str, str]:
    """Kernel files of a board's GPU, in Hz (Documentation/ABI/testing/sysfs-class-devfreq)."""
    found = {}
    for folder in sorted((root / "sys" / "class" / "devfreq").glob("*")):
        # 17000000.gpu on Orin, 17000000.gv11b on Xavier.
        if folder.name.rpartition(".")[2] not in ("gpu", "gv11b", "gp10b", "gm20b", "ga10b"):
            continue
        for name, file in (("gpu clock", "cur_freq"), ("gpu clock, most", "max_freq")):
            text = _text(folder / file)
            if text.isdecimal():
                found[name] = f"{int(text) / 1e6:.0f} MHz"
    mode = _text(root / POWER_MODE)
    return {**found, **({"power mode": mode} if found and mode else {})}


def _desktop() -> dict[str, str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    try:
        done = subprocess.run(
            [program, f"--query-gpu={QUERY}", "--format=csv,noheader"],
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    cells = [cell.strip() for cell in done.stdout.decode(errors="replace").partition("\n")[0].split(",")]
    if done.returncode or len(cells) != 3:
        return {}
    return dict(zip(("gpu clock", "memory clock", "power limit"), cells, strict=True))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip().strip("\0")
    except OSError:
        return ""
