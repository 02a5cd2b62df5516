"""Pictures of folders and data sets, and seeded draws from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeseg.data.pictures import drawn, pictures_of
from edgeseg.errors import SourceError


def test_folder_gives_its_pictures_sorted(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt", "c.webp"):
        (tmp_path / name).touch()

    assert [path.name for path in pictures_of(tmp_path)] == ["a.png", "b.JPG", "c.webp"]


def test_folder_without_pictures_says_what_counts(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()

    with pytest.raises(SourceError) as caught:
        pictures_of(tmp_path)

    assert ".jpg" in caught.value.hint


def test_data_set_gives_its_pictures_in_its_order(tmp_path: Path) -> None:
    rows = [{"id": i, "file_name": name, "height": 4, "width": 4} for i, name in enumerate(("z.jpg", "a.jpg"))]
    (tmp_path / "set.json").write_text(json.dumps({"images": rows, "annotations": [], "categories": []}))
    for row in rows:
        (tmp_path / str(row["file_name"])).touch()

    assert [path.name for path in pictures_of(tmp_path / "set.json")] == ["z.jpg", "a.jpg"]


def test_drawn_takes_all_of_a_small_set() -> None:
    pictures = [Path(f"{i}.jpg") for i in range(3)]

    assert drawn(pictures, 3, seed=0) == drawn(pictures, 10, seed=1) == pictures


def test_drawn_takes_the_same_pictures_for_the_same_seed_in_order() -> None:
    pictures = [Path(f"{i:03}.jpg") for i in range(200)]

    once = drawn(pictures, 20, seed=0)

    assert once == drawn(pictures, 20, seed=0) == sorted(set(once))
    assert len(once) == 20
    assert once != drawn(pictures, 20, seed=1)
