"""`edgeseg report` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.running import run
from tests.finished_build import finished, result_of, save


def test_report_writes_the_pages_and_folds_results_in(tmp_path: Path) -> None:
    folder, content = finished(tmp_path)
    content["targets"][1]["gates"] = {}
    save(folder, content)
    result = tmp_path / "result.json"
    result.write_text(json.dumps(result_of(content)))
    done = run("report", folder, "--merge", result)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "merged: coreml-fp16: passed on its device",
        f"report: {folder / 'report.html'}",
        f"report: {folder / 'report.md'}",
    ]
    again = run("report", folder, "--json")
    assert json.loads(again.out) == json.loads((folder / "build.json").read_text())


def test_report_of_no_build_is_refused(tmp_path: Path) -> None:
    done = run("report", tmp_path)
    assert done.code == 2
    assert "build.json" in done.err
    assert run("report", tmp_path / "nowhere").code == 2
