"""Venvs of targets, made for real from a third party's requirements."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from edgeseg.environments import venv
from edgeseg.environments.contract import Confinement
from edgeseg.environments.locked import locked
from edgeseg.errors import EnvironmentMissingError, UsageError
from edgeseg.registry import Entry
from tests.environments.third_party import PIN, ThirdParty

VERSIONS = dict([PIN.split("==")])


def test_venv_has_the_versions_that_a_check_there_tells(small: Entry, environments: Path) -> None:
    found = venv.find("small")
    assert found is not None
    assert (found.kind, found.target, found.versions) == ("venv", "small", VERSIONS)
    assert not small.report.usable


def test_command_runs_in_the_venv_and_not_here(
    small: Entry, environments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither PYTHONPATH nor the working folder may put another package in place of the venv's.
    (tmp_path / "humanize.py").write_text("raise SystemExit('not this one')")
    (tmp_path / "edgeseg.py").write_text("raise SystemExit('not this one')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = venv.find("small")
    assert found is not None
    command = found.command(["targets", "check", "small", "--json"], Confinement("test"))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["versions"] == VERSIONS


def test_list_and_check_tell_of_the_venv(third_party: ThirdParty, made_venv: Path) -> None:
    variables = {"EDGESEG_ENVIRONMENTS": str(made_venv)}
    done = third_party.edgeseg("targets", "check", "small", **variables)
    assert done.returncode == 3
    assert f"small: venv: {made_venv / 'small'}" in done.stdout
    assert "humanize is not installed" in done.stderr
    listed = third_party.edgeseg("targets", "--json", **variables)
    row = next(row for row in json.loads(listed.stdout)["targets"] if row["name"] == "small")
    assert (row["usable"], row["environments"]["venv"]["ready"]) == (False, True)


def test_there_is_no_venv_before_one_is_made(small: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(venv.FOLDER_VARIABLE, str(tmp_path))
    assert venv.find("small") is None


def test_default_folder_lies_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(venv.FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path))
    assert venv.environments_folder() == tmp_path / "environments"


@pytest.mark.parametrize("left", [b"", b'{"versions"', b"{}"], ids=["absent", "cut", "other"])
def test_half_made_venv_is_none(small: Entry, environments: Path, left: bytes) -> None:
    ready = environments / "small" / venv.READY
    whole = ready.read_bytes()
    try:
        ready.write_bytes(left)
        if not left:
            ready.unlink()
        assert venv.find("small") is None
    finally:
        ready.write_bytes(whole)


def test_venv_of_other_requirements_is_outdated(small: Entry, environments: Path, third_party: ThirdParty) -> None:
    whole = third_party.requirements.read_text()
    try:
        third_party.requirements.write_text("humanize==4.8.0\n")
        with pytest.raises(EnvironmentMissingError, match=r"outdated \(.*requirements changed\)") as caught:
            venv.find("small")
    finally:
        third_party.requirements.write_text(whole)
    assert caught.value.hint == "make it again: edgeseg targets install small"
    assert venv.find("small") is not None


@pytest.mark.parametrize("key", ["packages", "code"])
def test_venv_for_another_edgeseg_is_outdated(small: Entry, environments: Path, key: str) -> None:
    ready = environments / "small" / venv.READY
    whole = ready.read_bytes()
    content = json.loads(whole)
    content[key]["third-small"] = "0.0.1"
    try:
        ready.write_text(json.dumps(content))
        with pytest.raises(EnvironmentMissingError, match=rf"\({key} changed\)"):
            venv.find("small")
    finally:
        ready.write_bytes(whole)


def test_failed_install_shows_the_end_of_the_log_and_leaves_no_venv(
    small: Entry, third_party: ThirdParty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(venv.FOLDER_VARIABLE, str(tmp_path))
    whole = third_party.requirements.read_text()
    try:
        third_party.requirements.write_text("humanize==0.0.999\n")
        with pytest.raises(EnvironmentMissingError) as caught:
            venv.install("small", None, lambda line: None)
        assert venv.find("small") is None
    finally:
        third_party.requirements.write_text(whole)
    assert "installing the requirements of 'small' failed with exit code 1" in caught.value.message
    assert "No matching distribution found for humanize==0.0.999" in caught.value.message
    log = tmp_path / "small.log"
    assert caught.value.hint == f"the whole log: {log}"
    assert "-m venv" in log.read_text()


def test_second_install_at_the_same_time_is_refused(
    small: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(venv.FOLDER_VARIABLE, str(tmp_path))
    with locked(tmp_path / "small.lock"), pytest.raises(UsageError, match="another process"):
        venv.install("small", None, lambda line: None)


def test_interpreter_that_makes_no_venv_is_named(small: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(venv.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(EnvironmentMissingError, match="making the venv of 'small' failed"):
        venv.install("small", Path("/bin/false"), lambda line: None)
