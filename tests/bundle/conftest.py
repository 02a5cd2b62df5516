"""A bundle of the tiny network, and ways to take one apart and put it together otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeseg.bundle.pack import BundleRequest, write_bundle
from edgeseg.files import write_atomically
from edgeseg.gates import Gates
from edgeseg.testing.tiny import tiny_frames
from edgeseg.writers import encode_picture

Packer = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny_pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """The tiny network's pictures as files."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for frame in tiny_frames():
        paths.append(folder / f"{frame.index}.png")
        write_atomically(paths[-1], encode_picture(frame.picture, ".png"))
    return tuple(paths)


@pytest.fixture(scope="session")
def pack(tiny_weights: Path, tiny_pictures: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Packer:
    """``pack(artifact, gates=..., ...)``: the path of its bundle."""

    def make(artifact: Path, gates: Gates | None = None, **more: object) -> Path:
        output = tmp_path_factory.mktemp("bundle") / f"{artifact.stem}.bundle.tar"
        given = {"pictures": tiny_pictures, "reference": tiny_weights, **more}
        write_bundle(BundleRequest(artifact=artifact, output=output, gates=gates or Gates(), **given))  # type: ignore[arg-type]
        return output

    return make


@pytest.fixture(scope="session")
def tiny_bundle(pack: Packer, tiny_onnx: Path) -> Path:
    """The bundle of the tiny ONNX file."""
    return pack(tiny_onnx)
