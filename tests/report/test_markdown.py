"""The Markdown page: complete, and no text of a build becomes markup. Read by markdown-it, which is not ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from edgeseg.report.markdown import render_markdown
from edgeseg.report.merge import merge
from tests.finished_build import finished, result_of
from tests.report.example import Page, absent, build, target

HOSTILE = "a|b\n# `x` <script>alert(1)</script> [l](http://h) ![i](u) **b** _e_ ~~s~~ &lt; \\| \u2028 ```"


def page(content: dict[str, Any]) -> Page:
    """As CommonMark with tables, raw HTML kept: a tag that gets through would be an element."""
    body = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(render_markdown(content))
    return Page(f"<body>{body}</body>")


def test_targets_have_outcome_and_numbers() -> None:
    stages = target()["stages"] | {"benchmark": {"latency_ms": {"p50": 12.34}}}
    shown = page(build(target(stages=stages), absent("tensorrt-fp16")))
    assert "1 failed" in shown.all("h1")[0].text
    assert "onnx-fp32 differs 0.9812 0.999960 7.868e-06 12.3 13.7" in shown.rows
    assert "tensorrt-fp16 not built here" in shown.rows


def test_gates_have_value_limit_and_margin() -> None:
    rows = page(build(target())).rows
    assert "onnx-fp32 smallest mask IoU (at least) not met 0.98125 0.99 \N{MINUS SIGN}0.00875" in rows
    assert "onnx-fp32 largest score error (at most) met 7.868e-06 0.0001 +9.21e-05" in rows
    assert "onnx-fp32 median latency, ms (at most) not judged 30" in rows
    assert sum(row.startswith("onnx-fp32 smallest mask IoU") for row in rows) == 1


def test_a_device_result_has_rows_of_its_own(tmp_path: Path) -> None:
    folder, content = finished(tmp_path)
    content["targets"][1]["gates"] = {"latency_p50_ms_max": 30.0}
    merge(content, result_of(content), folder)
    shown = page(content)
    assert shown.all("h1")[0].text == "n-seg: 2 of 2 targets passed"
    assert "coreml-fp16 to finish on its device 0.0" in shown.rows
    assert "coreml-fp16, on its device passed 0.9812 0.999960 7.868e-06 12.5 0.0" in shown.rows
    assert "coreml-fp16, on its device median latency, ms (at most) met 12.5 30 +17.5" in shown.rows
    assert not any("not judged" in row and row.startswith("coreml-fp16") for row in shown.rows)


@pytest.mark.parametrize("where", ["name", "message", "environment", "card", "id"])
def test_texts_never_become_markup(where: str) -> None:
    ours = {element.tag for element in page(build(target())).elements}
    row = target(**({"message": HOSTILE} if where == "message" else {"id": HOSTILE} if where == "id" else {}))
    content = build(row, **({"name": HOSTILE} if where == "name" else {}))
    if where == "environment":
        content["environment"] = {HOSTILE: HOSTILE}
    if where == "card":
        content["card"]["path"] = HOSTILE
    shown = page(content)
    assert {element.tag for element in shown.elements} <= ours
    plain = "a|b # `x` <script>alert(1)</script> [l](http://h) ![i](u) **b** _e_ ~~s~~ &lt; \\| ```"
    assert plain in shown.text


def test_the_command_stays_in_its_block_whatever_it_holds() -> None:
    shown = page(build(target(), command=["edgeseg", "build", "a\n```\n# out\n<b>"]))
    assert [element.text for element in shown.all("code")] == ["edgeseg build 'a ``` # out <b>'"]
    assert not shown.all("b")
