"""A small right card to break, in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

GOOD = """schema: 1
name: tiny
license: Apache-2.0
model: {scale: n, classes: [cat, dog], image_size: [64, 96]}
data: {train: a.json, val: b.json}
train: {epochs: 2}
targets:
  - {format: onnx, precision: fp32}
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(text: str) -> Path:
        path = tmp_path / "card.yaml"
        path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
        return path

    return to_file


@pytest.fixture
def good(write: Write, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("EDGESEG_DATA", raising=False)
    return write(GOOD)
