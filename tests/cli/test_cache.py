"""`edgeseg cache`: stages listed with their state; what nothing needs is removed, and nothing else."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from edgeseg.build.plan import SCRATCH
from edgeseg.build.running import find_or_run
from edgeseg.build.stage import StageRequest, StageResult
from tests.cli.running import run


def _stage(build: Path, target: str, stage: str, outcome: str = "passed") -> None:
    def work(request: StageRequest) -> StageResult:
        (request.folder / f"{stage}.bin").write_bytes(b"1" * 1000)
        return StageResult(outcome, outputs={"artifact": request.folder / f"{stage}.bin"})

    find_or_run(StageRequest(stage, target, build / target, {}, {}), work, build / SCRATCH)


@pytest.fixture
def build(tmp_path: Path) -> Path:
    folder = tmp_path / "runs/one"
    for target, stage in (("", "weights"), ("onnx-fp32", "export"), ("gone-fp32", "export"), ("left-out", "export")):
        _stage(folder, target, stage)
    _stage(folder, "onnx-fp32", "verify", "run_failed")
    (folder / "build.json").write_text(json.dumps({"card": {"targets": ["onnx-fp32", "left-out"]}, "targets": []}))
    return folder


def test_list_has_every_stage_with_its_state(build: Path) -> None:
    (build / "gone-fp32/export.bin").write_bytes(b"changed")
    done = run("cache", "list", build.parent, "--json")
    rows = {(row["target"], row["stage"]): row for row in json.loads(done.out)["stages"]}
    assert {key: row["state"] for key, row in rows.items()} == {
        ("", "weights"): "good",
        ("onnx-fp32", "export"): "good",
        ("onnx-fp32", "verify"): "it ended with run_failed",
        ("gone-fp32", "export"): "its output export.bin was changed",
        ("left-out", "export"): "good",
    }
    assert rows["", "weights"]["bytes"] == 1000
    table = run("cache", "list", build).out
    assert "onnx-fp32" in table
    assert "run_failed" in table


def test_prune_removes_what_the_card_no_longer_has_and_keeps_the_rest(build: Path) -> None:
    (build / "gone-fp32/notes.txt").write_text("mine")
    (build / SCRATCH / "session-1").mkdir(parents=True)
    (build / SCRATCH / "session-1/half.bin").write_bytes(b"half")
    before = {path for path in build.rglob("*") if path.is_file()}
    dry = run("cache", "prune", build, "--dry-run")
    assert {path for path in build.rglob("*") if path.is_file()} == before
    done = run("cache", "prune", build)
    assert done.code == 0, done.err
    assert dry.out.splitlines() == done.out.splitlines()[:-1]
    left = {path.relative_to(build).as_posix() for path in build.rglob("*") if path.is_file()}
    assert left - {".lock"} == {
        "weights.bin",
        "weights.manifest.json",
        "onnx-fp32/export.bin",
        "onnx-fp32/export.manifest.json",
        "onnx-fp32/verify.bin",
        "onnx-fp32/verify.manifest.json",
        "gone-fp32/notes.txt",
        "left-out/export.bin",
        "left-out/export.manifest.json",
        "build.json",
    }


def test_old_files_of_data_sets_are_pruned_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets").mkdir()
    for name, days in (("old.npz", 40), ("new.npz", 1)):
        path = tmp_path / "datasets" / name
        path.write_bytes(b"1")
        then = time.time() - 86400 * days
        os.utime(path, (then, then))
    assert run("cache", "prune").code == 0
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == ["new.npz"]


def test_absent_folder_is_refused(tmp_path: Path) -> None:
    done = run("cache", "list", tmp_path / "nowhere")
    assert done.code == 2
    assert "no such folder" in done.err
