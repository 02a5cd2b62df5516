"""A stage that crashes, hangs or eats memory is that target's outcome; the others pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.build.rough_builds import Built, build, card_of

TARGETS: list[dict[str, Any]] = [
    {"format": "crashing"},
    {"format": "hanging", "limits": {"stage_s": 25}},
    {"format": "hungry", "limits": {"memory_mb": 1500}},
    {"format": "plain"},
    {"format": "onnx"},
]


@pytest.fixture(scope="module")
def rough(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("rough")
    card = card_of(folder, tiny_weights, TARGETS)
    return build(card, folder / "out", "--jobs", 2)


def test_others_pass_and_the_build_exits_with_4(rough: Built) -> None:
    outcomes = {row["format"]: row["outcome"] for row in rough.content["targets"]}
    assert outcomes == {
        "crashing": "export_failed",
        "hanging": "run_failed",
        "hungry": "export_failed",
        "plain": "passed",
        "onnx": "passed",
    }
    assert rough.code == 4


@pytest.mark.parametrize(
    ("name", "message", "line"),
    [
        ("crashing", "was ended by SIGSEGV", "crashing: converting 216 nodes"),
        ("hanging", "took longer than 25 s", "hanging: waiting for the device"),
        ("hungry", "the limit of a stage is 1500", "hungry: optimising"),
    ],
)
def test_outcome_says_how_it_ended_with_its_last_lines(name: str, message: str, line: str, rough: Built) -> None:
    row = rough.target(name)
    assert message in row["message"]
    assert line in row["log"].splitlines()
    # The terminal shows them, too.
    assert f"  | {line}" in rough.out


def test_crash_names_the_python_lines_that_led_to_it(rough: Built) -> None:
    assert "Fatal Python error: Segmentation fault" in rough.target("crashing")["log"]


def test_what_did_not_run_is_named(rough: Built) -> None:
    assert rough.target("crashing")["skipped"] == ["inspect", "verify", "validate", "benchmark"]
    assert rough.target("plain")["skipped"] == []


def test_keep_going_runs_what_still_can_run(tiny_weights: Path, tmp_path: Path) -> None:
    card = card_of(tmp_path, tiny_weights, [{"format": "hanging", "limits": {"stage_s": 8}}])
    row = build(card, tmp_path / "out", "--keep-going").target("hanging")
    assert row["outcome"] == "run_failed"
    # Its verification hangs, and so does its timing: both were tried.
    assert set(row["stages"]) == {"export", "inspect", "verify", "benchmark", "gates"}
    assert row["skipped"] == []


def test_nothing_of_a_broken_stage_is_left(rough: Built, tmp_path: Path) -> None:
    folder = Path(rough.content["command"][-1])
    assert not (folder / ".scratch").exists()
    assert {path.name for path in (folder / "crashing-fp32").iterdir()} == {"export.manifest.json"}


def test_far_device_is_deferred_with_a_bundle_and_exit_0(tiny_weights: Path, tmp_path: Path) -> None:
    card = card_of(tmp_path, tiny_weights, [{"format": "faraway"}, {"format": "onnx"}])
    built = build(card, tmp_path / "out")
    row = built.target("faraway")
    assert (built.code, row["outcome"]) == (0, "deferred")
    assert "a far device" in row["message"]
    assert (tmp_path / "out" / row["bundle"]["path"]).is_file()
    assert f"edgeseg verify {Path(row['bundle']['path']).name}" in row["hint"]
    assert set(row["stages"]) == {"export", "inspect", "gates", "bundle"}
