"""The CSV of a training: complete, exact, and without doubled rows after a resume."""

from __future__ import annotations

import csv
import math
from dataclasses import fields
from pathlib import Path

import pytest

from edgeseg.data.dataset import Dataset
from edgeseg.errors import OutputError
from edgeseg.train.callbacks import Epoch
from edgeseg.train.csv_log import COLUMNS, CsvLog, csv_of
from tests.report.validation import write_set
from tests.train.records import epoch, run_of, validated


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return write_set(tmp_path / "set")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_a_row_per_epoch_with_every_number_in_full(tmp_path: Path, dataset: Dataset) -> None:
    path = tmp_path / "deep" / "train.csv"
    log = CsvLog(path)
    log.on_start(run_of(tmp_path, dataset), [])
    log.on_epoch(epoch(1), None)
    log.on_epoch(validated(2, best=True, mask_ap=1 / 3), None)
    first, second = rows_of(path)
    assert first["mask_ap"] == "" and first["best"] == "0"
    assert float(second["mask_ap"]) == 1 / 3 and second["best"] == "1"
    for number, row in ((1, first), (2, second)):
        expected = epoch(number)
        assert int(row["epoch"]) == number
        assert [float(row[f"{part}_loss"]) for part in ("box", "cls", "dfl", "mask")] == [*expected.losses.values()]
        for name in ("learning_rate", "seconds", "val_seconds", "images_per_second", "memory_mb"):
            assert float(row[name]) == getattr(expected, name)


def test_csv_has_a_column_for_every_field_of_an_epoch() -> None:
    plain = {field.name for field in fields(Epoch)} - {"losses", "scores"}
    parts = {f"{part}_loss" for part in epoch(1).losses} | set(validated(1).scores)
    assert set(COLUMNS) == plain | parts


def test_resumed_run_has_each_epoch_once(tmp_path: Path, dataset: Dataset) -> None:
    path = tmp_path / "train.csv"
    cut_off = CsvLog(path)
    cut_off.on_start(run_of(tmp_path, dataset), [])
    for number in (1, 2, 3):
        cut_off.on_epoch(epoch(number), None)
    resumed = CsvLog(path)
    # Its state was saved after epoch 2: the third one is run again, with another result.
    resumed.on_start(run_of(tmp_path, dataset, first_epoch=3), [epoch(1), epoch(2)])
    assert [row["epoch"] for row in rows_of(path)] == ["1", "2"]
    resumed.on_epoch(epoch(3, seconds=99.0), None)
    assert [(row["epoch"], float(row["seconds"])) for row in rows_of(path)] == [("1", 11), ("2", 12), ("3", 99)]


def test_loss_that_is_no_number_stays_one() -> None:
    text = csv_of([epoch(1, losses={"box": math.nan, "cls": math.inf, "dfl": 1.0, "mask": 1.0})])
    (row,) = csv.DictReader(text.splitlines())
    assert math.isnan(float(row["box_loss"])) and math.isinf(float(row["cls_loss"]))


def test_path_that_cannot_be_written_is_named(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "train.csv").mkdir()
    with pytest.raises(OutputError, match=r"train\.csv"):
        CsvLog(tmp_path / "train.csv").on_start(run_of(tmp_path, dataset), [])
