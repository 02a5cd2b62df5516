"""The shipped cards load, resolve, read back, and match their JSON Schema file."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest

from edgeseg.card.dump import to_yaml
from edgeseg.card.load import load_card
from edgeseg.card.resolve import resolve
from edgeseg.card.schema import json_schema
from edgeseg.devices import catalogue

FOLDER = Path(str(files("edgeseg_cards")))
CARDS = sorted(FOLDER.glob("*.yaml"))
EXPECTED = (
    "n-seg-browser n-seg-coral n-seg-everywhere n-seg-intel n-seg-iphone n-seg-jetson n-seg-paddle "
    "n-seg-raspberry-pi quickstart s-seg-jetson"
)
SHIPPED = pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)


def test_every_promised_card_is_shipped() -> None:
    assert " ".join(path.stem for path in CARDS) == EXPECTED


@SHIPPED
def test_card_resolves_under_its_own_name(path: Path) -> None:
    card = resolve(load_card(path))
    assert card.card.name == path.stem
    assert path.read_text().startswith("# yaml-language-server: $schema=card.schema.json\n")
    assert card.weights is None
    assert card.card.train is not None


@SHIPPED
def test_card_reads_back_from_its_yaml(path: Path, tmp_path: Path) -> None:
    loaded = load_card(path)
    for defaults in (False, True):
        copy = tmp_path / "copy.yaml"
        copy.write_text(to_yaml(loaded.card.content(defaults=defaults)))
        assert load_card(copy).card == loaded.card


@SHIPPED
def test_resolved_card_means_the_same_from_another_folder(path: Path, tmp_path: Path) -> None:
    card = resolve(load_card(path))
    copy = tmp_path / "copy.yaml"
    copy.write_text(to_yaml(card.content()))
    again = resolve(load_card(copy))
    assert again.targets == card.targets
    assert again.data == card.data
    assert again.content() == card.content()


def test_everywhere_names_every_format() -> None:
    card = resolve(load_card(FOLDER / "n-seg-everywhere.yaml"))
    assert sorted(target.format for target in card.targets) == sorted(catalogue().formats)


def test_schema_file_is_fresh() -> None:
    written = json.loads((FOLDER / "card.schema.json").read_text())
    assert written == json_schema(), "run `make schema`"


def test_every_key_of_the_schema_has_a_description() -> None:
    schema = json_schema()
    objects = [schema, *schema["$defs"].values()]
    bare = [
        f"{part.get('title')}.{name}"
        for part in objects
        for name, field in part["properties"].items()
        if not field.get("description")
    ]
    assert not bare


def test_quickstart_needs_only_targets_of_the_core_install() -> None:
    card = resolve(load_card(FOLDER / "quickstart.yaml"))
    assert all(target.registered for target in card.targets)
