"""A third party's target, and a venv of it that was really made."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeseg import registry
from edgeseg.environments.venv import FOLDER_VARIABLE
from tests.environments.third_party import ThirdParty, install_third_party


@pytest.fixture(scope="session")
def third_party(tmp_path_factory: pytest.TempPathFactory) -> ThirdParty:
    """The target ``small``, for processes of their own."""
    return install_third_party(tmp_path_factory.mktemp("third-party"))


@pytest.fixture(scope="session")
def made_venv(third_party: ThirdParty, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of environments in which ``edgeseg targets install small`` made one."""
    folder = tmp_path_factory.mktemp("environments")
    done = third_party.edgeseg("targets", "install", "small", EDGESEG_ENVIRONMENTS=str(folder))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"small: {folder / 'small'}")
    return folder


@pytest.fixture
def small(third_party: ThirdParty, monkeypatch: pytest.MonkeyPatch) -> Iterator[registry.Entry]:
    """The target ``small``, registered in this process."""
    monkeypatch.syspath_prepend(str(third_party.site))
    registry.entries.cache_clear()
    yield registry.entries()["small"]
    registry.entries.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "third_small"]:
        del sys.modules[name]


@pytest.fixture
def environments(made_venv: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the venv of ``small``, as the one that this process uses."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(made_venv))
    return made_venv


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a container engine."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("EDGESEG_ENGINE", raising=False)
