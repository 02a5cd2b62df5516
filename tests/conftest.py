"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests share a cache of their own, not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGESEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of weights, photos and golden tensors beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (weights, photos, golden tensors), which a public clone does not have")
    return SHARED


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network's weights, `edgeseg.testing.tiny`."""
    from edgeseg.testing.tiny import write_tiny_weights

    return write_tiny_weights(tmp_path_factory.mktemp("tiny") / "tiny.safetensors")


@pytest.fixture(scope="session")
def tiny_onnx(tiny_weights: Path) -> Path:
    """The tiny network as an ONNX file of fixed batch and size."""
    from edgeseg.export import export

    return export(tiny_weights, "onnx", output_dir=tiny_weights.parent / "onnx").path


@pytest.fixture(scope="session")
def tiny_torchscript(tiny_weights: Path) -> Path:
    """The tiny network as TorchScript."""
    from edgeseg.export import export

    return export(tiny_weights, "torchscript", output_dir=tiny_weights.parent / "torchscript").path
