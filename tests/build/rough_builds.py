"""Builds of the tiny network in a process of their own, with targets that break."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.testing import write_tiny_card

ROOT = Path(__file__).resolve().parents[2]
ROUGH = Path(__file__).resolve().parent / "rough"

WAIT_S = 240


@dataclass(frozen=True)
class Built:
    """What a build left: exit code, both streams, and `build.json`."""

    code: int
    out: str
    err: str
    content: dict[str, Any]

    def target(self, name: str) -> dict[str, Any]:
        """The row of a target, by its id or its format."""
        return next(row for row in self.content["targets"] if name in (row["id"], row["format"]))


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of a process that finds the rough targets, wherever it starts."""
    paths = [str(ROUGH), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **(extra or {})}


def command(card: Path, output: Path, *arguments: object) -> list[str]:
    """The command line of a build."""
    return [sys.executable, "-m", "edgeseg", "build", str(card), "-o", str(output), *map(str, arguments)]


def build(card: Path, output: Path, *arguments: object, extra: Mapping[str, str] | None = None) -> Built:
    """Run a build to its end."""
    done = subprocess.run(
        command(card, output, *arguments),
        env=environment(extra),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    file = output / "build.json"
    content = json.loads(file.read_text()) if file.is_file() else {}
    return Built(done.returncode, done.stdout, done.stderr, content)


def card_of(folder: Path, weights: Path, targets: Sequence[Mapping[str, Any]], **limits: float) -> Path:
    """A card of the tiny network with these targets."""
    card = write_tiny_card(folder / "tiny.yaml", weights, "onnx")
    text = card.read_text().partition("targets:")[0]
    rows = "".join(f"  - {json.dumps(dict(target))}\n" for target in targets)
    card.write_text(f"{text}limits: {json.dumps(limits)}\ntargets:\n{rows}")
    return card
