"""docs/targets.md is complete and right: its target is the one that is tested, and its steps work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from edgeseg.target import Target

PAGE = Path(__file__).resolve().parents[2] / "docs" / "targets.md"
PLAIN = Path(__file__).with_name("plain_target.py")
TEXT = PAGE.read_text()
TARGET, *TESTS = re.findall(r"```python\n(.+?)```", TEXT, re.DOTALL)
(PROJECT,) = re.findall(r"```toml\n(.+?)```", TEXT, re.DOTALL)


def test_the_target_of_the_page_is_the_tested_one() -> None:
    assert PLAIN.read_text() == TARGET


def test_the_page_lists_the_whole_contract() -> None:
    named = set(re.findall(r"^\| `(\w+)(?:\(.*\))?` \|", TEXT, re.MULTILINE))
    assert named == set(Target.__annotations__) | Target.__abstractmethods__


def test_the_page_links_to_files_that_are_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not (PAGE.parent / link).is_file()] == []


def test_the_steps_of_the_page_work(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "edgeseg_plain.py").write_text(TARGET)
    (tmp_path / "source" / "pyproject.toml").write_text(PROJECT)
    command = "-m pip install -q --no-deps --no-build-isolation --no-index --target site ./source"
    _run(tmp_path, *command.split())
    for number, tests in enumerate(TESTS):
        (tmp_path / f"test_plain{number}.py").write_text(tests)
    # The whole suite runs over the same code in test_conformance.py; here a part shows that it is wired up.
    output = _run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "attributes or own_artifact")
    assert re.search(r"\b6 passed\b", output), output


def _run(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder / "site")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
