"""`edgeseg build` of a card that trains: the stage, its reuse, its resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeseg.build.execute import ExecuteOptions, train
from edgeseg.build.explain import plan_lines
from edgeseg.build.plan import Plan, make_plan
from edgeseg.errors import UsageError
from edgeseg.model.weights import load_weights
from tests.train.trainings import CLASSES, draw_shapes, resolved, write_card


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes") / "data", images=8, val=2)


def plan(card: Path, output: Path) -> Plan:
    return make_plan(resolved(card), weights_given=False, output=output)


def test_a_card_with_a_train_section_trains_once(shapes: Path, tmp_path: Path) -> None:
    card = write_card(tmp_path / "card.yaml", shapes, {"epochs": 1})
    planned = plan(card, tmp_path / "out")
    assert planned.weights is None
    assert next(plan_lines(planned, ExecuteOptions())).startswith("train ")
    first = train(planned)
    assert first.weights == tmp_path / "out/train/weights/best.safetensors"
    assert load_weights(first.weights).metadata.names == CLASSES
    manifest = json.loads((tmp_path / "out/train/train.manifest.json").read_text())
    assert (manifest["outcome"], manifest["stage"]) == ("passed", "train")
    written = first.weights.stat().st_mtime_ns
    again = train(plan(card, tmp_path / "out"))
    assert again.weights == first.weights
    assert first.weights.stat().st_mtime_ns == written


def test_a_folder_with_the_training_of_another_recipe_is_refused(shapes: Path, tmp_path: Path) -> None:
    train(plan(write_card(tmp_path / "one.yaml", shapes, {"epochs": 1}), tmp_path / "out"))
    other = plan(write_card(tmp_path / "two.yaml", shapes, {"epochs": 1, "lr0": 0.02}), tmp_path / "out")
    with pytest.raises(UsageError, match=r"train\.lr0 was 0\.01, now 0\.02"):
        train(other)
