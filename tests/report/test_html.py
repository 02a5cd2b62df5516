"""The page of a build: complete, well formed, and harmless whatever the build's texts are."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.errors import EnvironmentMissingError, UsageError
from edgeseg.report.html import render
from edgeseg.report.words import GATES, OUTCOMES
from edgeseg.writers import encode_picture
from tests.report.example import (
    GATE_LIMITS,
    Page,
    absent,
    build,
    device_result,
    target,
    tensor,
    timed,
    validated,
    verified,
)

HOSTILE = "\"'><script>alert(1)</script>&amp;{{ 7 * 7 }}"
OPEN_KEYS = ("options", "tool_versions", "inspect", "artifact_runs_as", "runs_as", "versions", "files")
"""Mappings of build.json whose keys anyone may choose."""


def page(*targets: dict[str, Any], folder: Path = Path(), **changes: Any) -> Page:
    return Page(render(build(*targets, **changes), folder))


def every_kind() -> list[dict[str, Any]]:
    """A target of each kind of section."""
    folder = {"path": "x", "bytes": 12, "sha256": "", "files": {"a.bin": {"bytes": 12, "sha256": "23" * 32}}}
    worst = [{"source": "/p/a.jpg", "mask_iou": 0.5, "what": "cat 0.4: mask IoU 0.5", "picture": ""}]
    device = device_result(message="the device is warm", hint="let it cool down")
    return [
        target("passed-one", "passed", message="", hint=""),
        target("bad-one", stages={"verify": verified(worst=worst), "compile": {"compiler": "3.5"}}, artifact=folder),
        target("no-export", "export_failed", stages={"export": {}}, artifact=None, log="Killed", skipped=["verify"]),
        target("slow", "budget_failed", stages={"validate": validated(), "benchmark": timed()}, device_result=device),
        absent("sdk-less"),
        absent("sdk-less-too"),
        absent("other", "plug it in"),
        target("left", "skipped", stages={}, artifact=None),
    ]


def replaced(value: Any, text: str, key: str = "") -> Any:
    """`value` with every text in it replaced, but for the words that are ours: outcomes and gates."""
    if isinstance(value, dict):
        return {(text + k if key in OPEN_KEYS else k): replaced(item, text, k) for k, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, text, key) for item in value]
    return text if isinstance(value, str) and value not in OUTCOMES and value not in GATES else value


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_page_says_every_outcome_in_words_and_symbol(outcome: str) -> None:
    found = page(target("only-one", outcome))
    words = OUTCOMES[outcome]
    assert f"only-one {words.label}" in [element.text for element in found.all("h2")]
    assert words.meaning in found.text
    badges = [e for e in found.all("span") if e.attributes.get("class") == f"badge {words.state}"]
    assert [badge.text for badge in badges].count(words.label) == 2, "in the overview and in the target's section"
    assert f"#icon-{words.state}" in [element.attributes["href"] for element in found.all("use")]


@pytest.mark.parametrize(
    ("outcomes", "verdict", "state"),
    [
        pytest.param(["passed"], "1 of 1 target passed", "passed", id="one"),
        pytest.param(["passed", "passed"], "2 of 2 targets passed", "passed", id="all"),
        pytest.param(
            ["passed", "env_missing", "deferred"], "1 of 3 targets passed, 2 not finished here", "open", id="open"
        ),
        pytest.param(
            ["load_failed", "env_missing", "passed"],
            "1 of 3 targets passed, 1 failed, 1 not finished here",
            "failed",
            id="failed",
        ),
    ],
)
def test_page_opens_with_the_verdict(outcomes: list[str], verdict: str, state: str) -> None:
    found = page(*(target(f"t{i}", outcome) for i, outcome in enumerate(outcomes)))
    assert found.all("title")[0].text == f"n-seg: {verdict}"
    (shown,) = [e for e in found.all("p") if e.attributes.get("class", "").startswith("verdict")]
    assert (shown.text, shown.attributes["class"]) == (verdict, f"verdict {state}")


def test_page_shows_every_target_and_every_gate_of_each() -> None:
    targets = every_kind()
    found = page(*targets)
    for one in targets:
        assert one["id"] in found.text
    sections = [e.text for e in found.all("section") if e.attributes["aria-labelledby"].startswith("target-")]
    assert len(sections) == 4
    for section in sections:
        for name in GATE_LIMITS:
            assert GATES[name].label in section
            assert name in section


def test_gate_rows_hold_value_limit_margin_and_result() -> None:
    rows = page(target()).rows
    assert "largest score error score_error_max met 7.868e-06 ≤ 0.0001 +9.21e-05" in rows
    assert "smallest mask IoU mask_iou_min not met 0.98125 ≥ 0.99 −0.00875" in rows
    assert "median latency latency_p50_ms_max not judged – ≤ 30 ms –" in rows


def test_page_says_why_a_gate_was_not_judged_and_that_passing_did_not_need_it() -> None:
    found = page(target(outcome="passed"))
    assert "Asked for, but not judged in this build: largest box error" in found.text
    assert "Not judged: mask AP kept. This needs a validation of both sides on annotated pictures" in found.text


def test_gate_that_is_no_number_is_not_met() -> None:
    gate = {"name": "mask_iou_min", "limit": 0.99, "value": None, "margin": None, "met": False}
    rows = page(target(stages={"gates": {"gates": [gate]}})).rows
    assert "smallest mask IoU mask_iou_min not met not a number ≥ 0.99 not a number" in rows


def test_tensor_rows_hold_statistics_also_those_that_json_has_no_number_for() -> None:
    tensors = [
        tensor("equal", 0.0, None),
        tensor("close", 2.5e-05, 57.25, 0.9999999),
        tensor("zero", 0.5, 0.0, None),
        tensor("broken", None, None, None),
    ]
    found = page(target(stages={"verify": verified(tensors=tensors)}))
    assert "equal identical" in found.rows
    assert "close 2.5e-05 2.5e-05 57.2 1 − 1.0e-07" in found.rows
    assert "zero 0.5 0.5 0.0 undefined" in found.rows
    assert "broken not a number not a number not a number undefined" in found.rows
    assert "4, 1 identical to the reference; 1 with values that are no numbers" in found.text
    assert "least signal to noise in zero, 0.0 dB" in found.text


def test_histogram_bars_have_their_counts_in_words() -> None:
    found = page(target())
    assert [row for row in found.rows if " to " in row] == ["0.99 to 1 5", "0.9 to 0.99 2", "0 to 0.9 0"]
    assert [bar.attributes["width"] for bar in found.all("rect")] == ["100.0", "40.0", "0.0"]


def test_page_without_a_match_says_so_in_place_of_overlaps() -> None:
    nothing = dict.fromkeys(("mask_iou_min", "mask_iou_p05", "mask_iou_median", "mask_iou_mean", "score_error_max"))
    masks = {**verified()["masks"], **nothing, "matched": 0, "mask_iou_histogram": [0, 0, 0]}
    found = page(target(stages={"verify": verified(masks=masks)}))
    assert "No instance of the artifact matches one of the reference" in found.text
    assert found.all("rect") == []


def test_median_just_below_one_is_not_rounded_up_to_it() -> None:
    assert "onnx-fp32 differs 0.9812 0.999960 7.868e-06 0.00125 13.7 MB" in page(target()).rows


def test_page_shows_message_hint_problems_and_diagnosis() -> None:
    text = page(target()).text
    for sentence in ("the message", "the hint", "the contract is broken", "the artifact mirrors the picture"):
        assert text.count(sentence) == 1


def test_diagnosis_that_is_the_hint_is_said_once() -> None:
    found = page(target(hint="all zero", stages={"verify": verified(diagnosis=["all zero"])}))
    assert found.text.count("all zero") == 1


def test_page_shows_how_it_was_made_and_how_it_ran() -> None:
    text = page(target()).text
    for value in ("480 × 640 px", "CC-BY-4.0", "ef" * 32, "01" * 32, "ab" * 32, "n.onnx", "13700123 bytes"):
        assert value in text
    for value in ("provider CPUExecutionProvider", "threads 4 threads", "opset 17", "onnx 1.23.2", "half inputs yes"):
        assert value in text


def test_command_is_quoted_for_a_shell() -> None:
    (code,) = page(target()).all("pre")
    assert code.text == "edgeseg build '/cards/n seg.yaml' \\ --weights /w/n.pt \\ --output /runs/n"


def test_absent_targets_share_a_list_by_remedy() -> None:
    found = page(absent("a"), absent("b"), absent("c", "plug it in"), target("d", "skipped", stages={}, artifact=None))
    texts = [element.text for element in found.all("p")]
    assert "not built here 3 targets: a, b, c" in texts
    assert "skipped 1 target: d" in texts
    assert found.rows.count("What to do: pip install something") == 1
    assert found.rows.count("What to do: plug it in") == 1
    assert "b b has no SDK here" in found.rows


def test_target_missing_its_device_after_a_stage_keeps_its_section() -> None:
    found = page(target("half-done", "env_missing", stages={"export": {"head": "raw"}}))
    assert "half-done not built here" in [element.text for element in found.all("h2")]


def test_page_is_well_formed_and_its_references_resolve() -> None:
    found = page(*every_kind())
    ids = [element.attributes["id"] for element in found.elements if "id" in element.attributes]
    assert len(set(ids)) == len(ids)
    for element in found.elements:
        for key in ("aria-labelledby", "href"):
            if key in element.attributes:
                assert element.attributes[key].removeprefix("#") in ids
    assert all(element.attributes.get("scope") in ("row", "col") for element in found.all("th"))
    assert len(found.all("h1")) == 1
    assert found.all("html")[0].attributes["lang"] == "en"


def test_page_asks_the_network_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "w.png").write_bytes(encode_picture(np.zeros((4, 4, 3), np.uint8), ".png"))
    worst = [{"source": "a.jpg", "mask_iou": 0.5, "what": "cat", "picture": "w.png"}]
    text = render(build(*every_kind(), target("w", stages={"verify": verified(worst=worst)})), tmp_path)
    found = Page(text)
    sources = [e.attributes[key] for e in found.elements for key in ("src", "srcset", "data") if key in e.attributes]
    assert len(sources) == 1
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert all(e.attributes["href"].startswith("#") for e in found.elements if "href" in e.attributes)
    assert found.all("script", "link", "iframe", "object", "embed", "base", "form") == []
    assert not re.search(r"https?:|url\(|@import", text)


def test_texts_of_a_build_never_become_markup() -> None:
    def elements(text: str) -> list[tuple[str, list[str]]]:
        html = render(replaced(build(*every_kind()), text), Path())
        assert text in Page(html).text
        return [(element.tag, sorted(element.attributes)) for element in Page(html).elements]

    assert elements(HOSTILE) == elements("x" * len(HOSTILE))


def test_class_name_of_markup_is_shown_as_written() -> None:
    names = [element.text for element in page(class_names=["<script>", "a & b"], classes=2).all("li")]
    assert names == ["<script>", "a & b"]


def test_worst_picture_is_embedded_byte_for_byte(tmp_path: Path) -> None:
    data = encode_picture(np.full((8, 24, 3), 7, np.uint8), ".png")
    (tmp_path / "verify").mkdir()
    (tmp_path / "verify/worst-1.png").write_bytes(data)
    worst = [{"source": "/far/a.jpg", "mask_iou": 0.5, "what": "cat 0.41", "picture": "verify/worst-1.png"}]
    found = page(target(stages={"verify": verified(worst=worst)}), folder=tmp_path)
    (image,) = found.all("img")
    assert base64.b64decode(image.attributes["src"].partition(",")[2]) == data
    assert image.attributes["alt"] == "Reference, artifact and difference: cat 0.41"
    assert "cat 0.41 in a.jpg" in [element.text for element in found.all("figcaption")]


def _outside(folder: Path, png: bytes) -> str:
    (folder.parent / "secret.png").write_bytes(png)
    return "../secret.png"


def _link(folder: Path, png: bytes) -> str:
    (folder.parent / "secret.png").write_bytes(png)
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    return "link.png"


def _no_png(folder: Path, png: bytes) -> str:
    (folder / "notes.png").write_bytes(b"no picture")
    return "notes.png"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(_outside, id="outside"),
        pytest.param(lambda folder, png: str(folder.parent / _outside(folder, png)[3:]), id="absolute"),
        pytest.param(_link, id="link"),
        pytest.param(_no_png, id="no-png"),
        pytest.param(lambda folder, png: "gone.png", id="gone"),
        pytest.param(lambda folder, png: "", id="unnamed"),
    ],
)
def test_file_that_is_no_picture_of_the_build_is_not_embedded(
    tmp_path: Path, make: Callable[[Path, bytes], str]
) -> None:
    folder = tmp_path / "build"
    folder.mkdir()
    named = make(folder, encode_picture(np.zeros((4, 4, 3), np.uint8), ".png"))
    worst = [{"source": "a.jpg", "mask_iou": 0.5, "what": "cat 0.41", "picture": named}]
    found = page(target(stages={"verify": verified(worst=worst)}), folder=folder)
    assert found.all("img") == []
    assert "There is no picture of them in the build's folder. cat 0.41 in a.jpg" in found.text


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(build(target(outcome="exploded")), id="outcome"),
        pytest.param(build(target(gates={"smell_max": 1.0})), id="gate"),
    ],
)
def test_unknown_word_is_refused_with_the_known_ones(content: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="does not know") as caught:
        render(content, Path())
    assert "passed" in caught.value.hint or "mask_iou_min" in caught.value.hint


def test_absent_jinja2_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(EnvironmentMissingError) as caught:
        render(build(), Path())
    assert caught.value.hint == "pip install 'edgeseg[train]'"
