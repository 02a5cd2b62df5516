"""The examples of docs/python.md and docs/predict.md run as they stand."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from edgeseg.cli.predict import command
from edgeseg.export import export
from edgeseg.model.weights import load_weights, save_weights
from tests.cli.running import files_in, run
from tests.media import write_picture, write_video

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture
def workplace(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the examples name; the tiny network with classes that they name."""
    weights = load_weights(tiny_weights)
    named = replace(weights, metadata=replace(weights.metadata, names=("person", "car", "bus")))
    save_weights(named, tmp_path / "n.safetensors")
    artifact = export(tmp_path / "n.safetensors", "onnx", output_dir=tmp_path / "exported")
    artifact.path.rename(tmp_path / "n.onnx")
    write_picture(tmp_path / "bus.jpg")
    write_picture(tmp_path / "street" / "a.jpg", 1)
    write_video(tmp_path / "clip.avi", 2).rename(tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_python_examples_run(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(), re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    assert capsys.readouterr().out.splitlines()[-1].startswith("missing.onnx: no such file")
    assert (workplace / "build" / "n-onnx-fp16.onnx").is_file()


def test_predict_examples_run(workplace: Path) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", (DOCS / "predict.md").read_text(), re.DOTALL)
    for line in block.splitlines():
        outcome = run(*shlex.split(line)[1:])
        assert outcome.code == 0, outcome.err
    assert {"drawn/a.jpg", "drawn/clip.mp4", "results.json", "masks/a.png", "labels/a.txt"} <= files_in(workplace)


def test_predict_page_names_every_option() -> None:
    text = (DOCS / "predict.md").read_text()
    options = {flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")}
    missing = {option for option in options if f"`{option}" not in text} - {"--quiet", "--verbose"}
    assert not missing
