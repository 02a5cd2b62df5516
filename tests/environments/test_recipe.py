"""What environments are made from: pinned lines, and wheels of what is installed here."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import edgeseg
from edgeseg.environments.logged import Log
from edgeseg.environments.package import installed_package
from edgeseg.environments.recipe import recipe_of
from edgeseg.errors import EnvironmentMissingError, UsageError
from edgeseg.registry import Entry
from tests.environments.third_party import PIN, ThirdParty

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "docker").glob("*/Dockerfile"))


def names(lines: tuple[str, ...] | list[str]) -> set[str]:
    return {re.split(r"[=<>;]", line)[0] for line in lines}


def test_core_lines_are_the_pins_that_ci_proves_for_every_core_dependency() -> None:
    core = recipe_of("torchscript").core
    pins = {line.partition(";")[0] for line in core}
    assert pins <= set((ROOT / "constraints.txt").read_text().splitlines())
    declared = re.search(
        r"^dependencies = \[\n(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL
    )
    assert declared is not None
    assert names(re.findall(r'"([^"]+)"', declared[1])) <= names(core)


def test_recipe_of_a_built_in_target() -> None:
    recipe = recipe_of("onnx")
    assert recipe.torch() == ("torch==2.13.0",)
    assert list(recipe.requirements) == (ROOT / "targets" / "onnx" / "requirements.txt").read_text().splitlines()
    assert recipe.versions == {"edgeseg": edgeseg.__version__}


def test_recipe_of_a_third_party_holds_its_package_and_its_own_pins(small: Entry, third_party: ThirdParty) -> None:
    recipe = recipe_of("small")
    assert recipe.requirements == (PIN,)
    assert recipe.versions == {"edgeseg": edgeseg.__version__, "third-small": "1.0"}
    before, core = recipe.sha256, names(recipe.core)
    whole = third_party.requirements.read_text()
    try:
        third_party.requirements.write_text("NumPy==1.26.4\n")
        own = recipe_of("small")
        third_party.requirements.unlink()
        with pytest.raises(EnvironmentMissingError, match=r"'small' brings no requirements\.txt"):
            recipe_of("small")
    finally:
        third_party.requirements.write_text(whole)
    assert names(own.core) == core - {"numpy"}
    assert own.sha256 != before


def test_unknown_target_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="'onx'"):
        recipe_of("onx")


def test_wheel_of_a_source_folder_is_the_same_twice_and_leaves_nothing_there(
    small: Entry, third_party: ThirdParty, tmp_path: Path
) -> None:
    package = installed_package("third-small")
    assert (package.requirement, package.editable) == (str(third_party.source), False)
    stale = third_party.source / "build" / "lib" / "third_small" / "stale.py"
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.write_text("raise SystemExit")
    before = {path for path in third_party.source.rglob("*") if "egg-info" not in str(path)}
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(package.make_wheel(tmp_path / name, Log(tmp_path / "log")))
    assert made[0].read_bytes() == made[1].read_bytes()
    with zipfile.ZipFile(made[0]) as wheel:
        assert {name for name in wheel.namelist() if "dist-info" not in name} == {
            f"third_small/{name}" for name in ("__init__.py", "plain.py", "requirements.txt")
        }
    assert {path for path in third_party.source.rglob("*") if "egg-info" not in str(path)} == before


def test_log_keeps_what_a_command_that_cannot_start_is(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    with pytest.raises(EnvironmentMissingError, match=r"trying failed: /no/such: No such file"):
        log.run(["/no/such", "x"], "trying")
    assert (tmp_path / "log").read_text() == "$ /no/such x\n"


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_dockerfiles_have_no_lint(path: Path) -> None:
    done = subprocess.run([Path(sys.executable).with_name("hadolint"), path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert "syntax=" not in path.read_text()


DIFFERENT = {
    "tensorrt": "on NVIDIA's image, whose Python takes packages in a venv only",
    "tensorrt-jetson": "on NVIDIA's JetPack image, which finishes bundles and exports nothing",
    "edgetpu": "on top of the tflite target's image: Coral's compiler, from an archive that its builder names",
    "paddle": "with the OpenMP library that Paddle needs and slim bases lack",
}
"""Dockerfiles that do not follow the others, and why."""


def test_dockerfiles_differ_by_the_target_alone() -> None:
    followers = [path for path in DOCKERFILES if path.parent.name not in DIFFERENT]
    texts = {path.read_text().replace(path.parent.name, "TARGET") for path in followers}
    assert len(texts) == 1
