"""build.json: the command in it repeats the build, and its paths survive a move of the folder."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgeseg.build.execute import Build, ExecuteOptions
from edgeseg.build.explain import plan_lines
from edgeseg.build.plan import Plan, make_plan
from edgeseg.build.target_build import TargetBuild
from edgeseg.card.load import load_card
from edgeseg.card.resolve import resolve
from edgeseg.cli import cli
from edgeseg.report.build_report import build_json, command, write_reports

CARD = """schema: 1
name: tiny
license: Apache-2.0
model: {scale: n, classes: [cat, dog], image_size: [64, 96]}
weights: {path: own.safetensors}
targets:
  - {format: onnx}
  - {format: torchscript}
  - {format: onnx, name: "again", options: {opset: 18}}
"""


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("EDGESEG_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("own.safetensors", "other weights.pt"):
        (tmp_path / name).write_bytes(b"")
    path = tmp_path / "card.yaml"
    path.write_text(CARD)
    return path


def plan_of(
    card: Path, *, weights: Path | None = None, only: tuple[str, ...] = (), overrides: tuple[str, ...] = ()
) -> Plan:
    resolved = resolve(load_card(card, overrides), weights=weights)
    return make_plan(resolved, weights_given=weights is not None, only=only, output=Path("out"))


def dry_run(words: list[str]) -> Result:
    assert words[:2] == ["edgeseg", "build"]
    return CliRunner().invoke(cli, [*words[1:], "--dry-run"])


def test_command_repeats_a_plain_build_from_another_folder(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(Path("card.yaml"))
    words = command(plan)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert dry_run(words).stdout.splitlines() == list(plan_lines(plan, ExecuteOptions()))


def test_command_keeps_weights_overrides_and_chosen_targets(card: Path, tmp_path: Path) -> None:
    overrides = ("model.image_size=[32, 64]", "targets.0.gates.mask_iou_min=0.5")
    plan = plan_of(card, weights=tmp_path / "other weights.pt", only=("onnx",), overrides=overrides)
    words = command(plan)
    assert dry_run(words).stdout.splitlines() == list(plan_lines(plan, ExecuteOptions()))
    given = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    assert load_card(card, given).sha256 == plan.card.sha256 != load_card(card).sha256
    assert [words[i + 1] for i, word in enumerate(words) if word == "--only"] == ["onnx-fp32", "again"]


def test_command_of_the_cards_own_weights_leaves_them_to_the_card(card: Path) -> None:
    assert "--weights" not in command(plan_of(card))


def test_command_names_the_data_folder_of_the_environment(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGESEG_DATA", str(tmp_path / "data sets"))
    assert command(plan_of(card))[:3] == ["env", f"EDGESEG_DATA={tmp_path / 'data sets'}", "edgeseg"]


@pytest.fixture
def built(card: Path) -> Build:
    """A build as if one target had made a file, another a folder, and a third had failed."""
    plan = plan_of(card)
    one, two, three = (TargetBuild(target) for target in plan.targets)
    for build, name in ((one, "a.onnx"), (two, "folder/model.bin")):
        path = plan.target_folder(build.target) / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"12345")
    one.artifact = plan.target_folder(one.target) / "a.onnx"
    two.artifact = plan.target_folder(two.target) / "folder"
    picture = "verify/worst-1.png"
    one.stages = {"verify": {"worst": [{"picture": picture, "source": "/far/a.jpg", "what": "cat", "mask_iou": 0.5}]}}
    three.outcome, three.message = "export_failed", "the exporter stopped"
    weights = {"license": "MIT", "file": "own.safetensors", "sha256": "given"}
    return Build(plan, weights, "ef" * 32, {}, [one, two, three], {"edgeseg": "0"}, "2026-07-01T10:20:30+00:00")


def test_artifacts_have_size_and_hash_and_folders_those_of_their_files(built: Build) -> None:
    file, folder, nothing = (target["artifact"] for target in build_json(built)["targets"])
    digest = hashlib.sha256(b"12345").hexdigest()
    assert file == {"path": "onnx-fp32/a.onnx", "bytes": 5, "sha256": digest}
    assert folder["path"] == "torchscript-fp32/folder"
    assert folder["bytes"] == 5
    assert folder["files"] == {"model.bin": {"bytes": 5, "sha256": digest}}
    assert nothing is None


def test_paths_inside_the_folder_are_relative_to_it(built: Build) -> None:
    (worst,) = build_json(built)["targets"][0]["stages"]["verify"]["worst"]
    assert worst["picture"] == "onnx-fp32/verify/worst-1.png"
    assert worst["source"] == "/far/a.jpg"


def test_hash_of_the_given_weights_is_kept_beside_that_of_the_reference(built: Build) -> None:
    weights = build_json(built)["weights"]
    assert weights["sha256"] == "ef" * 32
    assert weights["source"] == {"file": "own.safetensors", "sha256": "given"}


def test_both_reports_are_written_and_the_page_holds_all_targets(built: Build) -> None:
    as_json, as_html = write_reports(built)
    content = json.loads(as_json.read_text("utf-8"))
    page = as_html.read_text("utf-8")
    assert as_json.parent == as_html.parent == built.plan.folder
    assert [target["id"] for target in content["targets"]] == ["onnx-fp32", "torchscript-fp32", "again"]
    for target in content["targets"]:
        assert target["id"] in page
    assert os.fspath(built.plan.card.path) in page
