"""What is shipped, and what an import costs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import tomllib

import edgeseg
from edgeseg.registry import GROUP

ROOT = Path(__file__).resolve().parents[1]
TARGET_FILES = {"__init__.py", "options.py", "export.py", "runner.py", "inspect.py", "requirements.txt", "README.md"}
TARGETS = sorted(path.name for path in (ROOT / "targets").iterdir() if path.is_dir() and path.name != "__pycache__")
VENDORS = ("torch", "onnx", "onnxruntime", "onnxsim", "onnxslim", "cv2", "pycocotools", "safetensors", "jinja2")
NEEDS_TORCH = {
    "edgeseg.model.blocks",
    "edgeseg.model.fuse",
    "edgeseg.model.graph",
    "edgeseg.model.head",
    "edgeseg.model.network",
    "edgeseg.model.reference",
}
"""The only modules that may import torch when they are imported."""


def _python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("target", TARGETS)
def test_target_folder_has_the_same_files_as_every_other(target: str) -> None:
    found = {path.name for path in (ROOT / "targets" / target).iterdir()} - {"__pycache__"}
    assert found == TARGET_FILES


def test_target_folders_are_the_entry_points() -> None:
    assert sorted(point.name for point in entry_points(group=GROUP)) == TARGETS


def test_every_package_is_listed_in_pyproject() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {path.parent for path in (ROOT / "edgeseg").rglob("__init__.py")}
    expected = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    expected |= {"edgeseg_cards", "edgeseg_targets"} | {f"edgeseg_targets.{name}" for name in TARGETS}
    assert listed == expected


def test_wheel_holds_every_file_that_the_package_reads(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    data = ("*.py", "*.yaml", "*.html", "*.typed", "*.jpg", "*.json", "*.txt", "README.md", "SOURCES.md")
    for folder, shipped in (("edgeseg", "edgeseg"), ("cards", "edgeseg_cards"), ("targets", "edgeseg_targets")):
        here = {
            path.relative_to(ROOT / folder).as_posix() for pattern in data for path in (ROOT / folder).rglob(pattern)
        }
        assert {f"{shipped}/{name}" for name in here} <= names


def test_public_names_are_the_visible_ones() -> None:
    assert sorted(edgeseg.__all__) == edgeseg.__all__
    assert set(dir(edgeseg)) == {*edgeseg.__all__, "__version__"}
    assert all(getattr(edgeseg, name) is not None for name in edgeseg.__all__)


def test_import_brings_no_heavy_package() -> None:
    found = _python("import sys, edgeseg; print(*{name.partition('.')[0] for name in sys.modules})").stdout.split()
    assert not set(found) & {*VENDORS, "numpy", "pydantic", "click", "yaml", "rich"}


def test_help_brings_no_heavy_package() -> None:
    code = (
        "import sys\nsys.argv = ['edgeseg', '--help']\nfrom edgeseg.cli import main\n"
        "try:\n    main()\nfinally:\n    print(*{name.partition('.')[0] for name in sys.modules})"
    )
    run = _python(code)
    assert "Commands:" in run.stdout
    assert not set(run.stdout.splitlines()[-1].split()) & {*VENDORS, "numpy", "pydantic", "yaml", "rich"}


def test_modules_import_without_optional_packages() -> None:
    blocked = [
        "torch",
        "onnx",
        "onnxruntime",
        "onnxsim",
        "onnxslim",
        "pycocotools",
        "safetensors",
        "jinja2",
        "supervision",
    ]
    code = f"""
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys({blocked!r}))
import edgeseg
for module in pkgutil.walk_packages(edgeseg.__path__, "edgeseg."):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        print(module.name, error.name)
"""
    run = _python(code)
    assert run.returncode == 0, run.stderr
    failed = {line.split()[0] for line in run.stdout.splitlines()}
    assert failed == NEEDS_TORCH


def test_predicting_with_an_exported_file_does_not_import_torch(shared: Path, tmp_path: Path) -> None:
    from edgeseg.export import export

    artifact = export(shared / "weights/yolov8n-seg.pt", "onnx", output_dir=tmp_path).path
    code = """
import sys
sys.modules.update(dict.fromkeys(["torch", "onnx", "onnxsim", "pycocotools", "safetensors"]))
from edgeseg.cli import main
sys.argv = ["edgeseg", "predict", *sys.argv[1:]]
main()
"""
    run = _python(code, str(artifact), str(shared / "media/bus.jpg"))
    assert run.returncode == 0, run.stderr
    assert "4 person, 1 bus" in run.stdout
