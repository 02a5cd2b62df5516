"""The conformance suite finds faults: each broken target fails the tests that are about its fault."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.conformance.broken_targets import FAULTS, SKIPPED

ROOT = Path(__file__).resolve().parents[2]
BROKEN = Path("tests/conformance/broken_targets.py")
Outcomes = dict[tuple[str, str], tuple[str, str]]
NODES = [(f"Test{kind.__name__}", name) for kind, names in FAULTS.items() for name in names]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """(class, test) to what happened and its message; tests that passed are absent."""
    folder = tmp_path_factory.mktemp("broken")
    nodes = [*NODES, *(("TestNotHere", name) for name in SKIPPED)]
    options = ("-q", "-p", "no:cacheprovider", "--basetemp", f"{folder}/temp", "--junitxml", f"{folder}/report.xml")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(f"{BROKEN}::{kind}::{name}" for kind, name in nodes)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout[-2000:]
    cases = ElementTree.parse(folder / "report.xml").iter("testcase")
    return {
        (case.attrib["classname"].rpartition(".")[2], case.attrib["name"]): (what, found.attrib["message"])
        for case in cases
        for what in ("failure", "error", "skipped")
        if (found := case.find(what)) is not None
    }


@pytest.mark.parametrize(("kind", "name"), NODES, ids=[f"{kind}-{name}" for kind, name in NODES])
def test_a_fault_fails_its_test(outcomes: Outcomes, kind: str, name: str) -> None:
    what, message = outcomes[kind, name]
    assert what == "failure", message


@pytest.mark.parametrize("name", SKIPPED)
def test_an_absent_sdk_skips_with_its_sentence(outcomes: Outcomes, name: str) -> None:
    what, message = outcomes["TestNotHere", name]
    assert (what, message) == ("skipped", "plain: the plain SDK is not installed. pip install plainsdk")
