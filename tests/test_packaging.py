"""What is shipped and what is imported: wheel contents, package lists, import cost, the public surface."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import cv2
import pytest

import edgeseg
from edgeseg import registry
from edgeseg.testing import tiny_picture

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[1]
TARGET_FILES = {
    "__init__.py",
    "options.py",
    "export.py",
    "runner.py",
    "inspect.py",
    "requirements.txt",
    "README.md",
}
TARGET_FOLDERS = sorted(path.parent.name for path in (ROOT / "targets").glob("*/__init__.py"))
OPTIONAL = (
    "torch",
    "tensorflow",
    "coremltools",
    "ncnn",
    "pnnx",
    "onnx",
    "onnxruntime",
    "onnxsim",
    "onnxslim",
    "openvino",
    "nncf",
    "jinja2",
    "safetensors",
    "pycocotools",
    "supervision",
)
HEAVY = {*OPTIONAL, "cv2", "numpy", "pydantic", "yaml", "rich"}

# What may need torch when it is imported: the network itself, and training.
NEED_TORCH = re.compile(r"edgeseg\.(model\.(blocks|fuse|graph|head|layers|network|reference)|train\..+)")

HIDE = """
import sys
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""
"""Makes the modules named in HIDDEN look as if they were not installed."""


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return content


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked; built from a copy, since setuptools leaves its work in the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("edgeseg", "targets", "cards", "docker"):
        ignored = shutil.ignore_patterns("__pycache__", "wheelhouse")
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    command = "-m pip wheel -q --no-deps --no-build-isolation --no-index -w . ./source"
    done = subprocess.run([sys.executable, *command.split()], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.parametrize("name", TARGET_FOLDERS)
def test_target_folder_has_the_files_of_every_target(name: str) -> None:
    found = {path.name for path in (ROOT / "targets" / name).iterdir() if path.name != "__pycache__"}
    assert found >= TARGET_FILES - {"requirements.txt"}
    assert ("requirements.txt" in found) == (_environment(name) == name)


def test_target_folders_are_the_entry_points(project: dict[str, Any]) -> None:
    declared = project["project"]["entry-points"]["edgeseg.targets"]
    assert declared == {name: f"edgeseg_targets.{name}:target" for name in TARGET_FOLDERS}
    assert {point.name for point in entry_points(group="edgeseg.targets")} >= set(TARGET_FOLDERS)


ADDED_TO_ANOTHER = {"edgetpu": "Coral's compiler, on top of the tflite target's image; built by hand, not shipped"}
"""Targets of another one's environment that have a Dockerfile all the same, and why."""


@pytest.mark.parametrize("name", TARGET_FOLDERS)
def test_every_target_has_a_dockerfile(name: str) -> None:
    assert (ROOT / "docker" / _environment(name) / "Dockerfile").is_file()
    assert (ROOT / "docker" / name).is_dir() == (_environment(name) == name or name in ADDED_TO_ANOTHER)


OTHER_PINS = {
    "paddle": {"onnx": "paddle2onnx takes none above 1.17"},
    "tflite": {"pydantic": "litert-converter needs typing-extensions below 4.13, pydantic above 2.11 a newer one"},
}
"""Packages that the environment of a target has in another version than CI's own, and why; `make own` proves those."""


@pytest.mark.parametrize("name", TARGET_FOLDERS)
def test_requirements_are_pinned_to_what_ci_proves(name: str) -> None:
    lines = (ROOT / "targets" / _environment(name) / "requirements.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines)
    proven = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    differing = {package for package, version in pins.items() if proven.get(package, version) != version}
    assert differing == OTHER_PINS.get(_environment(name), {}).keys()
    assert registry.load(name).check_env().versions.keys() <= pins.keys()


def _environment(name: str) -> str:
    """The target whose environment serves this one: itself where it shares none."""
    return registry.load(name).capabilities.environment or name


@pytest.mark.parametrize("name", TARGET_FOLDERS)
def test_extra_of_a_target_exists(project: dict[str, Any], name: str) -> None:
    extra = registry.load(name).capabilities.extra
    assert extra == "" or extra in project["project"]["optional-dependencies"]


def test_package_list_is_complete(project: dict[str, Any]) -> None:
    places = {"edgeseg": "edgeseg", "targets": "edgeseg_targets", "cards": "edgeseg_cards", "docker": "edgeseg_docker"}
    found = [
        ".".join((package, *path.parent.relative_to(ROOT / folder).parts))
        for folder, package in places.items()
        for path in (ROOT / folder).rglob("__init__.py")
    ]
    assert sorted(project["tool"]["setuptools"]["packages"]) == sorted(found)


def test_wheel_holds_every_file_of_its_packages(installed: Path) -> None:
    places = {"edgeseg": "edgeseg", "targets": "edgeseg_targets", "cards": "edgeseg_cards", "docker": "edgeseg_docker"}
    missing = [
        path.relative_to(ROOT)
        for folder, package in places.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and not {"__pycache__", "wheelhouse"} & set(path.parts)
        and not (installed / package / path.relative_to(ROOT / folder)).is_file()
    ]
    assert missing == []


@pytest.mark.parametrize(
    "pattern",
    [
        "edgeseg/py.typed",
        "edgeseg/devices.yaml",
        "edgeseg/environments/core.txt",
        "edgeseg/photos/*.jpg",
        "edgeseg/photos/SOURCES.md",
        "edgeseg/report/*.html",
        "edgeseg_cards/*.yaml",
        "edgeseg_cards/card.schema.json",
        "edgeseg_docker/onnx/Dockerfile",
        "edgeseg_docker/tensorrt-jetson/Dockerfile",
        "edgeseg_targets/coreml/README.md",
        "edgeseg_targets/coreml/evaluator/program.py",
        "edgeseg_targets/coreml/requirements.txt",
        "edgeseg_targets/graphdef/README.md",
        "edgeseg_targets/ncnn/README.md",
        "edgeseg_targets/ncnn/requirements.txt",
        "edgeseg_targets/onnx/README.md",
        "edgeseg_targets/onnx/requirements.txt",
        "edgeseg_targets/openvino/README.md",
        "edgeseg_targets/openvino/requirements.txt",
        "edgeseg_targets/paddle/README.md",
        "edgeseg_targets/paddle/requirements.txt",
        "edgeseg_targets/saved_model/README.md",
        "edgeseg_targets/saved_model/requirements.txt",
        "edgeseg_targets/tensorrt/README.md",
        "edgeseg_targets/tensorrt/requirements.txt",
        "edgeseg_targets/tfjs/README.md",
        "edgeseg_targets/tfjs/host/node.mjs",
        "edgeseg_targets/tfjs/page/index.html",
        "edgeseg_targets/tfjs/page/package-lock.json",
        "edgeseg_targets/tflite/README.md",
        "edgeseg_targets/tflite/requirements.txt",
        "edgeseg_targets/torchscript/README.md",
        "edgeseg_targets/torchscript/requirements.txt",
        "edgeseg-*.dist-info/licenses/LICENSE",
        "edgeseg-*.dist-info/entry_points.txt",
    ],
)
def test_wheel_holds(installed: Path, pattern: str) -> None:
    assert list(installed.glob(pattern))


def test_wheel_holds_no_tests_and_no_squatted_names(installed: Path) -> None:
    names = {path.name for path in installed.iterdir()}
    assert names == {
        "edgeseg",
        "edgeseg_cards",
        "edgeseg_docker",
        "edgeseg_targets",
        f"edgeseg-{edgeseg.__version__}.dist-info",
    }


def test_wheel_works_inside_the_checkout(installed: Path) -> None:
    program = (
        "import json, sys\n"
        # The working directory, which `-c` puts first; the `edgeseg` script does not.
        "sys.path.remove('')\n"
        "import edgeseg\n"
        "from edgeseg import photos, registry\n"
        "found = [entry.name for entry in registry.entries().values() if entry.target]\n"
        "print(json.dumps([edgeseg.__file__, len(photos.shipped_photos()), found]))\n"
    )
    file, photos, found = json.loads(_python(program, path=installed))
    assert Path(file).is_relative_to(installed)
    assert photos == 3
    assert set(found) == set(TARGET_FOLDERS)


def test_version_is_the_same_everywhere(project: dict[str, Any]) -> None:
    assert edgeseg.__version__ == project["project"]["version"]


def test_all_is_what_is_visible() -> None:
    assert sorted([*edgeseg.__all__, "__version__"]) == dir(edgeseg)
    assert edgeseg.__all__ == sorted(edgeseg.__all__)
    for name in edgeseg.__all__:
        assert getattr(edgeseg, name).__name__ == name


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = edgeseg.laod


def test_import_costs_nothing() -> None:
    modules = json.loads(_python("import edgeseg, json, sys; print(json.dumps(sorted(sys.modules)))"))
    assert HEAVY & set(modules) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=["help", "version"])
def test_help_imports_no_command_and_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import json, sys\n"
        "from edgeseg.cli import main\n"
        f"sys.argv = ['edgeseg', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    modules = set(json.loads(_python(program).splitlines()[-1]))
    assert HEAVY & modules == set()
    assert {name for name in modules if name.startswith("edgeseg.cli.")} <= {"edgeseg.cli.interrupts"}


def test_predict_on_onnx_needs_the_core_and_onnxruntime_alone(tiny_onnx: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "picture.png"), tiny_picture())
    hidden = set(OPTIONAL) - {"onnxruntime"}
    program = (
        f"HIDDEN = {hidden!r}\n{HIDE}\n"
        "from edgeseg.cli import main\n"
        f"sys.argv = ['edgeseg', 'predict', {str(tiny_onnx)!r}, {str(tmp_path / 'picture.png')!r}, "
        f"'--json', {str(tmp_path / 'found.json')!r}]\n"
        "main()\n"
    )
    _python(program)
    assert json.loads((tmp_path / "found.json").read_text())


def test_modules_import_without_extras() -> None:
    program = (
        f"HIDDEN = {set(OPTIONAL)!r}\n{HIDE}\n"
        "import importlib, json, pkgutil, edgeseg\n"
        "failed = {}\n"
        "for module in pkgutil.walk_packages(edgeseg.__path__, 'edgeseg.', onerror=lambda _: None):\n"
        "    if module.name == 'edgeseg.__main__':\n"
        "        continue\n"
        "    try:\n"
        "        importlib.import_module(module.name)\n"
        "    except ImportError as error:\n"
        "        failed[module.name] = str(error)\n"
        "print(json.dumps(failed))\n"
    )
    failed = json.loads(_python(program))
    assert {name: error for name, error in failed.items() if not NEED_TORCH.fullmatch(name)} == {}
    assert "edgeseg.model.network" in failed


def _python(program: str, path: Path | None = None) -> str:
    """Standard output of a program in a fresh interpreter, run in the checkout."""
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONPATH": str(path or "")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
