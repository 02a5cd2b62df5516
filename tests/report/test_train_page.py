"""The page of a training: complete while it runs and afterwards, whole after a resume, harmless whatever the names."""

from __future__ import annotations

import base64
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgeseg.data.dataset import Dataset
from edgeseg.data.picture import decode_picture, read_picture
from edgeseg.errors import EnvironmentMissingError
from edgeseg.report.train_curves import loss_plots, score_plot
from edgeseg.report.train_labels import CELLS, label_statistics
from edgeseg.report.train_page import PICTURES, Training, TrainPage, render_train
from edgeseg.report.train_pictures import CELL_PX, GAP_PX, MAX_CELLS, drawn_batch
from edgeseg.train.batch import Batch
from edgeseg.train.callbacks import End, Epoch
from edgeseg.validate import Metrics
from tests.report.example import Page
from tests.report.validation import FOUND, metrics_of, write_set
from tests.train.records import epoch, run_of, validated

HOSTILE = "\"'><script>alert(1)<!--</style>&amp;{{ 7 * 7 }}"
DATA_URL = "data:image/jpeg;base64,"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def metrics(dataset: Dataset) -> Metrics:
    return metrics_of(dataset, FOUND)


def batch_of(pictures: int = 2, size: tuple[int, int] = (64, 96)) -> Batch:
    """Grey pictures; the first has a cat on its left half, and a dog of one cell in the middle of a larger box."""
    height, width = size
    maps = torch.zeros(pictures, height // 4, width // 4, dtype=torch.int16)
    maps[0, :, : width // 8] = 1
    maps[0, 4, -4] = 2
    return Batch(
        images=torch.full((pictures, 3, height, width), 90, dtype=torch.uint8),
        label_maps=maps,
        picture_of=torch.tensor([0, 0]),
        number=torch.tensor([0, 1]),
        class_ids=torch.tensor([0, 1]),
        boxes=torch.tensor([[0.0, 0.0, width / 2, height], [width - 24.0, 8.0, width - 4.0, 28.0]]),
        names=tuple(f"picture-{number}.png" for number in range(pictures)),
    )


def page_of(path: Path) -> Page:
    return Page(path.read_text("utf-8"))


def pictures_of(page: Page) -> list[NDArray[np.uint8]]:
    sources = [element.attributes["src"].removeprefix(DATA_URL) for element in page.all("img")]
    return [decode_picture(base64.b64decode(source, validate=True), "panel") for source in sources]


def verdict(page: Page) -> str:
    return next(e.text for e in page.all("p") if e.attributes.get("class", "").startswith("verdict"))


def trained(path: Path, dataset: Dataset, metrics: Metrics) -> TrainPage:
    """A page after three of four epochs."""
    page = TrainPage(path)
    page.on_start(run_of(path.parent, dataset), [])
    for number in range(1, 6):
        page.on_batch(1, number, batch_of())
    page.on_epoch(epoch(1), None)
    page.on_batch(2, 1, batch_of(1))
    page.on_epoch(validated(2, best=True), metrics)
    page.on_epoch(validated(3, mask_ap=0.2), metrics)
    return page


def test_page_of_a_running_training_loads_itself_again(tmp_path: Path, dataset: Dataset, metrics: Metrics) -> None:
    path = tmp_path / "cats" / "train.html"
    trained(path, dataset, metrics)
    page = page_of(path)
    assert verdict(page) == "running, 3 of 4 epochs"
    assert page.all("h1")[0].text == "example"
    assert [e.attributes["content"] for e in page.all("meta") if e.attributes.get("http-equiv") == "refresh"] == ["30"]
    assert "mask AP 0.3456, box AP 0.4123 at epoch 2" in page.text


@pytest.mark.parametrize(
    ("reason", "words", "state"),
    [("finished", "finished", "passed"), ("early_stop", "stopped early", "passed"), ("failed", "failed", "failed")],
    ids=["finished", "early_stop", "failed"],
)
def test_page_says_how_it_ended(
    tmp_path: Path, dataset: Dataset, metrics: Metrics, reason: str, words: str, state: str
) -> None:
    path = tmp_path / "train.html"
    callback = trained(path, dataset, metrics)
    best = tmp_path / "weights" / "best.safetensors"
    callback.on_end(End(reason, "the reason in words", best, None, ()))
    page = page_of(path)
    assert verdict(page) == f"{words}, 3 of 4 epochs"
    assert f"verdict {state}" in {e.attributes.get("class") for e in page.all("p")}
    assert ("The reason in words." in page.text) == (reason != "finished")
    assert str(best) in page.text
    assert not [e for e in page.all("meta") if e.attributes.get("http-equiv") == "refresh"]


def test_page_before_the_first_epoch_has_settings_and_labels(tmp_path: Path, dataset: Dataset) -> None:
    path = tmp_path / "train.html"
    TrainPage(path).on_start(run_of(tmp_path, dataset), [])
    page = page_of(path)
    assert verdict(page) == "running, 0 of 4 epochs"
    assert "Nothing was validated yet." in page.text
    facts = {dt.text: dd.text for dt, dd in zip(page.all("dt"), page.all("dd"), strict=True)}
    assert facts["image size"] == "64, 96" and facts["gains: box"] == "7.5" and facts["optimizer"] == "adamw"
    assert dataset.sha256 in page.text


def test_page_without_validation_pictures_says_so(tmp_path: Path, dataset: Dataset) -> None:
    run = run_of(tmp_path, dataset, val_set=None)
    page = Page(render_train(Training(run, [epoch(1, best=True)], label_statistics(dataset, (64, 96)))))
    assert "There are no validation pictures." in page.text
    assert "1 – – – – 1.1250 1.2500 1.5000 1.7500 0.001 34.3" in page.rows


def test_page_has_every_epoch_in_numbers(tmp_path: Path, dataset: Dataset, metrics: Metrics) -> None:
    path = tmp_path / "train.html"
    trained(path, dataset, metrics)
    rows = page_of(path).rows
    assert "2 best 0.4123 0.6000 0.3456 0.5500 2.1250 2.2500 2.5000 2.7500 0.0005 35.3" in rows
    assert "best, epoch 2 0.4123 0.6000 0.3456 0.5500 2.1250 2.2500 2.5000 2.7500" in rows
    assert "last, epoch 3 0.4123 0.6000 0.2000 0.5500 3.1250 3.2500 3.5000 3.7500" in rows


def test_page_keeps_the_first_three_batches_of_the_first_epoch(
    tmp_path: Path, dataset: Dataset, metrics: Metrics
) -> None:
    path = tmp_path / "train.html"
    trained(path, dataset, metrics)
    page = page_of(path)
    texts = [e.attributes["alt"] for e in page.all("img")]
    assert texts[2:] == [
        f"Step {number}: 2 pictures of 64 x 96 px; 2 objects in all: 1 cat, 1 a dog" for number in (1, 2, 3)
    ]
    assert "picture-0.png" in page.text
    sizes = [(int(e.attributes["height"]), int(e.attributes["width"])) for e in page.all("img")]
    assert [picture.shape[:2] for picture in pictures_of(page)] == sizes


def test_drawn_batch_has_the_cells_of_the_label_map() -> None:
    drawn = drawn_batch(batch_of(), ("cat", "a dog")).astype(int)
    height, width = round(CELL_PX * 64 / 96), CELL_PX
    assert drawn.shape == (height, 2 * width + GAP_PX, 3)
    changed = np.abs(drawn[:, :width] - 90).sum(axis=2) > 20
    factor = CELL_PX / 96
    # Well inside the cat's half, and nothing right of it but the dog with its label.
    assert changed[80:-10, 10 : width // 2 - 10].all()
    assert not changed[height // 2 :, width // 2 + 10 :].any()
    # The dog's only cell, and around it a box that is empty inside its line.
    rows, columns = (slice(round(a * factor) + 1, round((a + 4) * factor) - 1) for a in (16, 80))
    assert changed[rows, columns].all()
    assert changed[round(27 * factor) : round(28 * factor), round(72 * factor) : round(92 * factor)].any(axis=0).all()
    assert not changed[round(22 * factor) : round(26 * factor), round(74 * factor) : round(90 * factor)].any()
    # The second picture has no object.
    assert not (np.abs(drawn[:, width + GAP_PX :] - 90) > 0).any()


def test_drawn_batch_has_at_most_so_many_pictures() -> None:
    size = (64, 64)
    drawn = drawn_batch(batch_of(MAX_CELLS + 3, size), ("cat", "a dog"))
    assert drawn.shape == (4 * CELL_PX + 3 * GAP_PX, 4 * CELL_PX + 3 * GAP_PX, 3)


def test_page_draws_what_the_best_epoch_found_beside_the_annotations(
    tmp_path: Path, dataset: Dataset, metrics: Metrics
) -> None:
    path = tmp_path / "train.html"
    trained(path, dataset, metrics)
    page = page_of(path)
    # The third epoch was validated, too, but is not the best.
    assert "What the weights of epoch 2 find above score 0.25." in page.text
    captions = [element.text for element in page.all("figcaption")]
    assert captions[0] == "one.png annotated: 1 cat, 1 a dog; found: 2 cat"
    assert captions[1] == "two.png annotated: 1 cat, 1 crowd; found: 1 cat, 1 a dog"
    drawn = pictures_of(page)[1].astype(float)
    original = read_picture(dataset[1].path).astype(float)
    height, width = original.shape[:2]
    assert drawn.shape == (height, 2 * width + GAP_PX, 3)
    left, right = (np.abs(panel - original).mean(axis=2) for panel in (drawn[:, :width], drawn[:, -width:]))
    # Row 40 is inside the annotated cat and below the found one.
    assert np.median(left[38:43, 10:40]) > 20
    assert np.median(right[38:43, 10:40]) < 10


def test_resumed_training_shows_the_epochs_and_pictures_before_it(
    tmp_path: Path, dataset: Dataset, metrics: Metrics
) -> None:
    path = tmp_path / "train.html"
    trained(path, dataset, metrics)
    before = page_of(path)
    resumed = TrainPage(path)
    resumed.on_start(run_of(tmp_path, dataset, first_epoch=4), [epoch(1), validated(2, best=True), validated(3)])
    page = page_of(path)
    assert [e.attributes["src"] for e in page.all("img")] == [e.attributes["src"] for e in before.all("img")]
    resumed.on_batch(4, 1, batch_of())
    resumed.on_epoch(validated(4, mask_ap=0.9, best=True), metrics)
    page = page_of(path)
    assert len(page.all("img")) == len(before.all("img"))
    assert "What the weights of epoch 4 find" in page.text
    assert [row.split()[0] for row in page.rows if row.split()[0].isdecimal() and len(row.split()) > 9] == list("1234")


def test_training_resumed_in_its_first_epoch_keeps_its_first_batches(
    tmp_path: Path, dataset: Dataset, metrics: Metrics
) -> None:
    path = tmp_path / "train.html"
    trained(path, dataset, metrics)
    resumed = TrainPage(path)
    resumed.on_start(run_of(tmp_path, dataset), [])
    resumed.on_batch(1, 3, batch_of(1))
    resumed.on_batch(1, 4, batch_of())
    texts = [e.attributes["alt"] for e in page_of(path).all("img")]
    # No epoch was over: validation pictures would be those of another training.
    assert [text.split(" pictures")[0] for text in texts] == ["Step 1: 2", "Step 2: 2", "Step 3: 1"]


def test_page_does_without_pictures_that_are_gone(tmp_path: Path, dataset: Dataset, metrics: Metrics) -> None:
    path = tmp_path / "train.html"
    callback = trained(path, dataset, metrics)
    (tmp_path / PICTURES / "batch-2.jpg").unlink()
    callback.on_epoch(validated(4), None)
    assert [e.attributes["alt"].split(":")[0] for e in page_of(path).all("img")][2:] == ["Step 1", "Step 3"]


def test_page_takes_pictures_from_its_own_folder_alone(tmp_path: Path, dataset: Dataset) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"a secret")
    folder = tmp_path / "out" / PICTURES
    folder.mkdir(parents=True)
    kept = {"file": "../../secret.jpg", "title": "Step 1", "about": "", "sources": [], "height": 1, "width": 1}
    (folder / "pictures.json").write_text(json.dumps({"batches": [kept], "validation": []}))
    TrainPage(tmp_path / "out" / "train.html").on_start(run_of(tmp_path, dataset), [epoch(1)])
    assert page_of(tmp_path / "out" / "train.html").all("img") == []


def test_label_statistics_count_objects_of_the_chosen_pictures(dataset: Dataset) -> None:
    whole = label_statistics(dataset, (160, 200))
    assert (whole["counted"], whole["crowds"], whole["without"]) == ("3 objects in 2 pictures", 1, 0)
    assert [(row["name"], row["count"], row["width"]) for row in whole["classes"]] == [
        ("cat", 2, 100),
        ("a dog", 1, 50),
        ("Bird", 0, 0),
    ]
    # Squares of 30, 20 and 40 px in pictures of 80 x 100 px: twice that at the network's input.
    assert {row["name"]: row["count"] for row in whole["sizes"] if row["count"]} == {"32 to 64": 2, "64 to 128": 1}
    second = label_statistics(dataset.subset([1]), (160, 200))
    assert (second["counted"], second["crowds"]) == ("1 object in 1 picture", 1)


def test_heat_maps_show_where_boxes_are_and_how_large(dataset: Dataset) -> None:
    # A cat at left 10, top 10, 30 x 30 px, and a dog at left 50, top 10, 20 x 20 px, of 80 x 100.
    centres, sizes = label_statistics(dataset.subset([0]), (160, 200))["maps"]
    cells = [(int(0.6 * CELLS), int(0.25 * CELLS)), (int(0.25 * CELLS), int(25 / 80 * CELLS))]
    assert [one["cells"] for one in centres["paths"]] == ["".join(f"M{x} {y}h1v1h-1z" for x, y in cells)]
    # Numbers rise upwards in the map of sizes.
    cells = [(int(0.3 * CELLS), int((1 - 30 / 80) * CELLS)), (int(0.2 * CELLS), int((1 - 20 / 80) * CELLS))]
    assert [one["cells"] for one in sizes["paths"]] == ["".join(f"M{x} {y}h1v1h-1z" for x, y in cells)]
    assert (centres["most"], sizes["most"]) == (1, 1)


def test_set_without_objects_has_a_page(tmp_path: Path) -> None:
    empty = write_set(tmp_path / "set")
    empty.arrays.first_annotation[:] = 0
    for name in ("class_ids", "crowds", "xywh"):
        object.__setattr__(empty.arrays, name, getattr(empty.arrays, name)[:0])
    page = Page(render_train(Training(run_of(tmp_path, empty), [], label_statistics(empty, (64, 96)))))
    assert "0 objects in 2 pictures, 2 of them without an object." in page.text


def test_curves_are_scaled_to_their_values() -> None:
    box = loss_plots([epoch(1), epoch(2), epoch(5)])[0]
    points = [[float(part) for part in point.split(",")] for point in box["lines"][0]["points"].split()]
    assert [x for x, _ in points] == [0, 25, 100]
    # Losses 1.125, 2.125, 5.125: y is downwards, and a quarter of the way is a quarter.
    top, quarter, bottom = points[2][1], points[1][1], points[0][1]
    assert 0 < top < quarter < bottom < 100
    assert (bottom - quarter) / (bottom - top) == pytest.approx(0.25, abs=1e-3)
    assert all(0 <= place <= 100 for place, _ in [*box["rows"], *box["columns"]])


def test_score_curves_skip_epochs_that_were_not_validated_and_mark_the_best() -> None:
    plot = score_plot([epoch(1), validated(2, best=True), epoch(3), validated(4, best=True), validated(6)])
    assert [len(line["points"].split()) for line in plot["lines"]] == [3] * 4
    assert plot["mark"]["epoch"] == 4 and plot["mark"]["x"] == 50


@pytest.mark.parametrize(
    "epochs",
    [
        [epoch(1)],
        [epoch(1, losses=dict.fromkeys(("box", "cls", "dfl", "mask"), 0.0)), epoch(2)],
        [epoch(1), epoch(2, losses=dict.fromkeys(("box", "cls", "dfl", "mask"), math.nan))],
        [validated(1, best=True, mask_ap=0.0, mask_ap50=0.0, box_ap=0.0, box_ap50=0.0)],
        [validated(1, best=True, mask_ap=math.nan, mask_ap50=math.nan, box_ap=math.nan, box_ap50=math.nan)],
    ],
    ids=["one", "zero_loss", "nan_loss", "zero_score", "nan_score"],
)
def test_curves_of_odd_numbers_have_finite_points(tmp_path: Path, dataset: Dataset, epochs: list[Epoch]) -> None:
    page = Page(render_train(Training(run_of(tmp_path, dataset), epochs, label_statistics(dataset, (64, 96)))))
    lines = [e.attributes["points"] for e in page.all("polyline")]
    assert any(lines)
    for line in lines:
        places = [float(part) for point in line.split() for part in point.split(",")]
        assert all(math.isfinite(place) and 0 <= place <= 100 for place in places)


def test_page_needs_nothing_from_outside_and_runs_nothing(tmp_path: Path, dataset: Dataset, metrics: Metrics) -> None:
    path = tmp_path / "train.html"
    trained(path, dataset, metrics)
    page = page_of(path)
    assert page.all("script", "link", "iframe", "object", "base", "form") == []
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in {
        e.attributes.get("content") for e in page.all("meta")
    }
    for element in page.elements:
        assert not any(name.startswith("on") for name in element.attributes)
        assert element.attributes.get("src", DATA_URL).startswith(DATA_URL)
        assert element.attributes.get("href", "#").startswith("#")
    assert "url(" not in page.all("style")[0].text


def test_page_escapes_every_text(tmp_path: Path, dataset: Dataset, metrics: Metrics) -> None:
    plain = tmp_path / "plain" / "train.html"
    trained(plain, dataset, metrics).on_end(End("failed", "why", None, None, ()))
    names = (f"cat{HOSTILE}", f"a dog{HOSTILE}", f"Bird{HOSTILE}")
    hostile_set = write_set(tmp_path, names, pictures=(HOSTILE.replace("/", "") + ".png", "two.png"))
    path = tmp_path / "hostile" / "train.html"
    page = TrainPage(path)
    run = run_of(tmp_path / HOSTILE.replace("/", ""), hostile_set)
    page.on_start(replace(run, settings={**run.settings, "optimizer": HOSTILE}), [])
    for number in (1, 2, 3):
        page.on_batch(1, number, replace(batch_of(), names=(HOSTILE, HOSTILE)))
    page.on_epoch(epoch(1), None)
    page.on_epoch(validated(2, best=True), metrics_of(hostile_set, FOUND))
    page.on_epoch(validated(3, mask_ap=0.2), None)
    page.on_end(End("failed", HOSTILE, None, None, ()))
    found = page_of(path)
    assert [e.tag for e in found.elements] == [e.tag for e in page_of(plain).elements]
    assert found.text.count("{{ 7 * 7 }}") > 10


def test_missing_jinja2_is_said_before_anything_is_trained(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(EnvironmentMissingError, match="jinja2"):
        TrainPage(tmp_path / "train.html").on_start(run_of(tmp_path, dataset), [])
