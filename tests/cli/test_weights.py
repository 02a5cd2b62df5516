"""`edgeseg weights`: import and show."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from edgeseg.testing.tiny import NAMES
from tests.cli.running import run
from tests.model.torch_zip import Call, Name, assemble, write_archive

PARAMETERS = 3_409_968 - 16
"""Of the n network: the published count less the 16 fixed bins, which are no weights."""


@pytest.fixture(scope="module")
def imported(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official weights, imported."""
    path = tmp_path_factory.mktemp("imported") / "n.safetensors"
    outcome = run("weights", "import", shared / "weights" / "yolov8n-seg.pt", path)
    assert (outcome.code, outcome.out) == (0, f"{path}\n")
    assert "--license NAME" in outcome.err
    return path


def test_import_writes_safetensors_that_others_read(imported: Path) -> None:
    tensors = load_file(imported)
    assert tensors["head.cls.0.2.weight"].shape == (80, 80, 1, 1)
    assert sum(a.size for name, a in tensors.items() if "running_" not in name) == PARAMETERS


def test_import_keeps_the_licence_given(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "n.safetensors"
    outcome = run("weights", "import", shared / "weights" / "yolov8n-seg.pt", path, "--license", "AGPL-3.0")
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads(run("weights", "show", path, "--json").out)["license"] == "AGPL-3.0"


@pytest.mark.parametrize("name", ["n.pt", "n", "n.onnx"])
def test_import_refuses_another_suffix_before_reading(tmp_path: Path, name: str) -> None:
    outcome = run("weights", "import", tmp_path / "none.pt", tmp_path / name)
    assert outcome.code == 2
    assert f"error: {tmp_path / name}: expected a name that ends in .safetensors" in outcome.err


def test_import_runs_nothing_of_a_hostile_checkpoint(tmp_path: Path) -> None:
    marker, destination = tmp_path / "ran", tmp_path / "n.safetensors"
    payload = assemble(Call(Name("posix", "system"), (f"touch '{marker}'",)))
    # The payload works: an ordinary reader runs it.
    pickle.loads(payload)
    assert marker.exists()
    marker.unlink()
    hostile = write_archive(tmp_path / "hostile.pt", payload)
    for arguments in (
        ("weights", "import", hostile, destination),
        ("weights", "show", hostile),
        ("predict", hostile, "."),
    ):
        outcome = run(*arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith(f"error: {hostile}: ")
        assert "posix.system" in outcome.err
    assert not marker.exists()
    assert not destination.exists()


@pytest.mark.parametrize("name", ["none.pt", "notes.pt", "empty.pt", "folder"])
def test_import_names_what_is_no_checkpoint(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.pt").write_text("no checkpoint")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "folder").mkdir()
    outcome = run("weights", "import", tmp_path / name, tmp_path / "n.safetensors")
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {tmp_path / name}: ")


def test_show_prints_what_matters_and_json_all(imported: Path) -> None:
    lines = dict(line.split("  ", 1) for line in run("weights", "show", imported).out.splitlines())
    shown = {name: value.strip() for name, value in lines.items()}
    assert shown["family"] == "yolov8-seg n"
    assert shown["parameters"] == f"{PARAMETERS:,}"
    assert shown["classes"].startswith("80: person, bicycle, ")
    assert shown["source file"] == "yolov8n-seg.pt"
    facts = json.loads(run("weights", "show", imported, "--json").out)
    assert facts["parameters"] == PARAMETERS
    assert facts["train_args"]["epochs"] == 500
    assert len(facts["names"]) == 80


def test_show_names_all_classes_where_they_are_few(tiny_weights: Path) -> None:
    out = run("weights", "show", tiny_weights).out
    assert f"3: {', '.join(NAMES)}\n" in out
    assert "96 160 (height width)" in out
    assert "Apache-2.0" in out
