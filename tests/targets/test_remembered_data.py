"""Artifacts remember the data set that their weights were validated on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import edgeseg
from edgeseg import registry
from edgeseg.export import export, sidecar_path
from edgeseg.model.weights import load_weights, save_weights

DATA, IMAGES = "/sets/cats/val.json", "/sets/cats/photos"


@pytest.fixture(scope="module")
def remembering(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny weights, as a training would write them."""
    weights = load_weights(tiny_weights)
    path = tmp_path_factory.mktemp("trained") / "best.safetensors"
    save_weights(replace(weights, metadata=replace(weights.metadata, data=DATA, images=IMAGES)), path)
    return path


@pytest.mark.parametrize("name", ["onnx", "torchscript"])
def test_export_carries_the_data_into_the_file_and_its_sidecar(name: str, remembering: Path, tmp_path: Path) -> None:
    artifact = export(remembering, name, output_dir=tmp_path)
    sidecar = json.loads(sidecar_path(artifact.path).read_text())
    assert (sidecar["data"], sidecar["images"]) == (DATA, IMAGES)
    sidecar_path(artifact.path).unlink()
    found = registry.load(name).read_metadata(artifact.path)
    assert (found.data, found.images) == (DATA, IMAGES)


def test_weights_show_the_data_as_artifacts_do(remembering: Path) -> None:
    with edgeseg.load(remembering) as model:
        assert (model.metadata.data, model.metadata.images) == (DATA, IMAGES)


def test_artifacts_of_weights_without_data_remember_none(tiny_onnx: Path) -> None:
    found = registry.load("onnx").read_metadata(tiny_onnx)
    assert (found.data, found.images) == ("", "")
