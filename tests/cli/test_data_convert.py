"""`edgeseg data convert` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

from edgeseg.data.open import open_dataset
from tests.cli.running import run
from tests.data.sets import SQUARE, annotation, write_coco


def test_data_help_lists_the_commands_without_importing_them() -> None:
    outcome = run("data", "--help")
    assert outcome.code == 0
    for name in ("check", "convert", "split", "synth"):
        assert f"  {name}" in outcome.out


def test_a_mistyped_command_is_corrected() -> None:
    outcome = run("data", "convrt")
    assert (outcome.code, outcome.out) == (2, "")
    assert "did you mean 'convert'?" in outcome.err


def test_convert_prints_counts_notes_and_what_opens_the_set(tmp_path: Path) -> None:
    parts = [SQUARE, [40.0, 2.0, 60.0, 2.0, 60.0, 20.0]]
    source = write_coco(tmp_path / "a", [annotation(1, parts), annotation(2, iscrowd=1)])
    outcome = run("data", "convert", source, tmp_path / "b", "--to", "yolo-seg", "--split", "val", "--link")
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        "val: 1 pictures, 1 annotations, from coco",
        "  1 annotations of several parts: joined into one ring by bridges of no width",
        "  1 crowds, which YOLO-seg cannot mark: left out",
        str(tmp_path / "b" / "data.yaml"),
    ]
    assert outcome.err == ""
    assert open_dataset(tmp_path / "b" / "data.yaml")[0].path.is_symlink()


def test_convert_prints_json_that_says_the_same(tmp_path: Path) -> None:
    source = write_coco(tmp_path / "a", [annotation(), annotation(2, image_id=9)])
    outcome = run("data", "convert", source, tmp_path / "b", "--to", "coco", "--absolute", "--json")
    assert json.loads(outcome.out) == {
        "from": "coco",
        "files": [str(tmp_path / "b" / "annotations" / "train.json")],
        "parts": [{"part": "train", "pictures": 1, "annotations": 1}],
        "notes": ["1 annotations of pictures that the file does not list: left out"],
    }


def test_convert_refuses_with_exit_2_and_says_what_is_known(tmp_path: Path) -> None:
    source = write_coco(tmp_path / "a", [annotation()])
    outcome = run("data", "convert", source, tmp_path / "b", "--to", "voc")
    assert (outcome.code, outcome.out) == (2, "")
    assert "expected one of coco, yolo-seg" in outcome.err
