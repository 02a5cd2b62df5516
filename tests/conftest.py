"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of weights, photos and golden tensors beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (weights, photos, golden tensors), which a public clone does not have")
    return SHARED
