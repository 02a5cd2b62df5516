"""placeholder"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def render(content: dict[str, Any], folder: Path) -> str:
    return "<html></html>"
