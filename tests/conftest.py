"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edgeseg.environments.image import ImageEnvironment

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


@pytest.fixture(scope="session")
def engine() -> Iterator[None]:
    """A container engine, found by environment variables until the end of the session."""
    from tests.environments.engine import engine_variables

    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine_variables().items():
            patch.setenv(name, value)
        patch.delenv("EDGESEG_ENGINE", raising=False)
        yield


@pytest.fixture(scope="session")
def onnx_image(engine: None, tmp_path_factory: pytest.TempPathFactory) -> ImageEnvironment:
    """The image of the onnx target, built from wheels alone."""
    from edgeseg.environments import image
    from tests.cli.running import run
    from tests.environments.engine import fill_wheelhouse

    wheelhouse = fill_wheelhouse("onnx", tmp_path_factory.mktemp("wheelhouse"))
    done = run("targets", "image", "onnx", "--wheelhouse", wheelhouse)
    assert done.code == 0, done.err
    found = image.find("onnx")
    assert found is not None
    assert done.out == f"onnx: {found.describe()}\n"
    return found
