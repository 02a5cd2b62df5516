"""The registry: third-party targets by entry point, broken ones explain themselves, nothing else suffers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeseg import registry
from edgeseg.errors import ArtifactError, EnvironmentMissingError, UsageError

PLAIN = Path(__file__).parent / "conformance" / "plain_target.py"

# Entry point name to the module's text. Each is a package of its own, as a user would have installed it.
PACKAGES = {
    "plain": PLAIN.read_text(),
    "importfails": "import no_such_vendor_sdk\n",
    "syntax": "def broken(:\n",
    "noattribute": "other = 1\n",
    "wrongclass": "target = {'name': 'wrongclass'}\n",
    "wrongname": "from third_plain import PlainTarget\ntarget = PlainTarget()\n",
    "nameless": """\
from third_plain import PlainTarget
from edgeseg.target import Target
class Nameless(Target):
    summary = "no name"
    check_env = recognizes = export = read_metadata = inspect = open = None
target = Nameless()
""",
    "checkfails": """\
from third_plain import PlainTarget
class Fails(PlainTarget):
    name = "checkfails"
    def check_env(self):
        raise OSError("driver not loaded")
target = Fails()
""",
    "recognizefails": """\
from third_plain import PlainTarget
class Fails(PlainTarget):
    name = "recognizefails"
    def recognizes(self, path):
        raise OSError("driver not loaded")
target = Fails()
""",
    "needy": """\
from third_plain import PlainTarget
from edgeseg.target import EnvReport
class Needy(PlainTarget):
    name = "needy"
    def check_env(self):
        return EnvReport(("needysdk is not installed",), "pip install needysdk")
    def recognizes(self, path):
        return False
target = Needy()
""",
    "twice": "from third_plain import PlainTarget\nclass Twice(PlainTarget):\n    name = 'twice'\ntarget = Twice()\n",
}

BROKEN = {
    "importfails": "third-importfails.*no_such_vendor_sdk",
    "syntax": "third-syntax.*SyntaxError",
    "noattribute": "third-noattribute.*AttributeError",
    "wrongclass": "third-wrongclass.*gives {'name': 'wrongclass'}, expected an instance of edgeseg.target.Target",
    "wrongname": "third-wrongname.*named 'plain', expected 'wrongname'",
    "nameless": "third-nameless.*without name, capabilities, options_type, run_options_type",
    "checkfails": "third-checkfails.*driver not loaded",
    "twice": "third-again.*third-twice.*all register it",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed third-party packages, to be put on the path of a fresh interpreter."""
    folder = tmp_path_factory.mktemp("site")
    for name, text in PACKAGES.items():
        (folder / f"third_{name}.py").write_text(text)
        _install(folder, f"third-{name}", f"{name} = third_{name}:target")
    _install(folder, "third-again", "twice = third_twice:target")
    return folder


@pytest.fixture(scope="module")
def listed(site: Path) -> dict[str, Any]:
    """What `edgeseg targets --json` says with these packages installed."""
    done = edgeseg(site, "targets", "--json")
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)["targets"]}


def test_third_party_target_shows_up(listed: dict[str, Any]) -> None:
    row = listed["plain"]
    assert (row["registered"], row["usable"], row["precisions"]) == (True, True, ["fp32"])
    assert row["summary"] == "A zip of weights, run by PyTorch"


def test_third_party_target_exports_and_its_file_is_recognized(site: Path, tiny_weights: Path, tmp_path: Path) -> None:
    # A neighbour whose `recognizes` raises is passed over, with a warning that names it.
    program = (
        "import sys, edgeseg; from edgeseg.export import export; from pathlib import Path\n"
        "artifact = export(Path(sys.argv[1]), 'plain', output_dir=Path(sys.argv[2]), deflate=True)\n"
        "print(edgeseg.load(artifact.path, threads=1).metadata.format)\n"
    )
    done = python(site, "-c", program, str(tiny_weights), str(tmp_path))
    assert done.stdout == "plain\n", done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny-plain-fp32.edgeseg.json", "tiny-plain-fp32.plain"]


def test_target_that_fails_on_a_file_is_passed_over_with_a_warning(site: Path, tmp_path: Path) -> None:
    (tmp_path / "other.bin").write_bytes(b"something else")
    done = edgeseg(site, "predict", tmp_path / "other.bin", tmp_path)
    assert done.returncode == 2
    assert "'recognizefails' failed on" in done.stderr.replace("\n", " ")
    assert "plain" in done.stderr


@pytest.mark.parametrize("name", BROKEN)
def test_broken_target_explains_itself(listed: dict[str, Any], name: str) -> None:
    row = listed[name]
    assert (row["registered"], row["usable"]) == (False, False)
    (problem,) = row["problems"]
    assert re.search(BROKEN[name], problem), problem
    assert "third-" in row["remedy"]


def test_broken_targets_leave_the_others_alone(listed: dict[str, Any]) -> None:
    assert {name for name, row in listed.items() if row["usable"]} >= {"plain", "onnx", "torchscript"}


def test_broken_targets_leave_the_table_and_the_help_alone(site: Path) -> None:
    table = edgeseg(site, "targets")
    assert table.returncode == 0
    assert "needy: pip install needysdk" in table.stdout
    assert set(BROKEN) <= set(re.findall(r"^(\w+) +no ", table.stdout, re.MULTILINE))
    assert edgeseg(site, "--help").returncode == 0


def test_using_a_broken_target_is_a_missing_environment(site: Path, tiny_weights: Path, tmp_path: Path) -> None:
    done = edgeseg(site, "export", tiny_weights, "--format", "importfails", "--output", tmp_path)
    assert done.returncode == 3
    assert "no_such_vendor_sdk" in done.stderr
    assert "Traceback" not in done.stderr


def test_target_without_its_sdk_says_how_to_get_it(site: Path, listed: dict[str, Any]) -> None:
    assert (listed["needy"]["registered"], listed["needy"]["usable"]) == (True, False)
    done = edgeseg(site, "targets", "check", "needy")
    assert done.returncode == 3
    assert "needysdk is not installed" in done.stderr
    assert "pip install needysdk" in done.stderr


def test_unknown_format_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="'onx'") as caught:
        registry.load("onx")
    assert caught.value.hint == "did you mean 'onnx'?"


def test_known_format_without_a_target_is_a_missing_environment() -> None:
    absent = [entry.name for entry in registry.entries().values() if entry.target is None]
    if not absent:
        pytest.skip("every known format has a target")
    with pytest.raises(EnvironmentMissingError, match=absent[0]) as caught:
        registry.load(absent[0])
    assert caught.value.hint


def test_entries_hold_every_known_format_once_and_sorted() -> None:
    from edgeseg.devices import catalogue

    names = list(registry.entries())
    assert names == sorted(names)
    assert set(catalogue().formats) <= set(names)


def test_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file"):
        registry.recognize(tmp_path / "absent.onnx")


@pytest.mark.parametrize("name", ["notes.onnx", "folder"])
def test_what_is_no_artifact_lists_the_registered_targets(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.onnx").write_text("nothing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArtifactError, match=re.escape(str(tmp_path / name))) as caught:
        registry.recognize(tmp_path / name)
    assert "onnx" in caught.value.hint
    assert "torchscript" in caught.value.hint


def _install(folder: Path, package: str, entry: str) -> None:
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[edgeseg.targets]\n{entry}\n")


def python(site: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path]), "COLUMNS": "200"}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=120)


def edgeseg(site: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    script = shutil.which("edgeseg", path=str(Path(sys.executable).parent))
    assert script is not None
    return python(site, script, *arguments)
