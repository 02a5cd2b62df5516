"""The tfjs target beyond conformance: both runtimes and all backends, sizes, bytes, and what goes wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from edgeseg_targets.tfjs.model_json import read_weights
from edgeseg_targets.tfjs.modules import distribution, find_chromium, modules_folder
from edgeseg_targets.tfjs.node import NodeProcess

import edgeseg
from edgeseg import registry
from edgeseg.errors import ArtifactError, EnvironmentMissingError, OutputError, UsageError
from edgeseg.export import export
from tests.targets.conftest import (
    Exporter,
    Reference,
    assert_same_instances,
    assert_same_outputs,
    noise,
    predicted,
    run,
)

REPORT = registry.load("tfjs").check_env()
TOLERANCE = {"fp32": 1e-5, "fp16": 0.02}
"""Relative to a tensor's largest value; fp16 weights keep three digits, and some are lost on the way."""

pytestmark = pytest.mark.skipif(not REPORT.usable, reason=f"{'; '.join(REPORT.problems)}: {REPORT.remedy}")
needs_chromium = pytest.mark.skipif(not find_chromium(), reason="needs Chromium (Debian: apt-get install chromium)")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("backend", ["wasm", "cpu"])
def test_node_gives_what_the_reference_gives(
    exported: Exporter, reference: Reference, backend: str, precision: str
) -> None:
    found = run(exported("tfjs", precision), noise(), backend=backend)
    assert_same_outputs(found, reference(noise(), "raw"), TOLERANCE[precision])


@needs_chromium
@pytest.mark.parametrize("backend", ["wasm", "webgl"])
def test_the_browser_gives_what_the_reference_gives(exported: Exporter, reference: Reference, backend: str) -> None:
    with edgeseg.load(exported("tfjs"), runtime="chromium", backend=backend) as model:
        first, second = (model.runner.run({"images": noise()}) for _ in range(2))
        assert model.runner.execution["backend"] == backend
        assert model.runner.execution["runtime"].startswith("Chrom")
    assert_same_outputs(first, reference(noise(), "raw"), TOLERANCE["fp32"])
    assert [name for name in first if not np.array_equal(first[name], second[name])] == []


@needs_chromium
def test_the_browser_finds_what_the_reference_finds(exported: Exporter, tiny_weights: Path) -> None:
    with edgeseg.load(exported("tfjs"), runtime="chromium") as model:
        from edgeseg.testing import tiny_frames

        found = [result.instances for result in model.predict([frame.picture for frame in tiny_frames()])]
    assert_same_instances(found, predicted(tiny_weights))


@needs_chromium
def test_a_graphics_card_that_is_not_there_is_said(exported: Exporter) -> None:
    """Chromium computes WebGL without a card, but no WebGPU."""
    with pytest.raises(ArtifactError, match="webgpu does not start here"):
        edgeseg.load(exported("tfjs"), runtime="chromium", backend="webgpu").close()


def test_lower_precisions_shrink_the_weights(exported: Exporter) -> None:
    sizes = {
        precision: sum(path.stat().st_size for path in exported("tfjs", precision, page=False).glob("*.bin"))
        for precision in ("fp32", "fp16", "int8")
    }
    assert 0.5 < sizes["fp16"] / sizes["fp32"] < 0.55
    # Half of the tiny network lies in kernels that are too small to be worth it.
    assert 0.4 < sizes["int8"] / sizes["fp32"] < 0.5


def test_eight_bit_weights_are_near_the_whole_ones(exported: Exporter) -> None:
    """Each channel has its own step: 1 in 254 of its largest weight."""
    whole, eight = (read_weights(exported("tfjs", precision, page=False)) for precision in ("fp32", "int8"))
    scaled = [name for name in eight if f"{name}/factors" in eight]
    assert len(scaled) > 10
    for name in scaled:
        restored = eight[name] * eight[f"{name}/factors"]
        largest = np.broadcast_to(eight[f"{name}/factors"], restored.shape)
        assert (np.abs(restored - whole[name]) <= largest * 0.5 / 127 + 1e-6).all()
        assert not np.array_equal(restored, whole[name])


def test_same_weights_give_the_same_bytes(exported: Exporter, tiny_weights: Path, tmp_path: Path) -> None:
    first = exported("tfjs")
    again = export(tiny_weights, "tfjs", output_dir=tmp_path, precision="fp32").path
    files = {path.relative_to(first) for path in first.rglob("*") if path.is_file()}
    assert files == {path.relative_to(again) for path in again.rglob("*") if path.is_file()}
    assert [name for name in files if (first / name).read_bytes() != (again / name).read_bytes()] == []


def test_the_artifact_has_the_page_and_all_that_it_loads(exported: Exporter) -> None:
    folder = exported("tfjs")
    for name in ("index.html", "page/app.js", "page/worker.js", "page/page.css", "tfjs/NOTICE.txt"):
        assert (folder / name).is_file()
    core = "tf-core.es2017.min.js"
    assert (folder / "tfjs" / core).read_bytes() == (distribution("tfjs-core") / core).read_bytes()
    assert b"Apache License" in (folder / "tfjs" / core).read_bytes()[:1000]


def test_without_the_page_the_model_is_alone(exported: Exporter) -> None:
    folder = exported("tfjs", page=False)
    assert {path.name for path in folder.iterdir()} == {"model.json", "group1-shard1of1.bin", "edgeseg.json"}


def test_a_page_without_its_packages_is_a_missing_environment(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGESEG_ENVIRONMENTS", str(tmp_path / "none"))
    target = registry.load("tfjs")
    assert not target.check_env().usable
    with pytest.raises(EnvironmentMissingError, match="npm packages") as caught:
        export(tiny_weights, "tfjs", output_dir=tmp_path / "out")
    assert "npm ci" in caught.value.hint


def test_somebody_elses_folder_stays(tiny_weights: Path, tmp_path: Path) -> None:
    taken = tmp_path / f"{tiny_weights.stem}-tfjs-fp32"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=taken.name):
        export(tiny_weights, "tfjs", output_dir=tmp_path)
    assert [path.name for path in taken.iterdir()] == ["notes.txt"]


def test_a_precision_that_the_format_lacks_is_refused_with_the_list(exported: Exporter) -> None:
    with pytest.raises(UsageError, match="w8a16") as caught:
        exported("tfjs", "w8a16")
    assert caught.value.hint == "supported: fp32, fp16, int8"


def test_a_process_that_is_killed_is_said_by_the_artifacts_name(exported: Exporter) -> None:
    path = exported("tfjs", page=False)
    process = NodeProcess(path, "wasm")
    try:
        process._process.kill()
        process._process.wait()
        with pytest.raises(ArtifactError, match=f"{path.name}: Node ended"):
            process.run(np.zeros((1, 96, 160, 3), np.float32))
    finally:
        process.close()


def test_an_operator_that_the_runtime_lacks_is_its_own_words(exported: Exporter, tmp_path: Path) -> None:
    path = shutil.copytree(exported("tfjs", page=False), tmp_path / "n")
    content = json.loads((path / "model.json").read_text())
    next(node for node in content["modelTopology"]["node"] if node["op"] == "Sigmoid")["op"] = "Erfinv"
    (path / "model.json").write_text(json.dumps(content))
    with edgeseg.load(path) as model, pytest.raises(ArtifactError, match=r"TensorFlow\.js cannot run it: .*Erfinv"):
        model.runner.run({"images": noise()})


def test_plain_tensorflow_js_runs_it(exported: Exporter, reference: Reference, tmp_path: Path) -> None:
    """The program of the README, without a line of ours."""
    readme = Path(__file__).parents[3] / "targets" / "tfjs" / "README.md"
    program = readme.read_text().split("```js\n")[1].split("```")[0]
    shutil.copytree(exported("tfjs", page=False), tmp_path / "n-tfjs-fp32")
    (tmp_path / "node_modules").symlink_to(modules_folder() / "node_modules")
    (tmp_path / "program.mjs").write_text(program)
    (tmp_path / "input.bin").write_bytes(noise()[0].transpose(1, 2, 0).tobytes())
    done = subprocess.run(["node", "program.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wanted = reference(noise(), "raw")
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert lines.keys() == wanted.keys()
    for name, array in wanted.items():
        *shape, mean = lines[name].split()
        assert [int(size) for size in shape] == [array.shape[axis] for axis in (0, 2, 3, 1)]
        assert float(mean) == pytest.approx(float(array.mean()), rel=1e-4)
