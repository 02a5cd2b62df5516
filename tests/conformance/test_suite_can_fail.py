"""The conformance suite finds faults: each broken target fails the tests that are about its fault."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.conformance.broken_targets import FAULTS

ROOT = Path(__file__).resolve().parents[2]
BROKEN = Path("tests/conformance/broken_targets.py")
NODES = [(f"Test{kind.__name__}", name) for kind, names in FAULTS.items() for name in names]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """(class, test) to the assertion that failed; tests that passed are absent."""
    folder = tmp_path_factory.mktemp("broken")
    options = ("-q", "-p", "no:cacheprovider", "--basetemp", f"{folder}/temp", "--junitxml", f"{folder}/report.xml")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(f"{BROKEN}::{kind}::{name}" for kind, name in NODES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout[-2000:]
    cases = ElementTree.parse(folder / "report.xml").iter("testcase")
    return {
        (case.attrib["classname"].rpartition(".")[2], case.attrib["name"]): failure.attrib["message"]
        for case in cases
        if (failure := case.find("failure")) is not None
    }


@pytest.mark.parametrize(("kind", "name"), NODES, ids=[f"{kind}-{name}" for kind, name in NODES])
def test_a_fault_fails_its_test(outcomes: dict[tuple[str, str], str], kind: str, name: str) -> None:
    assert (kind, name) in outcomes
    assert outcomes[kind, name]
