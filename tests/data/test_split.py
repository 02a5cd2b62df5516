"""Splitting: shares kept, classes spread, equal pictures together, nothing of an annotation changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg import rle
from edgeseg.data.check import check_dataset
from edgeseg.data.check_scan import scan
from edgeseg.data.open import open_dataset
from edgeseg.data.split import SplitOptions, SplitResult, split_dataset
from edgeseg.data.split_assign import assign
from edgeseg.errors import OutputError, SourceError, UsageError
from tests.data.handmade import annotation, coco_content, write_coco, write_yolo

CAT = "0 .2 .2 .6 .2 .6 .6\n"
DOG = "1 .3 .3 .7 .3 .7 .7\n"
PARTS = ("train", "val", "test")


def names_in(made: SplitResult) -> dict[str, set[str]]:
    """Part to the names of the pictures that its own file opens."""
    return {
        part: {sample.path.name for sample in open_dataset(path, split=part)} for part, path in made.sources.items()
    }


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Twenty pictures of a cat, four of which have a dog, too; rows with fields of their own."""
    rows = [annotation(n, n, score=n / 7) for n in range(1, 21)]
    mask = rle.encode(np.ones((10, 10), bool), (10, 10), (40, 40))
    dogs = [annotation(100 + n, n, 5, segmentation=mask) for n in range(1, 5)]
    return write_coco(tmp_path / "coco", coco_content(20, rows + dogs, licenses=[{"id": 3, "name": "CC0"}]))


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    labels = {f"train/{n:02}.png": CAT + DOG * (n < 4) for n in range(20)}
    return write_yolo(tmp_path / "yolo", labels)


def test_coco_parts_have_their_shares_and_every_class(coco: Path, tmp_path: Path) -> None:
    made = split_dataset(coco, tmp_path / "out", SplitOptions(val=0.25, test=0.25))
    assert dict(made.pictures) == {"train": 10, "val": 5, "test": 5}
    assert made.objects == {"train": (10, 2), "val": (5, 1), "test": (5, 1)}
    names = names_in(made)
    assert set.union(*names.values()) == {f"{n}.png" for n in range(1, 21)}
    assert sum(len(part) for part in names.values()) == 20


def test_coco_rows_are_passed_on_unchanged(coco: Path, tmp_path: Path) -> None:
    made = split_dataset(coco, tmp_path / "out", SplitOptions())
    before = json.loads(coco.read_text())
    after = [json.loads(path.read_text()) for path in made.sources.values()]
    rows = sorted((row for content in after for row in content["annotations"]), key=lambda row: row["id"])
    assert rows == sorted(before["annotations"], key=lambda row: row["id"])
    for content in after:
        assert content["categories"] == before["categories"]
        assert content["licenses"] == before["licenses"]
        assert {row["image_id"] for row in content["annotations"]} == {row["id"] for row in content["images"]}


@pytest.mark.parametrize("copy", [False, True], ids=["linked", "copied"])
@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_split_set_opens_passes_the_check_and_is_whole(
    kind: str, copy: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source: Path = request.getfixturevalue(kind)
    made = split_dataset(source, tmp_path / "deep" / "out", SplitOptions(test=0.2, copy=copy))
    pictures = 0
    for part, path in made.sources.items():
        dataset = open_dataset(path, split=part)
        assert len(dataset) == made.pictures[part]
        inside = [sample.path.is_relative_to(tmp_path / "deep" / "out" / "images" / part) for sample in dataset]
        assert all(inside) if copy else not any(inside)
        masks = [annotation_.class_id for sample in dataset for annotation_ in sample.annotations]
        assert tuple(np.bincount(masks, minlength=2)) == made.objects[part]
        result = check_dataset(scan(path), split=part if kind == "yolo" else None)
        assert result.problems == ()
        pictures += len(dataset)
    assert pictures == 20
    assert not list((tmp_path / "deep" / "out").glob("**/*.png")) or copy


def test_yolo_labels_are_the_same_after_the_split(yolo: Path, tmp_path: Path) -> None:
    before = {sample.path.name: sample for sample in open_dataset(yolo, split="train")}
    for copy in (False, True):
        made = split_dataset(yolo, tmp_path / str(copy), SplitOptions(copy=copy))
        for part, path in made.sources.items():
            for sample in open_dataset(path, split=part):
                same = before[sample.path.name]
                assert [a.rings[0].tolist() for a in sample.annotations] == [
                    a.rings[0].tolist() for a in same.annotations
                ]


def test_same_seed_splits_the_same_way_and_another_otherwise(coco: Path, tmp_path: Path) -> None:
    first, again, other = (
        names_in(split_dataset(coco, tmp_path / name, SplitOptions(seed=seed)))
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again
    assert first != other


def test_pictures_of_the_same_bytes_stay_together(coco: Path, tmp_path: Path) -> None:
    for number in range(2, 8):
        shutil.copy(coco.parent / "images" / "1.png", coco.parent / "images" / f"{number}.png")
    equal = {f"{number}.png" for number in range(1, 8)}
    for seed in range(5):
        made = split_dataset(coco, tmp_path / str(seed), SplitOptions(val=0.4, seed=seed))
        assert made.together == 6
        assert sorted(len(part & equal) for part in names_in(made).values()) == [0, 7]


def test_groups_stay_together(tmp_path: Path) -> None:
    labels = {f"train/clip{n % 6}_{n}.png": CAT + DOG for n in range(24)}
    source = write_yolo(tmp_path / "set", labels)
    made = split_dataset(source, tmp_path / "out", SplitOptions(val=0.34, group=r"clip(\d)_"))
    clips = {part: {name[4] for name in names} for part, names in names_in(made).items()}
    assert {part: len(found) for part, found in clips.items()} == {"train": 4, "val": 2}
    assert not clips["train"] & clips["val"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"val": 0}, "shares above 0", id="nothing to validate"),
        pytest.param({"val": 0.6, "test": 0.4}, "of sum below 1", id="nothing to train"),
        pytest.param({"group": "("}, "no regular expression", id="expression"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, float | str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SplitOptions(**options)  # type: ignore[arg-type]


def test_group_that_matches_not_every_picture_is_refused(coco: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"matches nothing in .*\.png"):
        split_dataset(coco, tmp_path / "out", SplitOptions(group=r"clip\d"))
    assert not (tmp_path / "out").exists()


def test_too_few_groups_are_refused(coco: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="20 pictures in 1 groups, expected at least one for each of train, val"):
        split_dataset(coco, tmp_path / "out", SplitOptions(group="png"))


def test_folder_of_something_else_is_left_alone(coco: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not empty"):
        split_dataset(coco, coco.parent, SplitOptions())
    assert coco.is_file()


def test_copies_of_one_name_are_refused(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "set", {f"train/{folder}/x.png": CAT + DOG for folder in "abc"})
    with pytest.raises(UsageError, match="3 pictures have the name 'x'"):
        split_dataset(source, tmp_path / "out", SplitOptions(val=0.4, copy=True))
    assert split_dataset(source, tmp_path / "out", SplitOptions(val=0.4)).pictures["val"] == 1


def test_missing_picture_is_refused(coco: Path, tmp_path: Path) -> None:
    (coco.parent / "images" / "5.png").unlink()
    with pytest.raises(SourceError, match=r"5\.png: cannot be read"):
        split_dataset(coco, tmp_path / "out", SplitOptions())


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    groups=st.integers(6, 60),
    classes=st.integers(0, 8),
    shares=st.sampled_from([(0.8, 0.2), (0.5, 0.5), (0.7, 0.2, 0.1), (0.6, 0.2, 0.2)]),
)
def test_parts_of_single_pictures_keep_their_share_to_a_picture(
    seed: int, groups: int, classes: int, shares: tuple[float, ...]
) -> None:
    rng = np.random.default_rng(seed)
    present = (rng.random((groups, classes)) < rng.uniform(0.05, 0.7)).astype(np.int64)
    parts = assign(present, np.ones(groups, np.int64), np.array(shares), np.random.default_rng(seed))
    sizes = np.bincount(parts, minlength=len(shares))
    assert sizes.sum() == groups
    assert np.abs(sizes - groups * np.array(shares)).max() < len(shares)


def test_classes_are_spread_better_than_by_chance_on_coco(shared: Path) -> None:
    dataset = open_dataset(shared / "data" / "coco-val128" / "instances.json")
    present = np.zeros((len(dataset), len(dataset.names)), np.int64)
    for row, sample in zip(present, dataset, strict=True):
        row[[found.class_id for found in sample.annotations]] = 1
    shares = np.array([0.8, 0.2])

    def spread(parts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, float]:
        """Classes that both parts have, and the mean distance from the share of those of ten pictures or more."""
        inside = present[parts == 1].sum(axis=0)
        total = present.sum(axis=0)
        frequent = total >= 10
        return int(((inside > 0) & (inside < total)).sum()), float(
            np.abs(inside / total.clip(1) - 0.2)[frequent].mean()
        )

    both, distance = spread(assign(present, np.ones(128, np.int64), shares, np.random.default_rng(0)))
    chance = [spread(np.random.default_rng(seed).permutation(np.arange(128) >= 102).astype(int)) for seed in range(20)]
    assert both > max(number for number, _ in chance)
    assert distance < min(far for _, far in chance)


def test_rare_class_is_in_both_parts() -> None:
    for seed in range(20):
        present = np.zeros((100, 2), np.int64)
        present[:, 0] = 1
        present[:2, 1] = 1
        parts = assign(present, np.ones(100, np.int64), np.array([0.8, 0.2]), np.random.default_rng(seed))
        assert set(parts[:2]) == {0, 1}
        assert np.bincount(parts).tolist() == [80, 20]
