"""`edgeseg doctor` on this very machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeseg.registry import entries
from tests.cli.running import run


def rows(*arguments: object) -> list[dict[str, object]]:
    done = run("doctor", "--json", *arguments)
    content: list[dict[str, object]] = json.loads(done.out)["findings"]
    return content


def test_doctor_tells_of_every_area_and_format(tmp_path: Path) -> None:
    found = rows("--output", tmp_path)
    areas = {str(row["area"]) for row in found}
    assert areas >= {"python", "packages", "processor", "memory", "results", "cache", "gpu", "engine", "conflicts"}
    formats = [row["facts"] for row in found if row["area"] == "formats"]
    assert [facts["format"] for facts in formats if isinstance(facts, dict)] == list(entries())
    # A level that is not ok says what to do.
    assert [row for row in found if row["level"] != "ok" and not row["remedy"]] == []


def test_a_healthy_machine_exits_with_zero_and_shows_every_text(tmp_path: Path) -> None:
    done = run("doctor", "--output", tmp_path)
    assert (done.code, done.err) == (0, "")
    for row in rows("--output", tmp_path):
        assert str(row["text"]) in " ".join(done.out.split())


def test_results_that_cannot_be_written_exit_with_three(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("doctor", "--output", tmp_path / "file" / "runs")
    assert done.code == 3
    assert "is no folder" in done.err
    assert "--output" in done.err
    assert not (tmp_path / "file" / "runs").exists()


def test_nothing_is_written_and_torch_is_not_imported(tmp_path: Path) -> None:
    program = (
        "import json, sys\n"
        "from edgeseg.doctor.examine import examine\n"
        "from pathlib import Path\n"
        "examine(Path('runs'))\n"
        "print(json.dumps([name for name in ('torch', 'onnx', 'onnxruntime', 'jinja2') if name in sys.modules]))\n"
    )
    environment = {**os.environ, "EDGESEG_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == []
    assert list(tmp_path.iterdir()) == []


def test_deep_asks_torch() -> None:
    pytest.importorskip("torch")
    (found,) = [row for row in rows("--deep") if row["area"] == "torch"]
    assert "PyTorch" in str(found["text"])
    assert [row for row in rows() if row["area"] == "torch"] == []
