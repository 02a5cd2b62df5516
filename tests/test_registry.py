"""Targets by entry point: third parties', broken ones, absent ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgeseg import registry
from edgeseg.errors import ArtifactError, EnvironmentMissingError, UsageError

THIRD_PARTY = """
from edgeseg.target import Capabilities, EnvReport, Options, Target

class Acme(Target):
    name = "acme"
    summary = "the Acme NPU"
    capabilities = Capabilities(precisions=("int8",), suffix=".acme", compile_hardware="an Acme board")
    options_type = Options
    run_options_type = Options
    def check_env(self): return EnvReport(("the Acme SDK is not installed",), "get it from Acme")
    def recognizes(self, path): return path.suffix == ".acme"
    def export(self, request): raise NotImplementedError
    def read_metadata(self, path): raise NotImplementedError
    def inspect(self, artifact): raise NotImplementedError
    def open(self, artifact, options): raise NotImplementedError

target = Acme()
not_a_target = "a string"
"""

ENTRY_POINTS = """[edgeseg.targets]
acme = acme_edge:target
other = acme_edge:target
stringly = acme_edge:not_a_target
missing = no_such_module:target
crashing = acme_crash:target
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder that holds a package with one good and four broken entry points."""
    (tmp_path / "acme_edge.py").write_text(THIRD_PARTY)
    (tmp_path / "acme_crash.py").write_text("raise RuntimeError('no driver')\n")
    info = tmp_path / "acme_edge-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-edge\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return tmp_path


def _edgeseg(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); from edgeseg.cli import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={"COLUMNS": "160", "HOME": str(folder)}
    )


def test_third_party_target_is_listed_with_its_remedy(installed: Path) -> None:
    run = _edgeseg(installed, "targets")
    assert run.returncode == 0, run.stderr
    assert "the Acme NPU" in run.stdout
    assert "acme: get it from Acme" in run.stdout


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("other", "gives <acme_edge.Acme object"),
        ("stringly", "gives 'a string'"),
        ("missing", "does not import: ModuleNotFoundError"),
        ("crashing", "does not import: RuntimeError('no driver')"),
    ],
)
def test_broken_target_explains_itself_and_breaks_nothing_else(installed: Path, name: str, expected: str) -> None:
    assert _edgeseg(installed, "--help").returncode == 0
    assert "onnx" in _edgeseg(installed, "targets").stdout
    run = _edgeseg(installed, "targets", "check", name)
    assert run.returncode == 3
    assert expected in run.stderr
    assert "acme-edge" in run.stderr


def test_unusable_target_exits_with_the_missing_part(installed: Path) -> None:
    run = _edgeseg(installed, "targets", "check", "acme")
    assert run.returncode == 3
    assert "the Acme SDK is not installed" in run.stderr
    assert "get it from Acme" in run.stderr


def test_unknown_format_has_a_remedy() -> None:
    with pytest.raises(UsageError) as caught:
        registry.load("onxx")
    assert caught.value.hint == "did you mean 'onnx'?"


def test_format_without_a_target_is_an_environment_missing() -> None:
    with pytest.raises(EnvironmentMissingError, match="no target is registered for the format 'tensorrt'"):
        registry.load("tensorrt")


@pytest.mark.parametrize("name", ["missing.onnx", "text.onnx", "folder"])
def test_what_is_no_artifact_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArtifactError, match=name):
        registry.recognize(tmp_path / name)


def test_unknown_option_names_the_supported_ones() -> None:
    target = registry.load("onnx")
    with pytest.raises(UsageError) as caught:
        registry.parse_options(target.options_type, {"opsett": 17}, "option of onnx")
    assert "opsett" in caught.value.message
    assert "opset" in caught.value.hint


@pytest.mark.parametrize("opset", [12, 21, "seventeen", 17.5])
def test_option_out_of_its_range_is_refused(opset: object) -> None:
    with pytest.raises(UsageError, match="opset"):
        registry.parse_options(registry.load("onnx").options_type, {"opset": opset}, "option of onnx")
