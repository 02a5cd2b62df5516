"""What `data check` finds: one hand-made mistake of each kind, and silence on a clean set."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.data.check import check_dataset
from edgeseg.data.check_labels import crossings
from edgeseg.data.check_problems import KINDS
from edgeseg.data.check_result import CheckResult
from edgeseg.data.check_scan import scan
from edgeseg.data.open import open_dataset
from edgeseg.data.synthetic import synthesize
from edgeseg.data.synthetic_options import SyntheticOptions
from edgeseg.errors import SourceError, UsageError
from edgeseg.report.data_page import render
from tests.data.handmade import annotation, coco_content, write_coco, write_picture, write_yolo

CAT = "0 .2 .2 .6 .2 .6 .6 .2 .6\n"
DOG = "1 .3 .3 .7 .3 .7 .7\n"


def check(source: Path, **options: Any) -> CheckResult:
    return check_dataset(scan(source), **options)


def found(result: CheckResult) -> list[tuple[str, str]]:
    return [(problem.kind, problem.where) for problem in result.problems]


@dataclass
class Line:
    text: str
    kind: str
    message: str


LINES = {
    "word": Line("cat .1 .1 .2 .1 .2 .2", "malformed", "expected a class and numbers"),
    "odd": Line("0 .1 .1 .2 .1 .2 .2 .9", "malformed", "7 coordinates, expected pairs"),
    "infinite": Line("0 .1 .1 .2 .1 .2 inf", "malformed", "finite"),
    "half class": Line("0.5 .1 .1 .4 .1 .4 .4", "malformed", "whole class number"),
    "class": Line("2 .1 .1 .4 .1 .4 .4", "unknown_class", "class 2, expected 0..1"),
    "negative class": Line("-1 .1 .1 .4 .1 .4 .4", "unknown_class", "class -1"),
    "box": Line("0 .5 .5 .2 .2", "no_mask", "a box"),
    "two points": Line("0 .1 .1 .2 .1 .1", "malformed", "pairs"),
    "same points": Line("0 .1 .1 .1 .1 .5 .5 .1 .1", "degenerate", "2 different points"),
    "on a line": Line("0 .1 .1 .2 .2 .3 .3", "degenerate", "on one line"),
    "pixels": Line("0 10 10 20 10 20 20", "outside", "a coordinate of 20, expected 0..1"),
    "beyond": Line("0 -.2 .1 .5 .1 .5 .5", "outside", "-0.2"),
    "bow tie": Line("0 .1 .1 .9 .9 .9 .1 .1 .9", "crossing", "that cross: 1"),
    "tiny": Line("0 .1 .1 .15 .1 .15 .15 .1 .15", "tiny", "an object of 4 square px"),
    "twice": Line(CAT.strip(), "duplicate_label", "the same object as labels/train/a.txt:1"),
}


@pytest.mark.parametrize("case", LINES.values(), ids=LINES.keys())
def test_yolo_line_is_named_with_its_number(tmp_path: Path, case: Line) -> None:
    source = write_yolo(tmp_path, {"train/a.png": CAT + DOG + "\n" + case.text + "\n"})
    (problem,) = check(source).problems
    assert (problem.kind, problem.where) == (case.kind, "labels/train/a.txt:4")
    assert case.message in problem.message
    assert problem.picture == str(tmp_path / "images" / "train" / "a.png")


@pytest.mark.parametrize("name", [name for name, case in LINES.items() if KINDS[case.kind].severity == "warning"])
def test_yolo_line_with_a_warning_can_be_read(tmp_path: Path, name: str) -> None:
    """A warning is what the reader takes, so a set with warnings only opens."""
    source = write_yolo(tmp_path, {"train/a.png": LINES[name].text})
    assert len(open_dataset(source, split="train")[0].annotations) == 1


@pytest.mark.parametrize(
    "name", [name for name, case in LINES.items() if case.kind in ("malformed", "unknown_class", "no_mask", "outside")]
)
def test_yolo_line_that_the_reader_refuses_is_an_error(tmp_path: Path, name: str) -> None:
    source = write_yolo(tmp_path, {"train/a.png": LINES[name].text})
    with pytest.raises(SourceError):
        open_dataset(source, split="train")
    assert check(source).errors == 1


@dataclass
class Row:
    row: Any
    kind: str
    where: str
    message: str


ROWS = {
    "text": Row("nonsense", "malformed", "annotations[2]", "expected an object"),
    "no image": Row(annotation(3, 9), "unknown_picture", "annotation 3", "no image 9"),
    "category": Row(annotation(3, 1, 2), "unknown_class", "annotation 3", "category_id 2"),
    "empty": Row(annotation(3, 1, segmentation=[]), "no_mask", "annotation 3", "no segmentation"),
    "odd": Row(annotation(3, 1, segmentation=[[1, 2, 3]]), "malformed", "annotation 3", "polygon of 3 numbers"),
    "bad rle": Row(
        annotation(3, 1, segmentation={"size": [40, 40], "counts": [9]}), "malformed", "annotation 3", "run lengths"
    ),
    "rle size": Row(
        annotation(3, 1, segmentation={"size": [2, 2], "counts": [1, 3]}), "malformed", "annotation 3", "for 2x2"
    ),
    "empty rle": Row(
        annotation(3, 1, segmentation={"size": [40, 40], "counts": [1600]}),
        "degenerate",
        "annotation 3",
        "without a pixel",
    ),
    "outside": Row(
        annotation(3, 1, segmentation=[[50, 50, 60, 50, 60, 60]]), "outside", "annotation 3", "x 50..60, y 50..60"
    ),
    "beyond": Row(
        annotation(3, 1, segmentation=[[30, 30, 45, 30, 45, 40]], bbox=[30, 30, 15, 10]),
        "beyond_edge",
        "annotation 3",
        "5.0 px",
    ),
    "box": Row(annotation(3, 1, 5, bbox=[10, 10, 10, 13]), "box_mismatch", "annotation 3", "10, 10, 20, 23 (xyxy)"),
    "bad box": Row(annotation(3, 1, bbox=[1, 2, 3]), "malformed", "annotation 3", "bbox of 3 numbers"),
    "same id": Row(annotation(1, 1, 5), "annotation_id", "annotation 1", "the same id"),
    "part": Row(
        annotation(3, 1, 5, segmentation=[[10, 10, 20, 10, 20, 20, 10, 20], [1, 1, 2, 2]]),
        "degenerate_part",
        "annotation 3",
        "2 different points",
    ),
}


@pytest.mark.parametrize("case", ROWS.values(), ids=ROWS.keys())
def test_coco_row_is_named_with_its_id(tmp_path: Path, case: Row) -> None:
    content = coco_content(2, [annotation(1, 1), annotation(2, 2, 5), case.row])
    (problem,) = check(write_coco(tmp_path, content)).problems
    assert (problem.kind, problem.where) == (case.kind, case.where)
    assert case.message in problem.message


@pytest.mark.parametrize(
    ("changes", "kind", "where"),
    [
        pytest.param({"height": 41}, "picture_size", "image 1", id="size"),
        pytest.param({"height": "40"}, "malformed", "image 1", id="no number"),
        pytest.param({"file_name": "2.png"}, "duplicate_picture", "images[1]", id="same file"),
        pytest.param({"id": 2}, "duplicate_id", "images[1]", id="same id"),
    ],
)
def test_coco_picture_row_is_named(tmp_path: Path, changes: dict[str, Any], kind: str, where: str) -> None:
    content = coco_content(2, [annotation(2, 2), annotation(3, 2, 5)])
    content["images"][0].update(changes)
    assert (kind, where) in found(check(write_coco(tmp_path, content)))


def test_coco_picture_without_a_size_is_measured(tmp_path: Path) -> None:
    content = coco_content(1, [annotation(1, 1), annotation(2, 1, 5)])
    del content["images"][0]["height"], content["images"][0]["width"]
    assert found(check(write_coco(tmp_path, content))) == []


def test_missing_and_broken_pictures_are_named(tmp_path: Path) -> None:
    source = write_coco(tmp_path, coco_content(4, [annotation(n, n, 1 + 4 * (n % 2)) for n in range(1, 5)]))
    images = tmp_path / "images"
    (images / "1.png").unlink()
    whole = (images / "2.png").read_bytes()
    (images / "2.png").write_bytes(whole[: len(whole) // 2])
    middle = len(whole) // 2
    (images / "3.png").write_bytes(whole[:middle] + bytes(40) + whole[middle + 40 :])
    assert found(check(source)) == [
        ("picture_missing", "image 1"),
        ("picture_broken", "image 2"),
        ("picture_broken", "image 3"),
    ]
    # Damage inside the pixels is what only decoding finds.
    assert found(check(source, decode=False)) == [("picture_missing", "image 1"), ("picture_broken", "image 2")]


def test_labels_of_a_missing_picture_are_checked_where_their_size_is_known(tmp_path: Path) -> None:
    flat = annotation(1, 1, segmentation=[[1, 1, 2, 2, 3, 3]])
    source = write_coco(tmp_path, coco_content(2, [flat, annotation(2, 2), annotation(3, 2, 5)]))
    (tmp_path / "images" / "1.png").unlink()
    assert ("degenerate", "annotation 1") in found(check(source))


def test_picture_turned_by_exif_is_measured_upright(tmp_path: Path) -> None:
    from PIL import Image

    content = coco_content(1, [annotation(1, 1), annotation(2, 1, 5)])
    content["images"][0].update(file_name="1.jpg", height=60, width=40)
    source = write_coco(tmp_path, content)
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "images" / "1.jpg", exif=exif)
    for decode in (True, False):
        assert found(check(source, decode=decode)) == []


def test_duplicates_leaks_orphans_and_empty_pictures_are_found(tmp_path: Path) -> None:
    labels = {"train/a.png": CAT, "train/b.png": DOG, "train/c.png": None, "train/d.png": "", "val/e.png": CAT + DOG}
    source = write_yolo(tmp_path, labels)
    images = tmp_path / "images"
    shutil.copy(images / "train" / "a.png", images / "train" / "b.png")
    shutil.copy(images / "train" / "a.png", images / "val" / "f.png")
    (tmp_path / "labels" / "train" / "ghost.txt").write_text(CAT)
    assert sorted(found(check(source))) == [
        ("duplicate_picture", "images/train/b.png"),
        ("leakage", "images/train/a.png"),
        ("leakage", "images/train/b.png"),
        ("no_labels", "images/train/c.png"),
        ("no_labels", "images/train/d.png"),
        ("no_labels", "images/val/f.png"),
        ("orphan_label", "labels/train/ghost.txt"),
    ]


def test_one_split_is_checked_and_still_compared_with_the_others(tmp_path: Path) -> None:
    source = write_yolo(tmp_path, {"train/a.png": CAT + DOG, "val/b.png": "nonsense"})
    shutil.copy(tmp_path / "images" / "train" / "a.png", tmp_path / "images" / "val" / "b.png")
    result = check(source, split="train")
    assert [part.name for part in result.parts] == ["train"]
    assert found(result) == [("leakage", "images/train/a.png")]
    with pytest.raises(UsageError, match="no part 'tran'"):
        check(source, split="tran")


def test_same_folder_for_two_parts_is_one_problem(tmp_path: Path) -> None:
    source = write_yolo(tmp_path, {f"train/{n}.png": CAT + DOG for n in range(5)})
    source.write_text(source.read_text() + "val: images/train\n")
    (problem,) = check(source).problems
    assert problem.kind == "leakage"
    assert problem.message == "5 of the 5 pictures of train are files of val too"


@pytest.mark.parametrize("other", ["folder", "coco"])
def test_against_another_set_finds_common_pictures(tmp_path: Path, other: str) -> None:
    source = write_yolo(tmp_path / "a", {"train/x.png": CAT + DOG, "train/y.png": CAT})
    against = write_coco(tmp_path / "b", coco_content(2, []))
    shutil.copy(tmp_path / "a" / "images" / "train" / "y.png", tmp_path / "b" / "images" / "2.png")
    place = against if other == "coco" else tmp_path / "b" / "images"
    assert found(check(source, against=[scan(place)])) == [("leakage", "images/train/y.png")]


def test_parts_that_are_not_there_and_parts_without_labels_are_errors(tmp_path: Path) -> None:
    source = write_yolo(tmp_path, {"train/a.png": CAT + DOG, "val/b.png": None})
    source.write_text(source.read_text() + "test: images/tset\n")
    kinds = [problem.kind for problem in check(source).problems]
    assert kinds.count("part_empty") == 2
    assert check(source).errors == 2


def test_list_with_a_missing_and_a_repeated_picture_is_read_to_its_end(tmp_path: Path) -> None:
    source = write_yolo(tmp_path, {"train/a.png": CAT, "train/b.png": DOG})
    lines = ["./images/train/a.png", "images/train/none.png", "", "images/train/a.png", "images/train/b.png"]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    source.write_text("train: train.txt\nnames: [cat, dog]\n")
    assert found(check(source)) == [
        ("duplicate_picture", "train.txt:4"),
        ("picture_missing", "images/train/none.png"),
        ("no_labels", "images/train/none.png"),
    ]


def test_unused_class_is_said_once_for_each_part(tmp_path: Path) -> None:
    source = write_yolo(tmp_path, {"train/a.png": CAT, "val/b.png": CAT})
    messages = [problem.message for problem in check(source).problems]
    assert messages == ["1 of 2 classes have no object: dog"] * 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("none.json", None, "no such file", id="absent"),
        pytest.param("a.json", "{", "no JSON", id="no json"),
        pytest.param("a.json", "[1]", "expected an object with the lists", id="list"),
        pytest.param("a.yaml", "names: [a]", "none of train", id="no parts"),
        pytest.param("a.csv", "", "expected a data set", id="suffix"),
    ],
)
def test_what_is_no_data_set_is_refused(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(SourceError, match=message):
        check(tmp_path / name)


@pytest.mark.parametrize("kind", ["coco", "yolo-seg"])
def test_synthetic_set_has_no_problem_and_right_counts(tmp_path: Path, kind: str) -> None:
    made = synthesize(tmp_path / "set", SyntheticOptions(images=30, val=12, size=96, format=kind), workers=1)
    for part, source in made.sources.items():
        result = check(source, split=None if kind == "coco" else part)
        assert found(result) == []
        (summary,) = result.parts
        assert summary.pictures == made.pictures[part]
        assert dict(zip(result.names, summary.labels, strict=True)) == made.objects[part]
        assert sum(summary.sizes) == sum(summary.labels)


def test_crossings_of_known_outlines() -> None:
    angles = np.arange(5) * 4 * np.pi / 5
    pentagram = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert crossings(pentagram) == 5
    assert crossings(pentagram[[0, 3, 1, 4, 2]]) == 0
    assert crossings(np.array([[0, 0], [4, 4], [4, 0], [0, 4.0]])) == 1
    # A hole joined by a bridge of no width only touches.
    hole = np.array([[0, 0], [9, 0], [9, 9], [0, 9], [0, 0], [3, 3], [3, 6], [6, 6], [6, 3], [3, 3.0]])
    assert crossings(hole) == 0


def test_crossings_agree_with_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    def cross(o: Any, a: Any, b: Any) -> float:
        return float((a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0]))

    def slow(ring: Any) -> int:
        sides = [(ring[i], ring[(i + 1) % len(ring)]) for i in range(len(ring))]
        return sum(
            cross(a, b, c) * cross(a, b, d) < 0 and cross(c, d, a) * cross(c, d, b) < 0
            for i, (a, b) in enumerate(sides)
            for c, d in sides[:i]
        )

    monkeypatch.setattr("edgeseg.data.check_labels.PAIRS_AT_ONCE", 7)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        for ring in (rng.random((12, 2)), rng.integers(0, 4, (9, 2)).astype(float)):
            assert crossings(ring) == slow(ring)


def test_shared_sets_give_the_known_findings(shared: Path) -> None:
    result = check(shared / "data" / "coco-val128" / "instances.json", decode=False)
    assert result.errors == 0
    (part,) = result.parts
    # The judge counts 971 objects in these pictures.
    assert (part.pictures, sum(part.labels), part.objects, part.crowds) == (128, 982, 971, 11)
    result = check(shared / "data" / "coco128-seg" / "coco128-seg.yaml", decode=False)
    assert [problem.kind for problem in result.problems if problem.severity == "error"] == ["leakage"]
    assert [sum(part.labels) for part in result.parts] == [929, 929]


def test_json_holds_every_problem_and_count(tmp_path: Path) -> None:
    source = write_yolo(tmp_path, {"train/a.png": CAT + "7 .1 .1 .2 .1 .2 .2"})
    content = json.loads(json.dumps(check(source).to_json()))
    assert content["parts"][0]["labels"] == {"cat": 1, "dog": 0}
    assert (content["parts"][0]["objects"], content["parts"][0]["crowds"]) == (1, 0)
    assert (content["errors"], content["warnings"]) == (1, 2)
    assert content["problems"][0]["where"] == "labels/train/a.txt:2"
    assert content["problems"][0]["severity"] == "error"


def test_page_is_escaped_self_contained_and_shows_what_was_found(tmp_path: Path) -> None:
    names = ("<b>cat</b>", "dog & co")
    source = write_yolo(
        tmp_path, {"train/<i>.png": CAT + "<script>alert(1)</script>\n" + DOG, "train/b.png": CAT}, names
    )
    write_picture(tmp_path / "images" / "train" / "c.png", 9, (1000, 2000))
    (tmp_path / "labels" / "train" / "c.txt").write_text(CAT)
    page = render(check(source), samples=3)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;cat&lt;/b&gt;" in page
    assert "<b>cat</b>" not in page
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
    assert page.count("data:image/jpeg;base64,") == 3
    assert 'width="640" height="320"' in page
    assert "data.yaml: 1 error</title>" in page


def test_page_samples_show_problems_and_survive_pictures_that_do_not_open(tmp_path: Path) -> None:
    labels = {f"train/{n}.png": CAT + DOG for n in range(8)}
    source = write_yolo(tmp_path, labels)
    (tmp_path / "labels" / "train" / "5.txt").write_text(DOG + "0 .1 .1 .9 .9 .9 .1 .1 .9")
    result = check(source)
    assert "<b>5.png</b>" in render(result, samples=2)
    (tmp_path / "images" / "train" / "5.png").unlink()
    assert "no such file" in render(result, samples=2).lower()
    assert render(result, samples=0).count("<figure>") == 0


def test_page_says_what_a_crowd_is_only_where_there_is_one(tmp_path: Path) -> None:
    for crowd in (0, 1):
        rows = [annotation(1, 1), annotation(2, 1, bbox=[12, 10, 10, 10], iscrowd=crowd)]
        page = render(check(write_coco(tmp_path, coco_content(1, rows))))
        assert ("A crowd is one mask for several objects" in page) == bool(crowd)
        assert ("1 cat, 1 crowd" in page) == bool(crowd)


def test_page_folds_classes_from_the_largest_count_of_a_part_down(tmp_path: Path) -> None:
    names = tuple(f"class{number}" for number in range(30))
    lines = "".join(f"{number} .1 .1 .9 .1 .5 .9\n" for number in range(30))
    source = write_yolo(tmp_path, {"train/a.png": lines, "val/b.png": lines}, names)
    assert "<b>10 more classes</b> from 1 down" in render(check(source), samples=0)
