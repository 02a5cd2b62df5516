"""The state of a training: whole after a kill, refused where it is another's or broken."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edgeseg.errors import OutputError, UsageError
from edgeseg.train.callbacks import Epoch
from edgeseg.train.state import Position, Saved, load_state, save_state
from tests.train.records import epoch, validated

IDENTITY: dict[str, Any] = {
    "train.lr0": 0.01,
    "train.gains": {"box": 7.5, "cls": 0.5},
    "model": {"scale": "n", "classes": ["cat", "dog"], "image_size": [64, 96]},
    "weights": "",
}


def saved(**changes: Any) -> Saved:
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.rand(4, 3)).sum().backward()
    optimizer.step()
    tensors = {
        "network": layer.state_dict(),
        "optimizer": optimizer.state_dict(),
        "moves": 7,
        "scaler": torch.amp.GradScaler("cpu").state_dict(),
        "random": torch.get_rng_state(),
    }
    position = Position(epoch=3, step=5, losses=[1.0, 2.0, 3.0, 1 / 3], seconds=12.5, pictures=80)
    plain = Saved(IDENTITY, position, [epoch(1), validated(2, best=True, mask_ap=1 / 3)], tensors)
    return replace(plain, **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "run" / "state.pt"
    save_state(file, saved())
    return file


def test_a_state_reads_back_as_it_was_saved(path: Path) -> None:
    found, expected = load_state(path, IDENTITY), saved()

    assert (found.identity, found.position, found.epochs) == (expected.identity, expected.position, expected.epochs)
    assert all(isinstance(record, Epoch) for record in found.epochs)
    assert found.tensors.keys() == expected.tensors.keys()
    torch.testing.assert_close(found.tensors, expected.tensors, rtol=0, atol=0)


def test_a_state_at_the_start_reads_back(tmp_path: Path) -> None:
    save_state(tmp_path / "state.pt", Saved({}, Position(), [], {}))
    found = load_state(tmp_path / "state.pt", {})
    assert (found.position.epoch, found.position.step, found.position.losses) == (1, 0, [0.0] * 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train.lr0": 0.02}, "train.lr0 was 0.01, now 0.02"),
        ({"weights": "ab"}, "weights was '', now 'ab'"),
        ({"train.gains": {"box": 7.5, "cls": 1.0}}, "train.gains.cls was 0.5, now 1.0"),
        ({"model": {**IDENTITY["model"], "classes": ["dog", "cat"]}}, "model.classes was ['cat', 'dog'], now ['dog'"),
        ({"train.new": True}, "train.new was None, now True"),
        ({"train.lr0": 0.02, "weights": "ab"}, "train.lr0 was 0.01, now 0.02; weights was '', now 'ab'"),
    ],
    ids=["number", "weights", "nested", "order", "added", "two"],
)
def test_another_identity_is_refused_and_what_differs_is_named(
    path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load_state(path, {**IDENTITY, **change})

    assert caught.value.exit_code == 2
    assert f"the same curve: {message}" in caught.value.message
    assert "--output" in caught.value.hint
    unchanged = [key for key in ("train.gains.box", "model.scale") if key in caught.value.message]
    assert unchanged == []


def test_an_identity_of_fewer_keys_is_refused(path: Path) -> None:
    with pytest.raises(UsageError, match="weights was '', now None"):
        load_state(path, {key: value for key, value in IDENTITY.items() if key != "weights"})


def test_many_differences_are_cut_off(path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_state(path, {**IDENTITY, **{f"train.key{at}": at for at in range(50)}})
    assert caught.value.message.count(" now ") == 5


def test_a_missing_state_is_refused(tmp_path: Path) -> None:
    for absent in (tmp_path / "state.pt", tmp_path):
        with pytest.raises(UsageError, match="no training to resume") as caught:
            load_state(absent, IDENTITY)
        assert (caught.value.exit_code, caught.value.hint) == (2, "without --resume a new one starts")


class Code:
    """Leaves a file where a pickle that holds it is run."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, int]]:
        return os.mkdir, (str(self.trace), 0o777)


def in_archive(path: Path) -> None:
    torch.save({"schema": 1, "tensors": Code(path.parent / "trace")}, path)


def in_old_archive(path: Path) -> None:
    torch.save({"schema": 1, "x": Code(path.parent / "trace")}, path, _use_new_zipfile_serialization=False)


def as_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Code(path.parent / "trace")))


@pytest.mark.parametrize("write", [in_archive, in_old_archive, as_pickle])
def test_code_in_a_state_is_not_run(path: Path, write: Callable[[Path], None]) -> None:
    write(path)
    with (
        warnings.catch_warnings(record=True) as warned,
        pytest.raises(UsageError, match="not readable as a training's state") as caught,
    ):
        warnings.simplefilter("always")
        load_state(path, IDENTITY)

    assert not (path.parent / "trace").exists()
    assert caught.value.exit_code == 2
    assert warned == []
    # torch's own message recommends to run the code.
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.999])
def test_a_state_that_is_cut_off_is_refused(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UsageError, match="not readable as a training's state") as caught:
        load_state(path, IDENTITY)
    assert "start a new training" in caught.value.hint


@pytest.mark.parametrize(
    "content",
    [
        pytest.param([1, 2], id="list"),
        pytest.param(torch.zeros(3), id="tensor"),
        pytest.param({}, id="empty"),
        pytest.param({"schema": 1}, id="schema-only"),
        pytest.param({"schema": 1, "identity": "x", "position": {}, "epochs": [], "tensors": {}}, id="identity"),
        pytest.param({"schema": 1, "identity": {}, "position": {"x": 1}, "epochs": [], "tensors": {}}, id="position"),
        pytest.param({"schema": 1, "identity": {}, "position": {}, "epochs": [{}], "tensors": {}}, id="epoch"),
        pytest.param({"schema": 1, "identity": {}, "position": {}, "epochs": [], "tensors": 3}, id="tensors"),
    ],
)
def test_another_file_of_torch_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "state.pt")
    with pytest.raises(UsageError, match="not readable as a training's state"):
        load_state(tmp_path / "state.pt", {})


def test_a_state_of_another_version_is_refused(tmp_path: Path) -> None:
    torch.save({"schema": 2}, tmp_path / "state.pt")
    with pytest.raises(UsageError, match="of another version"):
        load_state(tmp_path / "state.pt", {})


KILLED = """
import os, sys
from pathlib import Path
import torch
from edgeseg.train.state import Position, Saved, save_state

class Kill:
    def __reduce__(self):
        os._exit(9)

save_state(Path(sys.argv[1]), Saved({}, Position(), [], {"network": torch.zeros(1_000_000), "then": Kill()}))
"""


def test_a_kill_while_it_is_saved_leaves_the_old_state(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=120)

    assert done.returncode == 9
    assert load_state(path, IDENTITY).position == saved().position


def test_an_error_while_it_is_saved_leaves_the_old_state_and_nothing_else(path: Path) -> None:
    with pytest.raises((pickle.PicklingError, AttributeError)):
        save_state(path, saved(tensors={"network": lambda: None}))

    assert load_state(path, IDENTITY).position == saved().position
    assert [file.name for file in path.parent.iterdir()] == ["state.pt"]


def test_a_full_disk_is_said_in_words_and_leaves_the_old_state(path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(OutputError, match=r"state\.pt: cannot be written: File too large"):
            save_state(path, saved(tensors={"network": torch.zeros(1_000_000)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)

    assert load_state(path, IDENTITY).position == saved().position
    assert [file.name for file in path.parent.iterdir()] == ["state.pt"]
