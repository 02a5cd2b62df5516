"""`edgeseg card`, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from edgeseg.cli import cli
from edgeseg.errors import CardError, CardErrors

GOOD = """schema: 1
name: tiny
license: Apache-2.0
model: {scale: n, classes: [cat, dog], image_size: [64, 96]}
data: {train: a.json}
train: {epochs: 2}
targets: [{format: onnx}]
"""


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "card.yaml"
    path.write_text(GOOD)
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["card", *map(str, arguments)])


def test_check_prints_ok_and_names_missing_data(card: Path) -> None:
    result = run("check", card)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"ok {card}: tiny, 1 target\n")
    assert f"data.train is not there: {card.parent / 'a.json'}" in result.stdout


def test_check_reports_mistakes_of_all_cards(card: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(GOOD.replace("scale: n", "scale: q").replace("epochs", "epoch"))
    result = run("check", broken, card, tmp_path / "none.yaml")
    assert isinstance(result.exception, CardErrors)
    assert len(result.exception.errors) == 3
    assert result.stdout.startswith(f"ok {card}")


def test_check_json_holds_places_and_hints(card: Path) -> None:
    result = run("check", card, "--json", "--set", "train.epoch=3")
    assert isinstance(result.exception, CardError)
    (row,) = json.loads(result.stdout)["cards"]
    assert not row["ok"]
    assert row["mistakes"] == [
        {
            "where": "--set train.epoch",
            "line": 0,
            "column": 0,
            "message": "unknown key 'epoch'",
            "hint": "did you mean 'epochs'?",
        }
    ]


def test_wrong_card_exits_2_with_a_caret_on_stderr(card: Path) -> None:
    card.write_text(GOOD.replace("scale: n", "scale: q"))
    command = [sys.executable, "-c", "from edgeseg.cli import main; main()", "card", "check", str(card)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {card}:4:16: scale: expected")
    assert "Traceback" not in done.stderr


def test_card_commands_import_no_torch(card: Path) -> None:
    code = (
        "import sys; sys.argv = ['edgeseg', 'card', 'check', sys.argv[1]]\n"
        "from edgeseg.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'cv2', 'onnxruntime'} & sys.modules.keys()\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(card)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_show_prints_the_card_with_overrides(card: Path) -> None:
    shown = yaml.safe_load(run("show", card, "--set", "train.epochs=7").stdout)
    assert shown == {**yaml.safe_load(GOOD), "train": {"epochs": 7}}


def test_show_resolved_is_a_card_with_every_default(card: Path, tmp_path: Path) -> None:
    result = run("show", card, "--resolved")
    shown = yaml.safe_load(result.stdout)
    assert shown["train"]["augmentation"]["mosaic"] == 1.0
    assert shown["targets"][0]["gates"]["mask_iou_median_min"] == 0.999
    assert shown["data"]["root"] == str(card.parent)
    copy = tmp_path / "copy.yaml"
    copy.write_text(result.stdout)
    assert run("show", copy, "--resolved").stdout == result.stdout
    assert json.loads(run("show", card, "--resolved", "--json").stdout) == shown


def test_show_takes_weights_for_a_card_without_data(card: Path, tmp_path: Path) -> None:
    card.write_text(GOOD.replace("data: {train: a.json}\ntrain: {epochs: 2}\n", ""))
    (tmp_path / "w.pt").write_bytes(b"x")
    assert isinstance(run("show", card, "--resolved").exception, CardError)
    shown = yaml.safe_load(run("show", card, "--resolved", "--weights", tmp_path / "w.pt").stdout)
    assert shown["weights"] == {"path": str(tmp_path / "w.pt")}


def test_schema_is_the_shipped_file() -> None:
    shipped = Path(__file__).parents[2] / "cards/card.schema.json"
    assert run("schema").stdout == shipped.read_text()
