"""The page of a validation: complete, well formed, and harmless whatever classes and pictures are called."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeseg.data.dataset import Dataset
from edgeseg.data.picture import decode_picture, read_picture
from edgeseg.errors import EnvironmentMissingError, SourceError
from edgeseg.metrics.coco_results import CocoResults
from edgeseg.report.val_json import val_json
from edgeseg.report.val_page import render_val
from edgeseg.report.val_worst import PANEL_SIDE_PX, drawn_worst
from edgeseg.validate import Metrics, Retention
from tests.report.example import Page
from tests.report.validation import FOUND, SIZE, metrics_of, write_set

HOSTILE = "\"'><script>alert(1)<!--</style>&amp;{{ 7 * 7 }}"
DATA_URL = "data:image/jpeg;base64,"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def metrics(dataset: Dataset) -> Metrics:
    return metrics_of(dataset, FOUND)


@pytest.fixture(scope="module")
def page(metrics: Metrics, dataset: Dataset) -> Page:
    return Page(render_val(metrics, dataset))


def pictures(page: Page) -> list[NDArray[np.uint8]]:
    """All pictures of a page, RGB."""
    sources = [element.attributes["src"].removeprefix(DATA_URL) for element in page.all("img")]
    return [decode_picture(base64.b64decode(source, validate=True), "panel") for source in sources]


def test_page_says_mask_and_box_ap_first(page: Page, metrics: Metrics) -> None:
    verdict = next(e.text for e in page.all("p") if e.attributes.get("class") == "verdict")
    assert verdict == f"mask AP {metrics.seg.map:.4f}, box AP {metrics.box.map:.4f}"
    assert verdict in page.all("title")[0].text


def test_page_has_every_number_of_the_judge_for_boxes_and_masks(page: Page, metrics: Metrics) -> None:
    rows = [row.split() for row in page.rows]
    for key in ("AP50", "AP75", "AR1", "AR10", "AR100"):
        (row,) = (row for row in rows if row[0] == key)
        assert row[-2:] == [f"{metrics.box.stats[key]:.4f}", f"{metrics.seg.stats[key]:.4f}"]
    # All objects are between 400 and 1600 square px.
    assert any(row.startswith("AP, large") and row.endswith("– –") for row in page.rows)


def test_page_lists_classes_by_name_and_has_dashes_for_one_without_objects(page: Page, metrics: Metrics) -> None:
    order = ["a dog 1", "Bird 0 – – –", f"cat 2 {metrics.box.maps[0]:.4f} {metrics.seg.maps[0]:.4f}"]
    (first,) = (number for number, row in enumerate(page.rows) if row.startswith("Class "))
    for row, start in zip(page.rows[first + 1 :], order, strict=False):
        assert row.startswith(start)


def test_page_names_model_and_data_with_their_hashes(dataset: Dataset, metrics: Metrics, tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    model.write_bytes(b"a model")
    text = Page(render_val(replace(metrics, model=str(model)), dataset)).text
    assert str(model) in text and hashlib.sha256(b"a model").hexdigest() in text
    assert str(dataset.source) in text and dataset.sha256 in text


def test_page_puts_mistakes_in_words_with_counts(page: Page) -> None:
    headings = {element.text for element in page.all("h3")}
    assert {"Taken for another class: 1", "Missed: 0", "Found where nothing is: 1"} <= headings
    assert "a dog for cat 1" in page.rows
    assert "a dog 1" in page.rows


def test_page_has_the_confusion_of_the_classes_that_occur(page: Page) -> None:
    # nothing, cat, a dog; the bird occurs nowhere. Blank cells are zeros.
    start = page.rows.index("nothing cat a dog")
    assert page.rows[start + 1 : start + 4] == ["nothing 1", "cat 2", "a dog 1"]


def test_page_draws_three_curves_and_marks_the_best_f1(page: Page, metrics: Metrics) -> None:
    lines = [element.attributes["points"].split() for element in page.all("polyline")]
    assert [len(line) for line in lines] == [len(metrics.curves.thresholds)] * 3
    values = np.array([[[float(part) for part in point.split(",")] for point in line] for line in lines])
    assert values.min() >= 0 and values.max() <= 100
    np.testing.assert_allclose(1 - values[2, :, 1] / 100, metrics.curves.f1, atol=6e-4)
    best = metrics.curves.best
    (mark,) = (e.attributes["style"] for e in page.all("i") if "bottom" in e.attributes.get("style", ""))
    assert mark == f"left: {100 * metrics.curves.thresholds[best]:.1f}%; bottom: {100 * metrics.curves.f1[best]:.1f}%"


def test_page_counts_mask_ious(page: Page) -> None:
    assert (
        f"2 objects were found with their class; the median IoU of their masks is {(1 + 0.725) / 2:.3f}." in page.text
    )
    assert "0.95 to 1.00 1" in page.rows
    assert "0.70 to 0.75 1" in page.rows


def test_page_has_retention_only_where_asked(page: Page, metrics: Metrics, dataset: Dataset) -> None:
    assert "retention" not in {element.attributes.get("id") for element in page.all("h2")}
    found = Page(render_val(metrics, dataset, (Retention("mask", 0.98765, 0.97, 1.0012, 2, "n.pt", "ab12"),)))
    assert "mask 98.77 97.00 to 100.12" in [re.sub(r"\s+", " ", row) for row in found.rows]
    assert "Fewer than 32 pictures say little" in found.text
    assert "The reference is n.pt." in found.text
    assert "ab12" in [element.text for element in found.all("code")]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_page_and_json_have_the_hash_of_the_model_and_not_of_its_sidecar(
    kind: str, metrics: Metrics, dataset: Dataset, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    if kind == "file":
        model.write_bytes(b"weights")
        expected = hashlib.sha256(b"weights").hexdigest()
    else:
        model.mkdir()
        (model / "n.bin").write_bytes(b"weights")
        (model / "edgeseg.json").write_text("{}")
        expected = hashlib.sha256(f"{hashlib.sha256(b'weights').hexdigest()}  n.bin\0".encode()).hexdigest()
    found = replace(metrics, model=str(model))
    assert expected in [element.text for element in Page(render_val(found, dataset)).all("code")]
    assert val_json(found)["model_sha256"] == expected


def test_page_draws_annotations_and_detections_of_each_picture(page: Page, dataset: Dataset) -> None:
    drawn = pictures(page)
    assert [picture.shape[:2] for picture in drawn] == [SIZE] * 4
    # Worst first: the second picture has IoU 0.725 and one detection of nothing, the first one of another class.
    captions = [element.text for element in page.all("figcaption")]
    assert [caption.split()[0] for caption in captions] == ["two.png", "one.png"]
    texts = [element.attributes["alt"] for element in page.all("img")]
    assert texts[0] == "two.png, annotated: 1 cat, 1 crowd"
    assert texts[1] == "two.png, found: 1 cat, 1 a dog"
    original = read_picture(dataset[1].path).astype(float)
    changed = [np.abs(picture - original).mean(axis=2) for picture in drawn[:2]]
    # Row 40 is inside the annotated cat and below the found one.
    assert np.median(changed[0][38:43, 10:40]) > 20
    assert np.median(changed[1][38:43, 10:40]) < 10


def test_a_large_picture_is_scaled_to_a_panel(tmp_path: Path, metrics: Metrics) -> None:
    dataset = write_set(tmp_path)
    height, width = (side * 10 for side in SIZE)
    dataset.arrays.sizes[:] = (height, width)
    large = replace(metrics, detections=replace(metrics.detections, rows=CocoResults()))
    for sample in dataset:
        assert cv2.imwrite(str(sample.path), cv2.resize(read_picture(sample.path), (width, height)))
    dataset.arrays.first_annotation[:] = 0
    panels = [panel for one in drawn_worst(large, dataset) for panel in one["panels"]]
    assert [(panel["height"], panel["width"]) for panel in panels] == [(384, PANEL_SIDE_PX)] * 4


def test_page_without_detections_says_so(dataset: Dataset) -> None:
    page = Page(render_val(metrics_of(dataset, ()), dataset))
    assert "so there is no mask IoU" in page.text
    assert "cat 2 of 2" in page.rows


def test_page_without_objects_has_dashes(tmp_path: Path) -> None:
    dataset = write_set(tmp_path)
    dataset.arrays.first_annotation[:] = 0
    page = Page(render_val(metrics_of(dataset, ()), dataset))
    assert "mask AP –, box AP –" in page.text


def test_page_needs_nothing_from_outside_and_runs_nothing(page: Page) -> None:
    assert page.all("script", "link", "iframe", "object", "base", "form") == []
    (policy,) = (e.attributes["content"] for e in page.all("meta") if "http-equiv" in e.attributes)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    for element in page.elements:
        assert not any(name.startswith("on") for name in element.attributes)
        assert element.attributes.get("src", DATA_URL).startswith(DATA_URL)
        assert element.attributes.get("href", "#").startswith("#")
    assert "url(" not in page.all("style")[0].text


def test_page_escapes_every_text(tmp_path: Path, page: Page) -> None:
    names = (f"cat{HOSTILE}", f"a dog{HOSTILE}", f"Bird{HOSTILE}")
    file_name = HOSTILE.replace("/", "") + ".png"
    dataset = write_set(tmp_path, names, pictures=(file_name, "two.png"))
    metrics = metrics_of(dataset, FOUND)
    found = Page(render_val(replace(metrics, model=HOSTILE, environment={HOSTILE: HOSTILE}, data=HOSTILE), dataset))
    assert [element.tag for element in found.elements] == [element.tag for element in page.elements]
    assert found.all("script") == []
    assert f"{names[1]} for {names[0]} 1" in found.rows
    assert file_name in found.text
    assert found.text.count("{{ 7 * 7 }}") > 10


def test_a_picture_that_is_gone_is_named(tmp_path: Path) -> None:
    dataset = write_set(tmp_path)
    metrics = metrics_of(dataset, FOUND)
    (tmp_path / "one.png").unlink()
    with pytest.raises(SourceError, match=r"one\.png"):
        render_val(metrics, dataset)


def test_missing_jinja2_is_said_with_how_to_install_it(
    metrics: Metrics, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(EnvironmentMissingError, match="jinja2"):
        render_val(metrics, dataset)
