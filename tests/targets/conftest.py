"""Exports of the tiny network, each made once for all tests of the targets."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import edgeseg
from edgeseg.export import export
from edgeseg.instances import Instances
from edgeseg.postprocess.decode import decode_all
from edgeseg.tensors import Array
from edgeseg.testing import tiny_frames

Exporter = Callable[..., Path]
Reference = Callable[[Array, str], dict[str, Array]]


@pytest.fixture(scope="session")
def exported(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    """``exported(format, precision, **options)``: the artifact's path."""

    @functools.cache
    def make(format: str, precision: str = "fp32", **options: Any) -> Path:
        folder = tmp_path_factory.mktemp(format)
        return export(tiny_weights, format, output_dir=folder, precision=precision, **options).path

    return make


@pytest.fixture(scope="session")
def reference(tiny_weights: Path) -> Iterator[Reference]:
    """``reference(images, head)``: what PyTorch gives for an input, in the layout of a head."""
    with edgeseg.load(tiny_weights) as model:

        def run(images: Array, head: str) -> dict[str, Array]:
            raw = model.runner.run({"images": images})
            return raw if head == "raw" else decode_all(raw)

        yield run


def noise(batch: int = 1, height: int = 96, width: int = 160) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((batch, 3, height, width), np.float32)


def run(path: Path, images: Array, **options: Any) -> dict[str, Array]:
    with edgeseg.load(path, **options) as model:
        return model.runner.run({"images": images})


def predicted(path: Path, **options: Any) -> list[Instances]:
    with edgeseg.load(path) as model:
        return [result.instances for result in model.predict([frame.picture for frame in tiny_frames()], **options)]


def assert_same_outputs(found: dict[str, Array], wanted: dict[str, Array], tolerance: float) -> None:
    """Every tensor differs by less than `tolerance` of its largest value."""
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].shape == array.shape, name
        assert np.abs(found[name] - array).max() <= tolerance * np.abs(array).max(), name


def assert_same_instances(found: list[Instances], wanted: list[Instances]) -> None:
    assert sum(len(instances) for instances in wanted) > 20
    for have, want in zip(found, wanted, strict=True):
        assert have.names == want.names
        np.testing.assert_array_equal(have.class_ids, want.class_ids)
        np.testing.assert_allclose(have.scores, want.scores, atol=1e-4)
        np.testing.assert_allclose(have.xyxy, want.xyxy, atol=0.02)
        assert have.masks is not None
        assert want.masks is not None
        for mask, other in zip(have.masks, want.masks, strict=True):
            assert (mask.bitmap != other.bitmap).mean() < 0.01
