"""`edgeseg benchmark`: what it prints, writes and ends with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.annotated import write_annotated
from tests.cli.running import run

FAST = ("--runs", "2", "--warmup", "1")
ONCE = ("--runs", "1", "--warmup", "0")


@pytest.fixture
def build(tmp_path: Path, tiny_weights: Path, tiny_onnx: Path) -> Path:
    """A build of one artifact, validated before."""
    folder = tmp_path / "build"
    folder.mkdir()
    shutil.copy(tiny_weights, folder / "weights.safetensors")
    shutil.copy(tiny_onnx, folder / "tiny.onnx")
    validation = {"seg": {"AP": 0.25}, "box": {"AP": 0.5}, "pictures": 9, "data": "val.json"}
    (folder / "tiny.val.json").write_text(json.dumps(validation))
    target = {"id": "onnx-fp32", "outcome": "passed", "artifact": {"path": "tiny.onnx"}}
    content = {"schema": 1, "weights": {"path": "weights.safetensors"}, "targets": [target]}
    (folder / "build.json").write_text(json.dumps(content))
    return folder


def test_a_model_gets_a_row_for_each_step_and_what_the_numbers_rest_on(tiny_onnx: Path) -> None:
    outcome = run("benchmark", tiny_onnx, *FAST, "--option", "threads=1")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert "onnx fp32, 96 x 160, batch 1" in lines[0]
    assert lines[0].endswith("provider CPUExecutionProvider, threads 1")
    assert lines[1].split() == ["ms", "a", "run", "p50", "p95", "p99", "mean", "min"]
    assert [line.split()[0] for line in lines[2:7]] == ["letterbox", "network", "decode+nms", "masks", "total"]
    assert "2 runs over 3 pictures, after 1 of warm-up that are not counted" in outcome.out
    assert "turn 1 of 1, 2 runs" in outcome.err


def test_json_on_stdout_stands_alone(tiny_onnx: Path) -> None:
    outcome = run("benchmark", tiny_onnx, *FAST, "--json", "-", "-q")
    content = json.loads(outcome.out)
    assert (content["options"]["runs"], content["options"]["warmup_per_turn"]) == (2, 1)
    assert [len(times) for times in content["models"][0]["times_ms"].values()] == [2] * 5
    assert content["pareto"] == {}
    assert outcome.err == ""


def test_a_build_gets_a_table_a_json_and_a_picture(build: Path) -> None:
    outcome = run("benchmark", build, *ONCE)
    assert outcome.code == 0, outcome.err
    rows = {line.split()[0]: line.split()[1:] for line in outcome.out.splitlines()[1:3]}
    assert set(rows) == {"reference", "onnx-fp32"}
    assert rows["reference"][3] == "1.00"
    assert (rows["reference"][-1], rows["onnx-fp32"][-1]) == ("-", "0.2500")
    content = json.loads((build / "benchmark.json").read_text())
    assert content["pareto"] == {"ap_ms": ["onnx-fp32"], "ap_mb": ["onnx-fp32"]}
    assert "No AP known: reference" in (build / "pareto.svg").read_text()


def test_a_build_is_validated_on_the_pictures_that_are_named(build: Path, tiny_weights: Path, tmp_path: Path) -> None:
    source = write_annotated(tmp_path / "photos", tiny_weights, 2)
    moved = source.rename(tmp_path / "instances.json")
    assert run("benchmark", build, *ONCE, "--val", moved).code == 2
    outcome = run("benchmark", build, *ONCE, "--val", moved, "--images", source.parent)
    assert outcome.code == 0, outcome.err
    content = json.loads((build / "benchmark.json").read_text())
    assert [model["accuracy"]["mask_ap"] for model in content["models"]] == pytest.approx([1, 1])
    assert (content["options"]["val"], content["options"]["images"]) == (str(moved), str(source.parent))


def test_a_build_is_validated_on_the_part_that_is_named(build: Path, tmp_path: Path) -> None:
    source = tmp_path / "data.yaml"
    source.write_text("train: images/train\nnames: [a]\n")
    outcome = run("benchmark", build, *ONCE, "--val", source)
    assert (outcome.code, "no split 'val'" in outcome.err) == (2, True)
    outcome = run("benchmark", build, *ONCE, "--val", source, "--split", "train")
    assert f"train: {tmp_path / 'images' / 'train'} is neither a folder" in outcome.err


@pytest.mark.parametrize("option", ["--split", "--images"])
def test_a_part_or_folder_of_no_data_set_is_refused(option: str, build: Path) -> None:
    outcome = run("benchmark", build, *ONCE, option, "train")
    assert outcome.code == 2
    assert f"{option.strip('-')} train: of which data set?" in outcome.err
    assert "--val DATA" in outcome.err


def test_a_build_with_a_damaged_artifact_times_the_others_and_exits_2(build: Path) -> None:
    (build / "tiny.onnx").write_bytes(b"no model")
    outcome = run("benchmark", build, *ONCE)
    assert outcome.code == 2
    assert "failed: onnx-fp32: " in outcome.out
    assert "reference" in outcome.out
    assert json.loads((build / "benchmark.json").read_text())["failures"]["onnx-fp32"]["exit_code"] == 2


def test_a_runtime_that_breaks_down_exits_4_with_its_last_words(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text("import sys; sys.stderr.write('driver says no\\n'); sys.exit(9)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    outcome = run("benchmark", tiny_onnx, *FAST)
    assert outcome.code == 4
    assert "the process that timed it ended with exit code 9\n  | driver says no\n" in outcome.err


def test_a_model_that_is_not_there_exits_2(tmp_path: Path) -> None:
    outcome = run("benchmark", tmp_path / "none.onnx", *FAST)
    assert outcome.code == 2
    assert "none.onnx" in outcome.err
