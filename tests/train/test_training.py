"""Whole trainings: what they write, that they repeat, resume, stop and refuse."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import edgeseg
from edgeseg.data.open import open_dataset
from edgeseg.errors import SourceError, StageError, UsageError
from edgeseg.model.weights import Weights, load_weights
from edgeseg.train.batch import Batch
from edgeseg.train.callbacks import Callback, End, Epoch, Run, Step
from edgeseg.train.distributed import join
from edgeseg.train.listeners import standard_callbacks
from edgeseg.train.run import prepared, train
from edgeseg.train.trainer import LAST
from edgeseg.validate import remembered_data
from tests.train.trainings import CLASSES, SIDE, draw_shapes, resolved, write_card


class Record(Callback):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.steps: list[Step] = []
        self.batches: list[Batch] = []
        self.end: End | None = None

    def on_start(self, run: Run, before: Sequence[Epoch]) -> None:
        self.run = run

    def on_batch(self, epoch: int, step: int, batch: Batch) -> None:
        self.batches.append(batch)

    def on_step(self, step: Step) -> None:
        self.steps.append(step)

    def on_end(self, end: End) -> None:
        self.end = end


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes") / "data")


@pytest.fixture(scope="module")
def trained(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, End, Record]:
    folder = tmp_path_factory.mktemp("trained")
    card = write_card(folder / "card.yaml", shapes, {"epochs": 3})
    record = Record()
    end = train(resolved(card), folder / "out", callbacks=[*standard_callbacks(folder / "out", quiet=True), record])
    return folder, end, record


def largest_difference(one: Path, other: Path) -> float:
    a, b = load_weights(one).tensors, load_weights(other).tensors
    assert a.keys() == b.keys()
    return max(float(np.abs(a[name] - b[name]).max()) for name in a)


def test_training_ends_with_weights_that_know_their_training(trained: tuple[Path, End, Record], shapes: Path) -> None:
    _, end, _ = trained
    assert (end.reason, len(end.epochs)) == ("finished", 3)
    assert end.best is not None
    metadata = load_weights(end.best).metadata
    assert metadata.names == CLASSES
    assert metadata.image_size == (SIDE, SIDE)
    assert metadata.scale == "n"
    assert metadata.license == "Apache-2.0"
    assert metadata.train_args["epochs"] == 3
    assert remembered_data(end.best)[0] == shapes / "annotations/val.json"


def test_validation_of_the_weights_gives_the_score_of_their_epoch(
    trained: tuple[Path, End, Record], shapes: Path
) -> None:
    _, end, _ = trained
    assert end.last is not None
    with edgeseg.load(end.last) as model:
        found = model.val(shapes / "annotations/val.json")
    assert np.nan_to_num(found.seg.map) == pytest.approx(end.epochs[-1].scores["mask_ap"], abs=1e-6)
    assert np.nan_to_num(found.box.map) == pytest.approx(end.epochs[-1].scores["box_ap"], abs=1e-6)


def test_losses_fall(trained: tuple[Path, End, Record]) -> None:
    first, *_, last = trained[1].epochs
    assert sum(last.losses.values()) < sum(first.losses.values())


def test_csv_and_page_have_every_epoch(trained: tuple[Path, End, Record]) -> None:
    folder = trained[0] / "out"
    with (folder / "train.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    assert "finished" in (folder / "train.html").read_text()


def test_batches_hold_the_class_ids_of_the_card_when_the_set_has_another_order(shapes: Path, tmp_path: Path) -> None:
    model = {"scale": "n", "classes": ["other", "square", "circle"], "image_size": [SIDE, SIDE]}
    augmentation = {"mosaic": 0.0, "scale": 0.0, "translate": 0.0, "flip_lr": 0.0}
    card = write_card(tmp_path / "card.yaml", shapes, {"epochs": 1, "augmentation": augmentation}, model=model)
    record = Record()
    train(resolved(card), tmp_path / "out", callbacks=[record])
    truth = {str(sample.path): sample for sample in open_dataset(shapes / "annotations/train.json")}
    names = open_dataset(shapes / "annotations/train.json").names
    expected = {"square": 1, "circle": 2}
    for batch in record.batches:
        for picture, name in enumerate(batch.names):
            wanted = sorted(expected[names[one.class_id]] for one in truth[name].annotations)
            assert sorted(batch.class_ids[batch.picture_of == picture].tolist()) == wanted


def test_training_again_into_the_same_folder_is_refused(trained: tuple[Path, End, Record]) -> None:
    folder = trained[0]
    with pytest.raises(UsageError, match="holds a training already"):
        train(resolved(folder / "card.yaml"), folder / "out")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lr0=0.02", r"train\.lr0 was 0\.01, now 0\.02"),
        ("train.overlap_masks=separate", r"train\.overlap_masks was 'merged', now 'separate'"),
    ],
)
def test_resume_with_another_recipe_is_refused_and_names_it(
    override: str, message: str, trained: tuple[Path, End, Record]
) -> None:
    folder = trained[0]
    changed = resolved(folder / "card.yaml", [override])
    with pytest.raises(UsageError, match=message):
        train(changed, folder / "out", resume=True)


def test_same_seed_gives_the_same_first_losses_whatever_the_workers(shapes: Path, tmp_path: Path) -> None:
    runs = []
    for workers in (0, 2):
        record = Record()
        train_settings = {"epochs": 7, "workers": workers, "val_interval": 100}
        card = write_card(tmp_path / f"{workers}.yaml", shapes, train_settings)
        train(resolved(card), tmp_path / f"out-{workers}", callbacks=[record])
        runs.append([step.losses for step in record.steps[:20]])
    assert len(runs[0]) == 20
    for one, other in zip(*runs, strict=True):
        assert one == pytest.approx(other, rel=1e-6)


KILLED = """
import os, signal, sys
from pathlib import Path
from edgeseg.train.callbacks import Callback
from edgeseg.train.listeners import CsvLog
from edgeseg.train.run import train
from tests.train.trainings import resolved

class Kill(Callback):
    def on_step(self, step):
        if sys.argv[3] == "kill" and (step.epoch, step.step) == (2, 2):
            os.kill(os.getpid(), signal.SIGKILL)

folder = Path(sys.argv[2])
callbacks = [Kill(), CsvLog(folder / "train.csv")]
train(resolved(Path(sys.argv[1])), folder, callbacks=callbacks, resume=sys.argv[3] == "go on")
"""
"""Each in a process of its own: what ran before in this one, such as another number of threads, changes last digits,
and those grow."""


def run_alone(card: Path, folder: Path, what: str) -> int:
    """Exit code of a training that is left alone, killed, or goes on."""
    command = [sys.executable, "-c", KILLED, str(card), str(folder), what]
    return subprocess.run(command, check=False, cwd=Path(__file__).parents[2]).returncode


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_resume_after_kill_9_within_an_epoch_ends_with_the_same_weights(
    shapes: Path, tmp_path: Path, optimizer: str
) -> None:
    card = write_card(tmp_path / "card.yaml", shapes, {"epochs": 3, "optimizer": optimizer, "nominal_batch": 8})
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_alone(card, whole, "leave") == 0
    assert run_alone(card, killed, "kill") == -signal.SIGKILL
    assert run_alone(card, killed, "go on") == 0
    assert largest_difference(whole / LAST, killed / LAST) <= 1e-5
    rows = []
    for folder in (whole, killed):
        with (folder / "train.csv").open() as file:
            rows.append(
                [(row["epoch"], float(row["box_loss"]), float(row["mask_loss"])) for row in csv.DictReader(file)]
            )
    assert [row[0] for row in rows[1]] == ["1", "2", "3"]
    for one, other in zip(*rows, strict=True):
        assert one[1:] == pytest.approx(other[1:], rel=1e-5)


def test_resume_within_an_epoch_goes_on_from_the_saved_step(shapes: Path, tmp_path: Path) -> None:
    card = resolved(write_card(tmp_path / "card.yaml", shapes, {"epochs": 2}))
    undisturbed = train(card, tmp_path / "whole")

    class Stop(Callback):
        def on_step(self, step: Step) -> None:
            if (step.epoch, step.step) == (2, 3):
                raise KeyboardInterrupt

    settings = card.card.train
    assert settings is not None
    with join("cpu") as world:
        torch.manual_seed(settings.seed)
        trainer, _ = prepared(card, settings, tmp_path / "cut", world, [Stop()])
        trainer.plan = replace(trainer.plan, save_seconds=0.0)
        with pytest.raises(KeyboardInterrupt):
            trainer.run()
    record = Record()
    resumed = train(card, tmp_path / "cut", callbacks=[record], resume=True)
    assert (record.steps[0].epoch, record.steps[0].step) == (2, 3)
    assert undisturbed.last is not None
    assert resumed.last is not None
    assert largest_difference(undisturbed.last, resumed.last) <= 1e-5


def test_two_processes_learn_as_one_with_twice_the_batch(shapes: Path, tmp_path: Path) -> None:
    settings = {"epochs": 2, "amp": False, "val_interval": 100}
    one = train(resolved(write_card(tmp_path / "one.yaml", shapes, settings)), tmp_path / "one")
    two = write_card(tmp_path / "two.yaml", shapes, {**settings, "batch": 2})
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command = [*launcher, "edgeseg", "train", str(two), "-o", str(tmp_path / "two"), "--device", "cpu", "-q"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    with (tmp_path / "two/train.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(one.epochs) == 2
    for epoch, row in zip(one.epochs, rows, strict=True):
        for name, value in epoch.losses.items():
            assert float(row[f"{name}_loss"]) == pytest.approx(value, rel=5e-3)
    assert one.last is not None
    assert largest_difference(one.last, tmp_path / "two/weights/last.safetensors") <= 5e-3


def test_a_broken_picture_is_left_out_or_refused_when_strict(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = draw_shapes(tmp_path / "data", images=6, val=2)
    broken = sorted((data / "images/train").iterdir())[2]
    broken.write_bytes(broken.read_bytes()[:200])
    record = Record()
    card = write_card(tmp_path / "card.yaml", data, {"epochs": 1})
    train(resolved(card), tmp_path / "out", callbacks=[record])
    assert any(broken.name in message for message in caplog.messages)
    assert broken.name not in {Path(name).name for batch in record.batches for name in batch.names}
    with pytest.raises(SourceError, match=broken.name):
        train(resolved(card, ["train.strict=true"]), tmp_path / "strict")


def test_a_loss_that_is_not_finite_stops_and_keeps_the_batch(shapes: Path, tmp_path: Path) -> None:
    wild = {"optimizer": "sgd", "lr0": 1.0, "clip_norm": 0, "warmup_epochs": 0, "gains": {"box": 100, "cls": 100}}
    card = write_card(tmp_path / "card.yaml", shapes, {"epochs": 30, "val_interval": 100, **wild})
    record = Record()
    with pytest.raises(StageError, match=r"epoch \d+, step \d+: not finite") as error:
        train(resolved(card), tmp_path / "out", callbacks=[record])
    assert error.value.outcome == "train_failed"
    assert record.end is not None
    assert record.end.reason == "failed"
    saved = list((tmp_path / "out").glob("not-finite-*.npz"))
    assert len(saved) == 1
    with np.load(saved[0]) as batch:
        assert batch["images"].shape == (4, 3, SIDE, SIDE)


def test_training_stops_early_when_nothing_is_gained(shared: Path, tmp_path: Path) -> None:
    content = open_dataset(shared / "data/coco-val128/instances.json")[:4].to_coco()
    (tmp_path / "four.json").write_text(json.dumps(content))
    few = {"annotations": "four.json", "images": str(shared / "data/coco-val128/images")}
    settings = {"epochs": 20, "patience": 2, "optimizer": "sgd", "lr0": 1e-9, "freeze": 22}
    sections = {
        "model": {"scale": "n", "classes": "coco80", "image_size": [160, 160]},
        "weights": {"path": str(shared / "weights/yolov8n-seg.pt")},
        "data": {"root": str(tmp_path), "train": few, "val": few},
    }
    end = train(resolved(write_card(tmp_path / "card.yaml", tmp_path, settings, **sections)), tmp_path / "out")
    best = next(epoch for epoch in reversed(end.epochs) if epoch.best)
    assert end.reason == "early_stop"
    assert best.scores["mask_ap"] > 0
    assert len(end.epochs) == best.epoch + 2 < 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["data.train=absent.json"], "data.train .*absent.json is not there"),
        (["model.classes=[circle]"], "classes 'square' are none of the card's"),
    ],
    ids=["no-data", "class-unknown"],
)
def test_training_refuses_what_it_cannot_learn_from(
    shapes: Path, tmp_path: Path, change: list[str], message: str
) -> None:
    card = write_card(tmp_path / "card.yaml", shapes, {})
    with pytest.raises(UsageError, match=message):
        train(resolved(card, change), tmp_path / "out")


def test_weights_of_a_detector_start_a_training(shapes: Path, shared: Path, tmp_path: Path) -> None:
    sections = {"weights": {"path": str(shared / "weights/yolov8n.pt")}}
    card = write_card(tmp_path / "card.yaml", shapes, {"epochs": 1}, **sections)
    end = train(resolved(card), tmp_path / "out")
    assert end.last is not None
    found: Weights = load_weights(end.last)
    assert found.metadata.missing == ()
    assert found.metadata.source["start"] == "yolov8n.pt"
