"""What a card means on this machine: paths, formats, options, gates."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest

from edgeseg.card.classes import COCO80
from edgeseg.card.load import load_card
from edgeseg.card.overrides import from_anywhere
from edgeseg.card.resolve import resolve
from edgeseg.errors import CardError, WeightsError
from tests.card.conftest import GOOD, Write


def test_data_paths_start_at_the_card_folder(good: Path) -> None:
    card = resolve(load_card(good))
    assert card.data.train is not None
    assert card.data.train.annotations == good.parent / "a.json"
    assert card.data.calibration == card.data.train


def test_data_paths_start_at_edgeseg_data_when_set(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESEG_DATA", "/sets")
    assert resolve(load_card(good)).data.root == Path("/sets")


def test_root_of_the_card_wins_over_edgeseg_data(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESEG_DATA", "/sets")
    assert resolve(load_card(good, ["data.root=here"])).data.root == good.parent / "here"


def test_missing_data_is_listed_and_no_error(good: Path) -> None:
    (good.parent / "a.json").write_text("{}")
    overrides = ["data.val={annotations: b.json, images: pictures}", "data.calibration.from=some/folder"]
    missing = resolve(load_card(good, overrides)).missing_data()
    folder = good.parent
    assert missing == [
        ("data.val", folder / "b.json"),
        ("data.val.images", folder / "pictures"),
        ("data.calibration.from", folder / "some/folder"),
    ]


def test_coco80_stands_for_the_names_of_coco(good: Path, shared: Path) -> None:
    import json

    categories = json.loads((shared / "data/coco-val128/instances.json").read_text())["categories"]
    assert resolve(load_card(good, ["model.classes=coco80"])).class_names == COCO80
    assert tuple(row["name"] for row in sorted(categories, key=lambda row: row["id"])) == COCO80


def test_weights_are_found_beside_the_card_and_their_hash_is_checked(good: Path) -> None:
    file = good.parent / "w.pt"
    file.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    overrides = ["weights.path=w.pt", f"weights.sha256={digest}"]
    card = resolve(load_card(good, overrides))
    assert (card.weights, card.weights_sha256) == (file, digest)
    file.write_bytes(b"changed")
    with pytest.raises(CardError) as caught:
        resolve(load_card(good, overrides))
    assert digest in caught.value.message
    assert hashlib.sha256(b"changed").hexdigest() in caught.value.message


def test_weights_argument_replaces_path_and_hash(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A command that ran before in this process may have turned propagation off.
    monkeypatch.setattr(logging.getLogger("edgeseg"), "propagate", True)
    other = tmp_path / "other.pt"
    other.write_bytes(b"x")
    text = GOOD.replace("train: {", f"weights: {{path: gone.pt, sha256: {'ab' * 32}}}\ntrain: {{")
    with caplog.at_level(logging.INFO, logger="edgeseg"):
        card = resolve(load_card(write(text)), weights=other)
    assert (card.weights, card.weights_sha256) == (other, "")
    assert "replace the card's gone.pt" in caplog.text


def test_weights_argument_must_be_a_file(good: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        resolve(load_card(good), weights=good.parent)


def test_weights_argument_is_enough_without_data_and_train(write: Write, tmp_path: Path) -> None:
    text = GOOD.replace("data: {train: a.json, val: b.json}\ntrain: {epochs: 2}\n", "")
    (tmp_path / "w.pt").write_bytes(b"x")
    assert resolve(load_card(write(text)), weights=tmp_path / "w.pt").data.train is None


def test_error_without_weights_and_data_names_three_ways(write: Write) -> None:
    text = GOOD.replace("data: {train: a.json, val: b.json}\ntrain: {epochs: 2}\n", "")
    with pytest.raises(CardError, match=r"no `data\.train` and no `train` section") as caught:
        resolve(load_card(write(text)))
    for way in ("--weights FILE", "--set data.train=", "synthetic"):
        assert way in caught.value.hint


def test_device_gives_format_and_default_precision(good: Path) -> None:
    (target,) = resolve(load_card(good, ["targets=[{device: jetson-orin-nano}]"])).targets
    assert (target.format, target.device, target.precision, target.id) == (
        "tensorrt",
        "jetson-orin-nano",
        "fp16",
        "tensorrt-fp16",
    )


def test_format_without_a_target_resolves_with_the_reason(good: Path) -> None:
    from edgeseg.registry import entries

    absent = next((name for name, entry in entries().items() if entry.target is None), None)
    if absent is None:
        pytest.skip("every known format has a target here")
    (target,) = resolve(load_card(good, [f"targets=[{{format: {absent}, options: {{any: [1, null]}}}}]"])).targets
    assert not target.registered
    assert absent in target.reason
    assert target.option_values() == {"any": [1, None]}


def test_registered_target_gets_its_own_options(good: Path) -> None:
    from edgeseg.registry import load

    (target,) = resolve(load_card(good)).targets
    assert target.registered
    assert isinstance(target.options, load("onnx").options_type)


def test_gates_of_the_card_lie_over_those_of_the_precision(good: Path) -> None:
    (target,) = resolve(load_card(good, ["targets.0.gates.mask_iou_min=0.5"])).targets
    assert target.gates.mask_iou_min == 0.5
    assert target.gates.mask_iou_median_min == 0.999
    assert target.gates.ap_retention_min == 0.999


def test_equal_targets_are_allowed_when_named(good: Path) -> None:
    card = resolve(load_card(good, ["targets=[{device: intel-npu, name: a}, {device: intel-igpu, name: b}]"]))
    assert [target.id for target in card.targets] == ["a", "b"]


def test_all_mistakes_of_all_targets_are_reported(good: Path) -> None:
    with pytest.raises(CardError) as caught:
        resolve(load_card(good, ["targets=[{device: a}, {format: b}, {format: onnx, precision: c}]"]))
    assert all(text in str(caught.value) for text in ("'a'", "'b'", "'c'"))


def test_path_of_an_override_that_exists_here_means_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/val.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "elsewhere")
    card = Path(__file__).resolve().parents[2] / "cards/n-seg-everywhere.yaml"
    loaded = load_card(card, ["data.val=val.json", "data.train=absent.json"])
    assert loaded.card.data.val == str(tmp_path / "elsewhere/val.json")
    assert loaded.card.data.train == "absent.json"


def test_override_from_anywhere_has_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "val.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert from_anywhere("data.val=val.json") == f"data.val={tmp_path / 'val.json'}"
    assert from_anywhere("data.val=absent.json") == "data.val=absent.json"
    assert from_anywhere("name=val.json") == "name=val.json"
