"""`edgeseg data synth`, `split` and `check`, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import Outcome, run


def data(*arguments: object) -> Outcome:
    return run("data", *arguments)


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """The folder of a small synthetic set."""
    folder = tmp_path / "shapes"
    result = data("synth", folder, "--images", "20", "--val", "5", "--size", "96", "--classes", "star, ring")
    assert result.code == 0, result.err
    return folder


def test_synth_says_what_it_wrote(drawn: Path, tmp_path: Path) -> None:
    result = data("synth", tmp_path / "more", "--images", "2", "--val", "0", "--size", "64", "--json")
    (row,) = json.loads(result.out)["parts"]
    assert row["part"] == "train"
    assert row["pictures"] == 2
    assert Path(row["source"]).is_file()
    assert sum(row["objects"].values()) == len(json.loads(Path(row["source"]).read_text())["annotations"])


def test_synth_refuses_a_folder_in_use_and_a_misspelt_shape(drawn: Path, tmp_path: Path) -> None:
    assert data("synth", drawn).code == 2
    result = data("synth", tmp_path / "new", "--classes", "circle,sqare")
    assert result.code == 2
    assert "did you mean 'square'" in result.err
    assert not (tmp_path / "new").exists()


def test_split_prints_counts_that_add_up(drawn: Path, tmp_path: Path) -> None:
    source = drawn / "annotations" / "train.json"
    result = data("split", source, tmp_path / "out", "--val", "0.25", "--json")
    parts = json.loads(result.out)["parts"]
    assert [(row["part"], row["pictures"]) for row in parts] == [("train", 15), ("val", 5)]
    assert sum(entry["objects"] for row in parts for entry in row["objects"]) == len(
        json.loads(source.read_text())["annotations"]
    )
    table = data("split", source, tmp_path / "again", "--val", "0.25").out
    assert [line.split() for line in table.splitlines() if line.startswith("pictures")] == [["pictures", "15", "5"]]


def test_check_of_a_clean_set_exits_0_and_writes_the_page(drawn: Path, tmp_path: Path) -> None:
    result = data("check", drawn / "annotations" / "val.json", "--html", tmp_path / "page.html", "--samples", "2")
    assert result.code == 0
    assert "0 errors, 0 warnings" in result.out
    assert (tmp_path / "page.html").read_text().count("<figure>") == 2


def test_check_exits_5_on_errors_and_with_strict_on_warnings(drawn: Path) -> None:
    source = drawn / "annotations" / "val.json"
    content = json.loads(source.read_text())
    content["annotations"][0]["bbox"][0] += 20
    source.write_text(json.dumps(content))
    assert data("check", source).code == 0
    assert data("check", source, "--strict").code == 5
    content["annotations"][0]["category_id"] = 99
    source.write_text(json.dumps(content))
    result = data("check", source)
    assert result.code == 5
    assert "category_id 99" in result.out


def test_check_json_is_whole_even_where_it_fails(drawn: Path) -> None:
    (drawn / "images" / "val" / "000000.jpg").unlink()
    result = data("check", drawn / "annotations" / "val.json", "--json", "--no-decode")
    assert result.code == 5
    content = json.loads(result.out)
    assert [problem["kind"] for problem in content["problems"]] == ["picture_missing"]
    assert content["decoded"] is False


def test_check_against_finds_pictures_of_another_set(drawn: Path, tmp_path: Path) -> None:
    source = drawn / "annotations" / "train.json"
    assert data("check", source, "--against", drawn / "annotations" / "val.json").code == 0
    assert data("split", source, tmp_path / "out").code == 0
    result = data("check", tmp_path / "out" / "annotations" / "val.json", "--against", source)
    assert result.code == 5
    assert "Pictures in more than one part" in result.out
