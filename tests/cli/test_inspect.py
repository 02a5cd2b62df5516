"""`edgeseg inspect`."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from edgeseg.metadata import METADATA_KEY
from tests.cli.running import run


@pytest.fixture
def artifact(tiny_weights: Path, tmp_path: Path) -> Path:
    done = run("export", tiny_weights, "-f", "onnx", "-o", tmp_path, "-q")
    return Path(done.out.strip())


def test_inspect_prints_what_the_file_says_and_what_is_in_it(artifact: Path) -> None:
    convolutions = sum(node.op_type in ("Conv", "ConvTranspose") for node in onnx.load(artifact).graph.node)
    done = run("inspect", artifact)
    assert (done.code, done.err) == (0, "")
    head, *facts = done.out.splitlines()
    assert head == f"{artifact}: onnx fp32, 96 x 160, raw head"
    assert ["convolutions", str(convolutions)] in [line.split() for line in facts]


def test_inspect_json_has_metadata_facts_and_problems(artifact: Path) -> None:
    content = json.loads(run("inspect", artifact, "--json").out)
    assert list(content) == ["metadata", "facts", "problems"]
    assert content["metadata"]["precision"] == "fp32"
    assert content["facts"]["megabytes"] > 0
    assert content["problems"] == []


def test_inspect_ends_with_4_where_a_file_is_not_what_it_says(artifact: Path) -> None:
    model = onnx.load(artifact)
    (entry,) = [entry for entry in model.metadata_props if entry.key == METADATA_KEY]
    entry.value = json.dumps({**json.loads(entry.value), "precision": "fp16"})
    onnx.save(model, artifact)
    done = run("inspect", artifact)
    assert done.code == 4
    assert "FLOAT, expected FLOAT16" in done.err
    assert "onnx fp16" in done.out


def test_inspect_of_weights_names_the_command_for_them(tiny_weights: Path) -> None:
    done = run("inspect", tiny_weights)
    assert done.code == 2
    assert "edgeseg weights show" in done.err


def test_inspect_refuses_what_is_no_artifact(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nothing")
    done = run("inspect", tmp_path / "a.txt")
    assert done.code == 2
    assert "a.txt" in done.err
