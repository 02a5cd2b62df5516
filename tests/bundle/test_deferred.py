"""An artifact that only its device can finish: compiled there, or said what is lacking."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
TARGETS = {"plain": HERE.parent / "conformance/plain_target.py", "late": HERE / "deferring_target.py"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two third-party targets, installed as packages of their own."""
    folder = tmp_path_factory.mktemp("site")
    for name, source in TARGETS.items():
        (folder / f"third_{name}.py").write_text(source.read_text())
        info = folder / f"third_{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: third-{name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[edgeseg.targets]\n{name} = third_{name}:target\n")
    return folder


@pytest.fixture(scope="module")
def bundle(site: Path, tiny_weights: Path, tiny_pictures: tuple[Path, ...]) -> Path:
    folder = site.parent / "built"
    program = (
        "import sys\nfrom pathlib import Path\nfrom edgeseg.export import export\n"
        "from edgeseg.bundle.pack import BundleRequest, write_bundle\n"
        "weights, folder, *pictures = map(Path, sys.argv[1:])\n"
        "artifact = export(weights, 'late', output_dir=folder).path\n"
        "write_bundle(BundleRequest(artifact, weights, tuple(pictures), folder / 'late.bundle.tar', 'board',"
        " calibration=tuple(pictures[:1])))\n"
    )
    done = python(site, "", "-c", program, str(tiny_weights), str(folder), *map(str, tiny_pictures))
    assert done.returncode == 0, done.stderr
    return folder / "late.bundle.tar"


@pytest.mark.parametrize(
    ("late", "code", "outcome", "message"),
    [
        ("no", 3, "env_missing", "late artifacts run on a Late board only, which this is not"),
        ("stage", 4, "compile_failed", "the compiler refuses the graph"),
        ("crash", 4, "compile_failed", "OSError: the driver is gone"),
    ],
)
def test_what_keeps_it_from_being_finished_is_the_outcome(
    late: str, code: int, outcome: str, message: str, site: Path, bundle: Path, tmp_path: Path
) -> None:
    done, content = verified(site, late, bundle, tmp_path)
    assert (done.returncode, content["outcome"], content["message"]) == (code, outcome, message)
    assert message in done.stderr
    assert content["verify"] == {}


def test_it_is_finished_verified_and_timed_on_its_device(site: Path, bundle: Path, tmp_path: Path) -> None:
    done, content = verified(site, "yes", bundle, tmp_path, "--finished", tmp_path / "kept")
    assert done.returncode == 0, done.stderr
    assert (content["outcome"], content["target"], content["format"]) == ("passed", "board", "late")
    assert content["benchmark"]["runs"] == 2
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["tiny-late-fp32.engine"]


def test_a_format_that_is_not_installed_is_said(bundle: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgeseg", "verify", str(bundle), "--result", str(tmp_path / "r.json")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 3
    assert "no target for the format 'late' is installed here" in done.stderr


def verified(
    site: Path, late: str, bundle: Path, folder: Path, *more: object
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    result = folder / "result.json"
    words = ["verify", str(bundle), "--runs", "2", "--result", str(result), *map(str, more)]
    done = python(site, late, "-m", "edgeseg", *words)
    return done, json.loads(result.read_text())


def python(site: Path, late: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "LATE": late}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=120)
