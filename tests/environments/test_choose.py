"""Which environment a target gets, and what is said where there is none."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgeseg import registry
from edgeseg.environments.choose import choose
from edgeseg.environments.contract import Isolation
from edgeseg.environments.venv import FOLDER_VARIABLE
from edgeseg.errors import EnvironmentMissingError
from edgeseg.registry import Entry
from edgeseg.target import EnvReport

pytestmark = pytest.mark.usefixtures("no_engine")


@pytest.mark.parametrize("isolation", ["auto", "process"])
def test_usable_target_runs_here(isolation: Isolation) -> None:
    entry = registry.entries()["onnx"]
    chosen = choose(entry, isolation)
    assert (chosen.kind, chosen.describe(), chosen.versions) == ("process", sys.executable, entry.report.versions)


@pytest.mark.parametrize("isolation", ["auto", "venv"])
def test_target_without_its_sdk_here_runs_in_its_venv(small: Entry, environments: Path, isolation: Isolation) -> None:
    assert choose(small, isolation).kind == "venv"


def test_usable_target_runs_here_though_it_has_a_venv(small: Entry, environments: Path) -> None:
    usable = replace(small, report=EnvReport(versions={"humanize": "5"}))
    chosen = choose(usable, "auto")
    assert (chosen.kind, chosen.versions) == ("process", {"humanize": "5"})
    assert choose(usable, "venv").kind == "venv"


@pytest.mark.parametrize(
    ("isolation", "message", "hints"),
    [
        ("process", "humanize is not installed, which running needs", ["pip install 'edgeseg[small]'"]),
        ("venv", "the target 'small' has no venv", ["edgeseg targets install small"]),
        ("docker", "neither docker nor podman is on PATH", ["EDGESEG_ENGINE", "--engine"]),
        ("auto", "has no environment", ["pip install 'edgeseg[small]'", "edgeseg targets install small", "--engine"]),
    ],
)
def test_missing_environment_lists_the_commands(
    small: Entry,
    isolation: Isolation,
    message: str,
    hints: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(EnvironmentMissingError, match=message) as caught:
        choose(small, isolation)
    assert [hint for hint in hints if hint not in caught.value.hint] == []


def test_named_engine_that_is_not_there_is_named() -> None:
    with pytest.raises(EnvironmentMissingError, match="the container engine 'nerdctl' is not there"):
        choose(registry.entries()["onnx"], "docker", engine="nerdctl")


@pytest.mark.parametrize("isolation", ["auto", "venv", "docker"])
def test_format_without_a_target_keeps_its_own_words(isolation: Isolation) -> None:
    absent = Entry("tnn", "another", None, EnvReport(("no target is registered for 'tnn'",), "update"))
    with pytest.raises(EnvironmentMissingError, match="no target is registered for 'tnn'") as caught:
        choose(absent, isolation)
    assert caught.value.hint == "update"
