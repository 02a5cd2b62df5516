"""TensorBoard's event files, read back with TensorBoard's own reader."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeseg.errors import EnvironmentMissingError
from edgeseg.train.callbacks import End
from edgeseg.train.tensorboard_log import TensorBoardLog
from tests.report.validation import write_set
from tests.train.records import epoch, run_of, validated


def test_log_without_the_package_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(EnvironmentMissingError, match=r"edgeseg\[tensorboard\]"):
        TensorBoardLog(tmp_path)


def test_events_have_every_number_once_after_a_resume(tmp_path: Path) -> None:
    reading = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the package tensorboard is not installed"
    )
    dataset = write_set(tmp_path / "set")
    first = TensorBoardLog(tmp_path / "events")
    first.on_start(run_of(tmp_path, dataset), [])
    first.on_epoch(epoch(1), None)
    first.on_epoch(epoch(2), None)
    second = TensorBoardLog(tmp_path / "events")
    second.on_start(run_of(tmp_path, dataset, first_epoch=2), [epoch(1)])
    second.on_epoch(validated(2), None)
    second.on_end(End("finished", "2 epochs", None, None, (epoch(1), validated(2))))
    found = reading.EventAccumulator(str(tmp_path / "events")).Reload()
    losses = [(event.step, event.value) for event in found.Scalars("loss/box")]
    assert losses == [(1, 1.125), (2, 2.125)]
    (score,) = found.Scalars("validation/mask_ap")
    assert (score.step, score.value) == (2, pytest.approx(0.3456))
    assert {"training/learning_rate", "training/images_per_second"} <= set(found.Tags()["scalars"])
    (settings,) = found.Tensors("settings/text_summary")[-1:]
    assert b"| optimizer | adamw |" in settings.tensor_proto.string_val[0]
