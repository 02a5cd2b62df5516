"""`edgeseg val`: what each option writes and prints, on a set that the tiny network should find again."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgeseg.export import export
from edgeseg.files import sha256_of
from edgeseg.model.weights import load_weights, save_weights
from edgeseg.testing.tiny import NAMES
from tests.annotated import CATEGORIES, write_annotated
from tests.cli.running import Outcome, run
from tests.report.example import Page

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools

HERE = ("--workers", "0")
"""No processes, which take a second to start."""


@dataclass(frozen=True)
class Written:
    """One run with every output."""

    data: Path
    outcome: Outcome
    folder: Path

    @property
    def content(self) -> dict[str, Any]:
        """Of the JSON."""
        found: dict[str, Any] = json.loads((self.folder / "v.json").read_text())
        return found


@pytest.fixture(scope="module")
def data(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures."""
    return write_annotated(tmp_path_factory.mktemp("set"), tiny_weights, 3)


@pytest.fixture(scope="module")
def written(tiny_weights: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Everything that a run can write."""
    folder = tmp_path_factory.mktemp("written")
    options = [
        part
        for name, file in (("json", "v.json"), ("csv", "v.csv"), ("save-json", "rows.json"), ("html", "v.html"))
        for part in (f"--{name}", folder / file)
    ]
    outcome = run("val", tiny_weights, data, *options, *HERE)
    assert outcome.code == 0, outcome.err
    return Written(data, outcome, folder)


def changed(data: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of the set's annotations with something else in them, on the same pictures."""
    content = json.loads(data.read_text())
    change(content)
    for row in content["images"]:
        row["file_name"] = str(data.parent / row["file_name"])
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path


def test_prints_box_and_mask_ap_and_how_they_were_judged(written: Written) -> None:
    lines = [line.split() for line in written.outcome.out.splitlines()]
    for kind in ("box", "mask"):
        (row,) = (line for line in lines if line[:1] == [kind])
        assert row[1:4] == ["1.0000"] * 3
    objects, judge = written.content["objects"], written.content["seg"]["judge"]
    assert f"3 pictures, {objects} objects, judged by {judge};" in written.outcome.out


def test_crowds_are_counted_apart_as_a_check_of_the_set_counts_them(
    tiny_weights: Path, data: Path, tmp_path: Path
) -> None:
    def join(content: dict[str, Any]) -> None:
        content["annotations"][0]["iscrowd"] = 1

    total = len(json.loads(data.read_text())["annotations"])
    source = changed(data, tmp_path, join)
    page = tmp_path / "v.html"
    outcome = run("val", tiny_weights, source, "--html", page, *HERE)
    assert f"3 pictures, {total - 1} objects and 1 crowd, judged by" in outcome.out
    assert f"{total - 1} objects and 1 crowd in 3 pictures" in Page(page.read_text()).text
    checked = run("data", "check", source)
    (row,) = (line.split() for line in checked.out.splitlines() if line.startswith("instances"))
    assert row[1:5] == ["3", "0", str(total - 1), "1"]
    assert "a crowd is one mask for several objects" in checked.out


def test_json_has_classes_and_counts_of_the_set(written: Written) -> None:
    truth = json.loads(written.data.read_text())
    content = written.content
    assert (content["pictures"], content["objects"]) == (3, len(truth["annotations"]))
    assert {row["name"]: row["objects"] for row in content["classes"]} == {
        name: sum(row["category_id"] == category for row in truth["annotations"])
        for name, category in zip(NAMES, CATEGORIES, strict=True)
    }
    assert content["seg"]["AP"] == pytest.approx(1)
    assert content["retention"] == []


def test_json_alone_is_on_stdout_when_it_goes_there(tiny_weights: Path, written: Written) -> None:
    content = json.loads(run("val", tiny_weights, written.data, "--json", "-", *HERE).out)
    assert content["classes"] == written.content["classes"]


def test_csv_has_every_class_and_the_whole(written: Written) -> None:
    rows = list(csv.DictReader(io.StringIO((written.folder / "v.csv").read_text())))
    assert {row["class"] for row in rows} == {*NAMES, "all"}
    assert [float(row["mask_ap"]) for row in rows] == pytest.approx([1] * len(rows))


@pytest.mark.parametrize(("kind", "key"), [("bbox", "box"), ("segm", "seg")])
def test_saved_results_give_any_judge_the_same_ap(written: Written, kind: str, key: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(written.data))
        judge = COCOeval(truth, truth.loadRes(str(written.folder / "rows.json")), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    assert written.content[key]["AP"] == pytest.approx(float(judge.stats[0]), abs=1e-9)
    assert written.content[key]["AR100"] == pytest.approx(float(judge.stats[8]), abs=1e-9)


def test_html_shows_the_same_numbers_and_draws_the_pictures(written: Written) -> None:
    page = Page((written.folder / "v.html").read_text())
    assert "mask AP 1.0000, box AP 1.0000" in page.text
    assert len(page.all("img")) == 2 * 3


def test_retention_over_few_pictures_is_refused_before_anything_runs(tiny_weights: Path, data: Path) -> None:
    outcome = run("val", data.parent / "nowhere.onnx", data, "--against", tiny_weights, *HERE)
    assert outcome.code == 2
    assert "3 pictures: a retention needs at least 32" in outcome.err
    assert "--force" in outcome.err


def test_retention_over_few_pictures_is_given_when_forced(tiny_weights: Path, tiny_onnx: Path, data: Path) -> None:
    outcome = run("val", tiny_onnx, data, "--against", tiny_weights, "--force", *HERE)
    assert outcome.code == 0, outcome.err
    for kind in ("box", "mask"):
        assert f"{kind} AP retention 100.00 % (95 % interval" in outcome.out
    assert f"the reference is {tiny_weights}, sha256 {sha256_of(tiny_weights)}\n" in outcome.out


def test_weights_that_remember_no_data_are_refused_without_it(tiny_weights: Path) -> None:
    outcome = run("val", tiny_weights, *HERE)
    assert outcome.code == 2
    assert f"{tiny_weights}: no data set given, and it does not remember its data" in outcome.err
    assert "edgeseg val MODEL DATA" in outcome.err


def remembering(weights: Path, folder: Path, data: Path, images: str = "") -> Path:
    """Weights that remember a set, as a training writes them."""
    loaded = load_weights(weights)
    path = folder / "remembering.safetensors"
    save_weights(replace(loaded, metadata=replace(loaded.metadata, data=str(data), images=images)), path)
    return path


@pytest.mark.parametrize("kind", ["weights", "onnx"])
def test_the_set_that_a_model_remembers_is_used_without_data(
    kind: str, tiny_weights: Path, data: Path, tmp_path: Path
) -> None:
    weights = remembering(tiny_weights, tmp_path, data)
    model = weights if kind == "weights" else export(weights, "onnx", output_dir=tmp_path).path
    outcome = run("val", model, *HERE)
    assert outcome.code == 0, outcome.err
    assert "3 pictures" in outcome.out


def test_the_pictures_that_a_model_remembers_are_used_unless_others_are_named(
    tiny_weights: Path, data: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved" / "instances.json"
    moved.parent.mkdir()
    moved.write_text(data.read_text())
    assert run("val", remembering(tiny_weights, tmp_path, moved), *HERE).code == 2
    assert run("val", remembering(tiny_weights, tmp_path, moved, str(data.parent)), *HERE).code == 0
    gone = remembering(tiny_weights, tmp_path, moved, str(tmp_path / "gone"))
    outcome = run("val", gone, *HERE)
    assert outcome.code == 2
    assert f"what it remembers is not here: {tmp_path / 'gone'}\n" in outcome.err
    assert run("val", gone, "--images", data.parent, *HERE).code == 0


@pytest.mark.parametrize("kind", ["weights", "onnx"])
def test_a_remembered_set_that_is_gone_is_named_with_what_to_do(
    kind: str, tiny_weights: Path, data: Path, tmp_path: Path
) -> None:
    weights = remembering(tiny_weights, tmp_path, tmp_path / "gone.json")
    model = weights if kind == "weights" else export(weights, "onnx", output_dir=tmp_path).path
    outcome = run("val", model, *HERE)
    assert outcome.code == 2
    assert f"{model}: no data set given, and what it remembers is not here: {tmp_path / 'gone.json'}\n" in outcome.err
    assert "edgeseg val MODEL DATA" in outcome.err
    assert run("val", model, data, *HERE).code == 0


def test_a_set_without_a_class_of_the_model_is_refused(tiny_weights: Path, data: Path, tmp_path: Path) -> None:
    def rename(content: dict[str, Any]) -> None:
        for number, row in enumerate(content["categories"]):
            row["name"] = f"fruit {number}"

    outcome = run("val", tiny_weights, changed(data, tmp_path, rename), *HERE)
    assert outcome.code == 2
    assert "none of its 3 classes" in outcome.err
    assert "fruit 0" in outcome.err and NAMES[0] in outcome.err


def test_classes_are_matched_by_name(tiny_weights: Path, data: Path, tmp_path: Path) -> None:
    def rename(content: dict[str, Any]) -> None:
        (row,) = (row for row in content["categories"] if row["name"] == NAMES[1])
        row["name"] = "zebra"

    outcome = run("val", tiny_weights, changed(data, tmp_path, rename), "--json", "-", *HERE)
    assert "the model has no class zebra: their objects count as missed" in outcome.err
    found = {row["name"]: row["mask_ap"] for row in json.loads(outcome.out)["classes"]}
    assert found == {NAMES[0]: pytest.approx(1), "zebra": 0, NAMES[2]: pytest.approx(1)}


def test_a_broken_picture_is_named_and_no_number_given(tiny_weights: Path, tmp_path: Path, data: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))

    def replace_last(content: dict[str, Any]) -> None:
        content["images"][-1]["file_name"] = str(broken)

    outcome = run("val", tiny_weights, changed(data, tmp_path, replace_last), "--json", "-", *HERE)
    assert outcome.code == 2
    assert str(broken) in outcome.err and "edgeseg data check" in outcome.err
    assert outcome.out == ""


def test_masks_of_worker_processes_are_those_of_this_one(tiny_weights: Path, written: Written, tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    assert run("val", tiny_weights, written.data, "--save-json", rows, "--workers", 1).code == 0
    assert rows.read_bytes() == (written.folder / "rows.json").read_bytes()
