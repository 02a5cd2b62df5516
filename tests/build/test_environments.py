"""The same stages in this interpreter, in the target's venv, and in its image: the same artifact."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg.environments.image import ImageEnvironment
from tests.build.rough_builds import Built, build, card_of
from tests.cli.running import run

pytestmark = pytest.mark.slow


def _artifact(built: Built, name: str) -> str:
    row = built.target(name)
    assert (row["outcome"], built.code) == ("passed", 0), built.err
    assert list(row["seconds"]) == ["export", "inspect", "verify", "benchmark", "gates"]
    return str(row["artifact"]["sha256"])


def test_image_gives_the_artifact_that_this_interpreter_gives(
    onnx_image: ImageEnvironment, tiny_weights: Path, tmp_path: Path
) -> None:
    card = card_of(tmp_path, tiny_weights, [{"format": "onnx"}])
    here = build(card, tmp_path / "here", "--isolation", "process")
    inside = build(card, tmp_path / "inside", "--isolation", "docker")
    assert _artifact(inside, "onnx") == _artifact(here, "onnx")
    assert inside.target("onnx")["environment"] == {
        "kind": "docker",
        "description": onnx_image.describe(),
        "versions": dict(onnx_image.versions),
    }
    assert "nothing had to run again" in build(card, tmp_path / "inside", "--isolation", "docker").out


def test_stage_that_outgrows_its_container_is_the_targets_outcome(
    onnx_image: ImageEnvironment, tiny_weights: Path, tmp_path: Path
) -> None:
    # Loading the exporter alone takes more.
    card = card_of(tmp_path, tiny_weights, [{"format": "onnx"}], memory_mb=100)
    row = build(card, tmp_path / "out", "--isolation", "docker").target("onnx")
    assert row["outcome"] == "export_failed"
    assert "137" in row["message"]
    assert "memory" in row["message"]


def test_venv_gives_the_artifact_that_this_interpreter_gives(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = card_of(tmp_path, tiny_weights, [{"format": "torchscript"}])
    monkeypatch.setenv("EDGESEG_ENVIRONMENTS", str(tmp_path / "environments"))
    refused = build(card, tmp_path / "inside", "--isolation", "venv")
    assert (refused.code, refused.target("torchscript")["outcome"]) == (3, "env_missing")
    assert refused.target("torchscript")["hint"] == "edgeseg targets install torchscript"
    made = run("targets", "install", "torchscript")
    assert made.code == 0, made.err
    inside = build(card, tmp_path / "inside", "--isolation", "venv")
    here = build(card, tmp_path / "here", "--isolation", "process")
    assert _artifact(inside, "torchscript") == _artifact(here, "torchscript")
    assert str(tmp_path / "environments") in inside.target("torchscript")["environment"]["description"]
    # The same tools give the same key, wherever they run.
    assert "nothing had to run again" in build(card, tmp_path / "inside", "--isolation", "process").out
