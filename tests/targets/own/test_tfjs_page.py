"""The page in a browser: what it finds, and that it can be used by mouse, by keyboard and by ear."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from edgeseg_targets.tfjs.modules import find_chromium

import edgeseg
from edgeseg import Instances, registry, rle
from edgeseg.export import export
from edgeseg.testing import tiny_frames
from edgeseg.testing.tiny import NAMES
from tests.targets.conftest import Exporter
from tests.targets.own.tfjs_page import FAKE_CAMERA, Page, opened_page

REPORT = registry.load("tfjs").check_env()
SCORE = 0.25
CLEAR = 1e-3
"""Scores this close to the threshold may fall on either side of it."""

PHONE = (390, 844)

pytestmark = [
    pytest.mark.skipif(not REPORT.usable, reason=f"{'; '.join(REPORT.problems)}: {REPORT.remedy}"),
    pytest.mark.skipif(not find_chromium(), reason="needs Chromium (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The tiny pictures as files."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for index, frame in enumerate(tiny_frames()):
        paths.append(folder / f"picture {index}.png")
        cv2.imwrite(str(paths[-1]), np.ascontiguousarray(frame.picture[..., ::-1]))
    return paths


@pytest.fixture(scope="module")
def wanted(pictures: list[Path], tiny_weights: Path) -> list[Instances]:
    with edgeseg.load(tiny_weights) as model:
        return [result.instances for result in model.predict(pictures, score=SCORE)]


@pytest.fixture(scope="module")
def browser_page(exported: Exporter) -> Iterator[Page]:
    with opened_page(exported("tfjs")) as page:
        yield page


@pytest.fixture
def page(browser_page: Page) -> Page:
    """The page, loaded anew."""
    browser_page.resize(1280, 900)
    browser_page.load()
    return browser_page


# What it finds


@pytest.mark.slow
def test_browser_finds_on_all_golden_pictures_what_python_finds(shared: Path, tmp_path: Path) -> None:
    """From the file to the mask: reading, letterbox, network, decoding, all in JavaScript."""
    from edgeseg.model.weights import load_weights, save_weights

    weights = tmp_path / "n.safetensors"
    save_weights(load_weights(shared / "weights" / "yolov8n-seg.pt"), weights)
    folder = export(weights, "tfjs", output_dir=tmp_path).path
    rows = json.loads((shared / "golden" / "predictions_conf025.json").read_text())["results"]
    folders = (shared / "media", shared / "data" / "coco-val128" / "images")
    files = [next(f / row["image"] for f in folders if (f / row["image"]).is_file()) for row in rows]
    with edgeseg.load(weights) as model:
        python = [result.instances for result in model.predict(files, score=SCORE)]
    with opened_page(folder) as page:
        page.load()
        found = [page.choose(file) for file in files]
    assert len(files) == 32
    counts = [_same(file.name, have, want) for file, have, want in zip(files, found, python, strict=True)]
    assert sum(counts) > 120


def test_browser_finds_on_drawn_pictures_what_python_finds(
    page: Page, pictures: list[Path], wanted: list[Instances]
) -> None:
    counts = [_same(file.name, page.choose(file), want) for file, want in zip(pictures, wanted, strict=True)]
    assert sum(counts) > 20
    rows = page.saved()
    assert {row["file_name"] for row in rows} == {pictures[-1].name}
    assert all(row["class_name"] == NAMES[row["class_id"]] for row in rows)


def test_a_turned_photograph_is_upright(page: Page, pictures: list[Path], tmp_path: Path) -> None:
    """As everywhere else, by the note that a camera leaves in the file."""
    picture = cv2.imread(str(pictures[1]))
    assert picture is not None
    turned = tmp_path / "turned.jpg"
    encoded = cv2.imencode(".jpg", cv2.rotate(picture, cv2.ROTATE_90_COUNTERCLOCKWISE))[1].tobytes()
    # Orientation 6: turn it clockwise to show it.
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    note = b"Exif\0\0" + tiff
    turned.write_bytes(encoded[:2] + b"\xff\xe1" + (len(note) + 2).to_bytes(2, "big") + note + encoded[2:])
    page.choose(turned)
    assert page.text("#picture-size") == f"{picture.shape[1]} × {picture.shape[0]} px"


def _same(name: str, found: list[dict[str, Any]], wanted: Instances) -> int:
    """Assert that two lists hold the same instances; returns how many."""
    rows = wanted.to_coco(0)
    pairs = 0
    for have, want in zip(
        [row for row in found if row["score"] > SCORE + CLEAR],
        [row for row in rows if row["score"] > SCORE + CLEAR],
        strict=True,
    ):
        assert have["class_id"] == want["category_id"], name
        assert abs(have["score"] - want["score"]) < 1e-4, name
        assert np.abs(np.array(have["bbox"]) - want["bbox"]).max() < 0.02, name
        inside, outside = rle.decode(have["segmentation"]), rle.decode(want["segmentation"])
        union = np.count_nonzero(inside | outside)
        assert np.count_nonzero(inside & outside) >= 0.98 * union, name
        pairs += 1
    return pairs


# How it is used


def test_the_threshold_moves_without_another_run(page: Page, pictures: list[Path], tiny_weights: Path) -> None:
    few = page.choose(pictures[0])
    took = page.text("#network-time")
    page.browser.evaluate("document.getElementById('score').focus()")
    page.press("ArrowLeft", times=15)
    page.wait("document.getElementById('score-text').textContent === '10 %'")
    page.wait(f"document.querySelectorAll('#list li').length > {len(few)}")
    with edgeseg.load(tiny_weights) as model:
        (result,) = model.predict(pictures[:1], score=0.1)
    assert len(page.saved()) == len(result.instances)
    assert page.text("#network-time") == took
    page.browser.evaluate("document.getElementById('score').value = 94")
    page.press("ArrowRight")
    page.wait("document.getElementById('none').hidden === false")
    assert page.saved() == []
    assert page.label() == f"{pictures[0].name}. No objects found at this confidence"


def test_parts_of_the_drawing_go_and_come_back(page: Page, pictures: list[Path]) -> None:
    page.choose(pictures[0])
    drawn = [_drawn(page)]
    for part in ("labels", "boxes", "masks"):
        page.browser.evaluate(f"document.getElementById('show-{part}').click()")
        drawn.append(_drawn(page))
    assert drawn[0] > drawn[1] > drawn[2] > drawn[3] == 0
    page.browser.evaluate("document.getElementById('show-masks').click()")
    assert _drawn(page) == drawn[2]


def _drawn(page: Page) -> int:
    """How much ink is above the picture."""
    return int(
        page.browser.evaluate(
            "(() => { const c = document.getElementById('overlay');"
            " return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.reduce((s, v, i) =>"
            " i % 4 === 3 ? s + v : s, 0); })()"
        )
    )


def test_everything_is_reached_by_keyboard_in_the_order_of_the_page(page: Page, pictures: list[Path]) -> None:
    found = page.choose(pictures[0])
    page.browser.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(10 + len(found)):
        page.press("Tab")
        reached.append(page.browser.evaluate("document.activeElement.id || document.activeElement.textContent"))
    shows = [f"show-{part}" for part in ("masks", "boxes", "labels")]
    names = ["file", "camera", "save-picture", "save-json", "score", *shows, "backend"]
    assert reached[:10] == ["Skip to the results", *names]
    assert len([text for text in reached[10:] if "%" in text]) == len(found)


def test_an_object_is_singled_out_by_keyboard(page: Page, pictures: list[Path]) -> None:
    page.choose(pictures[0])
    everything = _drawn(page)
    page.browser.evaluate("document.querySelector('#list button').focus()")
    page.press(" ")
    assert page.browser.evaluate("document.querySelector('#list button').getAttribute('aria-pressed')") == "true"
    assert 0 < _drawn(page) < everything
    page.press(" ")
    page.browser.evaluate("document.activeElement.blur()")
    assert _drawn(page) == everything


def test_a_screen_reader_finds_names_and_results(page: Page, pictures: list[Path]) -> None:
    found = page.choose(pictures[0])
    tree = page.accessible()
    for role, name in (
        ("heading", "Find and outline objects"),
        ("button", "Use the camera"),
        ("button", "Save JSON"),
        ("slider", "Confidence, at least"),
        ("checkbox", "Masks"),
        ("checkbox", "Boxes"),
        ("checkbox", "Labels"),
        ("combobox", "Runs on"),
        ("list", "Objects found, best first"),
    ):
        assert (role, name) in tree
    assert any(role == "image" and name == page.label() for role, name in tree)
    assert page.label().startswith(f"{pictures[0].name}. {len(found)} objects: ")
    assert page.text("#status") == f"{page.label().removeprefix(f'{pictures[0].name}. ')}."
    for row in found:
        assert ("button", f"{NAMES[row['class_id']]} {round(row['score'] * 100)} %") in tree
    assert [
        role for role, name in tree if role in ("button", "slider", "checkbox", "combobox", "image") and not name
    ] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(page: Page, pictures: list[Path], scheme: str) -> None:
    page.browser.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.resize(*PHONE, phone=True)
    page.load()
    for file in (None, pictures[2]):
        if file is not None:
            page.choose(file)
        assert page.browser.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
        small = page.browser.evaluate(
            "[...document.querySelectorAll('button, select, .button')]"
            ".filter((e) => e.offsetHeight && e.offsetHeight < 40).map((e) => e.textContent)"
        )
        assert small == [], "a finger needs 40 px"
    page.browser.command("Emulation.setEmulatedMedia", features=[])


def test_the_other_backend_finds_the_same(page: Page, pictures: list[Path], wanted: list[Instances]) -> None:
    assert "webgl" in page.browser.evaluate("[...document.getElementById('backend').options].map((o) => o.value)")
    page.choose(pictures[0])
    page.browser.evaluate(
        "(() => { const s = document.getElementById('backend'); s.value = 'webgl'; s.onchange({ target: s }); })()"
    )
    page.wait("/^\\d+ objects/.test(document.getElementById('status').textContent)")
    page.wait("!document.getElementById('file').disabled")
    assert _same(pictures[0].name, page.saved(), wanted[0]) > 3
    assert page.browser.evaluate("document.getElementById('backend').value") == "webgl"


def test_a_file_that_is_no_picture_is_said(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "notes.png"
    file.write_text("no picture")
    page.give(file)
    page.wait("document.getElementById('status').classList.contains('wrong')")
    assert page.text("#status") == "notes.png is no picture that this browser can read."
    assert page.browser.evaluate("document.getElementById('save-json').disabled") is True


def test_nothing_is_asked_of_anybody_else(page: Page, pictures: list[Path]) -> None:
    page.choose(pictures[0])
    requested = page.requested()
    seen = {address.removeprefix(page.address) for address in requested}
    assert seen >= {"/page/app.js", "/page/worker.js", "/model.json", "/tfjs/tf-core.es2017.min.js"}
    assert any(name.endswith(".wasm") for name in seen)
    assert {address for address in requested if not address.startswith((page.address, "blob:", "data:"))} == set()


def test_the_camera_is_looked_at_until_it_is_stopped(exported: Exporter) -> None:
    with opened_page(exported("tfjs"), FAKE_CAMERA) as page:
        page.load()
        page.browser.evaluate("document.getElementById('camera').click()")
        page.wait("document.getElementById('overlay').getAttribute('aria-label').startsWith('Camera. ')")
        assert page.text("#camera") == "Stop the camera"
        assert page.text("#status") == "The camera is on."
        shown = "document.getElementById('picture').toDataURL()"
        first = page.browser.evaluate(shown)
        page.wait(f"{shown} !== {json.dumps(first)}")
        page.browser.evaluate("document.getElementById('camera').click()")
        page.wait("document.getElementById('video').srcObject === null")
        assert page.text("#camera") == "Use the camera"
        page.wait("!document.getElementById('save-json').disabled")


def test_opened_as_a_file_it_says_what_it_needs(page: Page, exported: Exporter) -> None:
    page.browser.open((exported("tfjs") / "index.html").as_uri())
    assert "it needs a web server" in page.text("#status")
