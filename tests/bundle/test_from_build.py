"""A bundle made by hand of a build's artifact: the build's own id and gates, so that its result merges."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgeseg.bundle.from_build import of_build
from edgeseg.gates import Gates


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "run/a"
    folder.mkdir(parents=True)
    (folder / "n.onnx").write_bytes(b"1")
    row = {"id": "a", "artifact": {"path": "a/n.onnx"}, "gates": {"mask_iou_min": 0.98}}
    (tmp_path / "run/build.json").write_text(json.dumps({"targets": [{"id": "b", "artifact": None}, row]}))
    return folder / "n.onnx"


def test_id_and_gates_are_the_builds(artifact: Path) -> None:
    assert of_build(artifact) == ("a", Gates(mask_iou_min=0.98))


def test_artifact_elsewhere_has_none(artifact: Path, tmp_path: Path) -> None:
    copy = shutil.copy(artifact, tmp_path / "copy.onnx")
    assert of_build(Path(copy)) == ("", Gates())


@pytest.mark.parametrize("text", ["{", "[]", '{"targets": 1}', '{"targets": [{"artifact": {"path": "a/n.onnx"}}]}'])
def test_broken_manifest_is_no_build(text: str, artifact: Path) -> None:
    (artifact.parent.parent / "build.json").write_text(text)
    assert of_build(artifact) == ("", Gates())
