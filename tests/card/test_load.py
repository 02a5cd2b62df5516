"""Files that are no card, YAML as version 1.2 reads it, overrides, hashes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgeseg.card.dump import to_yaml
from edgeseg.card.load import load_card
from edgeseg.errors import CardError, CardErrors, OverrideError
from tests.card.conftest import GOOD, Write


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="no such file"):
        load_card(tmp_path / "none.yaml")


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="this is a folder"):
        load_card(tmp_path)


def test_device_file_is_refused() -> None:
    with pytest.raises(CardError, match="no regular file"):
        load_card(Path(os.devnull))


def test_sparse_file_of_100_mb_is_refused_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(CardError, match="100,000,000 bytes") as caught:
        load_card(path)
    assert "weights" in caught.value.hint


def test_other_encoding_is_refused_at_its_byte(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("schema: 1\nname: caf\xe9\n".encode("latin-1"))
    with pytest.raises(CardError, match="byte 0xe9") as caught:
        load_card(path)
    assert (caught.value.line, caught.value.column) == (2, 10)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"], ids=["nothing", "blank", "comment"])
def test_empty_file_is_refused(write: Write, text: str) -> None:
    with pytest.raises(CardError, match="empty"):
        load_card(write(text))


@pytest.mark.parametrize("text", ["- 1\n", "word\n", "null\n", "---\n"], ids=["list", "word", "null", "mark"])
def test_other_top_level_value_is_refused(write: Write, text: str) -> None:
    with pytest.raises(CardError, match="a card is a mapping"):
        load_card(write(text))


def test_alias_bomb_is_refused_at_once(write: Write) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    with pytest.raises(CardErrors, match="an alias"):
        load_card(write("\n".join(lines)))


def test_windows_line_ends_and_byte_order_mark_are_read(write: Write) -> None:
    assert load_card(write("\ufeff" + GOOD.replace("\n", "\r\n"))).sha256 == load_card(write(GOOD)).sha256


def test_numbers_are_read_as_yaml_1_2(write: Write) -> None:
    card = load_card(write(GOOD.replace("epochs: 2", "epochs: 010, lr0: 1e-3, cache: off, seed: 0x1F"))).card
    assert card.train is not None
    assert (card.train.epochs, card.train.lr0, card.train.cache, card.train.seed) == (10, 1e-3, "off", 31)


@pytest.mark.parametrize(
    ("key", "default", "others"),
    [
        ("batch", 16, [1, 4096, "auto"]),
        ("sync_batch_norm", True, [False]),
        ("warmup_steps", 100, [0, 1_000_000]),
        ("val_interval", 1, [10_000]),
        ("cache", "auto", ["ram", "disk", "off"]),
        ("strict", False, [True]),
    ],
)
def test_training_settings_are_read_and_have_their_defaults(
    good: Path, key: str, default: object, others: list[object]
) -> None:
    assert getattr(load_card(good).card.train, key) == default
    for value in others:
        train = load_card(good, [f"train.{key}={json.dumps(value)}"]).card.train
        assert getattr(train, key) == value
        assert type(getattr(train, key)) is type(value)


def test_hash_ignores_comments_order_and_written_defaults(write: Write) -> None:
    plain = load_card(write(GOOD))
    shuffled = load_card(
        write("# a comment\n" + "\n".join(reversed(GOOD.splitlines()[:6])) + GOOD[GOOD.index("\ntar") :])
    )
    assert shuffled.sha256 == plain.sha256
    assert load_card(write(to_yaml(plain.card.content()))).sha256 == plain.sha256
    assert load_card(write(GOOD.replace("epochs: 2", "epochs: 3"))).sha256 != plain.sha256


@pytest.mark.parametrize(
    ("override", "old", "new"),
    [
        ("train.epochs=20", "epochs: 2", "epochs: 20"),
        ("targets.0.precision=fp16", "fp32", "fp16"),
        ("train.gains.box=1", "epochs: 2", "epochs: 2, gains: {box: 1}"),
        ("data.root=/x=y", "{train: a", "{root: /x=y, train: a"),
        ("targets=[{device: mac}]", "{format: onnx, precision: fp32}", "{device: mac}"),
        ("weights.path=w.pt", "train: {", "weights: {path: w.pt}\ntrain: {"),
    ],
    ids=["number", "list_item", "new_section_key", "value_with_equals", "whole_list", "new_section"],
)
def test_override_equals_the_edited_card(write: Write, override: str, old: str, new: str) -> None:
    overridden = load_card(write(GOOD), [override]).sha256
    assert overridden == load_card(write(GOOD.replace(old, new))).sha256


def test_later_override_wins(good: Path) -> None:
    train = load_card(good, ["train.epochs=3", "train.epochs=4"]).card.train
    assert train is not None
    assert train.epochs == 4


def test_override_mends_a_mistake_in_the_file(write: Write) -> None:
    assert load_card(write(GOOD.replace("tiny", "TINY")), ["name=tiny"]).card.name == "tiny"


@pytest.mark.parametrize(
    ("override", "message", "hint"),
    [
        ("train.epoch=20", "--set train.epoch: unknown key 'epoch'", "did you mean 'epochs'?"),
        ("trian.epochs=20", "--set trian.epochs: unknown key 'trian'", "did you mean 'train'?"),
        ("train.epochs=many", "--set train.epochs: epochs: expected a whole number", "passes over"),
        ("train={epoch: 3}", "--set train: unknown key 'epoch'", "did you mean 'epochs'?"),
        ("weights.sha256=ab", "--set weights.sha256: missing key 'path'", "a .safetensors or .pt"),
        ("targets.3.precision=fp16", "'targets' is a list of 1, '3' is no place in it", "count from 0 to 0"),
        ("targets.x=1", "'x' is no place in it", "count from 0"),
        ("name.x=1", "--set name.x: 'name' is 'tiny', which has no keys", "--set name="),
        ("train.epochs", "--set train.epochs: expected KEY=VALUE", "--set train.epochs=20"),
        ("=3", "expected KEY=VALUE", "--set train.epochs=20"),
        ("a..b=3", "expected KEY=VALUE", "--set train.epochs=20"),
        ("train.epochs=", "no value after '='", "--set train.epochs=20"),
        ("train.epochs=[3", "'[3' is no value: broken YAML", "brackets"),
        ("train.epochs=null", "--set train.epochs: 'epochs' has no value", "write a value"),
        ("model.classes=[no]", "--set model.classes: the class name no", "'no'"),
        ("train.seed=" + "9" * 50, "too many digits", "smaller"),
        ("targets." + "9" * 5000 + "=1", "is no place in it", "count from 0"),
    ],
)  # fmt: skip
def test_wrong_override_is_named_by_its_key(good: Path, override: str, message: str, hint: str) -> None:
    with pytest.raises(CardError) as caught:
        load_card(good, [override])
    errors = caught.value.errors if isinstance(caught.value, CardErrors) else (caught.value,)
    matching = [error for error in errors if message in str(error)]
    assert matching, str(caught.value)
    assert isinstance(matching[0], OverrideError)
    assert hint in matching[0].hint
    assert "card.yaml" not in str(matching[0])


def test_later_check_finds_the_place(good: Path) -> None:
    loaded = load_card(good, ["train.seed=3"])
    assert str(loaded.error(("targets", 0, "precision"), "no", "do")).startswith(f"{good}:8:31: no\n")
    assert loaded.error(("targets", 0, "precision"), "no", at_key=True).column == 20
    assert loaded.error(("train", "lr0"), "no").line == 6
    assert str(loaded.error(("train", "seed"), "no")) == "--set train.seed: no"


yaml_like = st.lists(
    st.sampled_from(
        [*GOOD.splitlines(keepends=True), "- ", "a: ", "{", "}", "[", "]", "&a ", "*a ", "!!x ", "? ", ": ", "'", '"', "\\U", "|\n", ">", "%", "---\n", "...\n", "\n", "  ", "\t", "#", "<<: ", "~", "1e999", "@", "\x85", "\u2028", "\ufeff", "\\x0", "0x"]  # noqa: E501
    )
).map("".join)  # fmt: skip


@given(
    st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass")), yaml_like.map(str.encode))
)
@example(b'name: "\\UFFFFFFFF"')
@example(b"a: " + b"[" * 5000)
@example(b"? - a\n: b\n")
@example(b"%YAML 9.9\n---\n")
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_raise_anything_but_a_card_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(data)
    try:
        load_card(path)
    except CardError as error:
        assert str(error)


@given(
    st.one_of(
        st.text(),
        st.tuples(st.sampled_from(["train", "train.epochs", "targets.0", "model.classes", "name"]), yaml_like).map(
            "=".join
        ),
    )
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_override_raises_anything_but_a_card_error(good: Path, override: str) -> None:
    try:
        load_card(good, [override])
    except CardError as error:
        assert str(error)


scalars = st.one_of(
    st.text(), st.integers(-(10**15), 10**15), st.floats(allow_nan=False, allow_infinity=False), st.booleans()
)


@given(st.dictionaries(st.text(), scalars, max_size=5))
@example({"a": "1e3", "b": "0o17", "c": "no", "d": "", "1": "~", "e": 1e-5, "f": "9" * 30})
@settings(max_examples=200, deadline=None)
def test_dumped_values_read_back_equal(values: dict[str, object]) -> None:
    from edgeseg.card.document import read

    printable = {key: value for key, value in values.items() if "\t" not in f"{key}{value}" and key not in ("<<",)}
    document = read(Path("x"), to_yaml({"options": printable}))
    assert not document.mistakes
    assert document.value == {"options": printable}
