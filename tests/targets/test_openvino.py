"""The OpenVINO target beyond conformance: precision in the file and in the run, folders, and what is refused."""

from __future__ import annotations

import importlib
import json
import logging
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import edgeseg
from edgeseg import registry
from edgeseg.bisect import layers_of, open_probe
from edgeseg.errors import ArtifactError, EnvironmentMissingError, OutputError, StageError, UsageError
from edgeseg.export import export
from edgeseg.quantised import real
from edgeseg.sources import open_sources
from edgeseg.target import Artifact, ExportRequest, Findings
from edgeseg.testing import tiny_picture
from edgeseg.testing.tiny import IMAGE_SIZE, NAMES
from edgeseg.verify import verify
from tests.targets.conftest import (
    Exporter,
    Reference,
    assert_same_instances,
    assert_same_outputs,
    noise,
    predicted,
    run,
)

ROUNDING = 1e-4
"""Relative: another order of the same float32 sums."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many as calibration asks for at least."""
    import cv2

    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(16):
        cv2.imwrite(str(folder / f"{seed:02}.png"), tiny_picture(*IMAGE_SIZE, seed=100 + seed))
    return folder


@pytest.fixture(scope="module")
def quantised(tiny_weights: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    return export(tiny_weights, "openvino", output_dir=folder, precision="int8", calibration=pictures).path


def findings(path: Path, precision: str = "") -> Findings:
    """What inspection finds; of a file that claims another precision where one is given."""
    target = registry.load("openvino")
    metadata = target.read_metadata(path)
    return target.inspect(Artifact(path, replace(metadata, precision=precision or metadata.precision)))


@pytest.mark.parametrize("outputs", ["raw", "decoded"])
@pytest.mark.parametrize("shape", [(1, 96, 160), (3, 96, 160), (2, 128, 64)], ids=["traced", "batch", "size"])
def test_open_shapes_equal_the_reference(
    exported: Exporter, reference: Reference, outputs: str, shape: tuple[int, int, int]
) -> None:
    path = exported("openvino", outputs=outputs, dynamic_batch=True, dynamic_size=True)
    assert_same_outputs(run(path, noise(*shape)), reference(noise(*shape), outputs), ROUNDING)


def test_official_weights_hold_the_gates_in_fp32(shared: Path, tmp_path: Path) -> None:
    weights = shared / "weights" / "yolov8n-seg.pt"
    path = export(weights, "openvino", output_dir=tmp_path, image_size=(320, 320)).path
    with edgeseg.load(weights) as model, edgeseg.load(path, hint="f32") as artifact:
        report = verify(model, artifact, open_sources([str(shared / "media" / "zidane.jpg")]))
    assert report.problems == []
    assert {gate.name for gate in report.gates} >= {"score_error_max", "box_error_px_max", "mask_iou_min"}
    assert [gate for gate in report.gates if not gate.met] == []
    assert report.points["score_error_max"] > 0


def test_fp16_folder_has_half_weights(exported: Exporter, reference: Reference) -> None:
    half, whole = exported("openvino", "fp16"), exported("openvino")
    assert findings(half).problems == ()
    assert all("weights are f16, expected f32" in problem for problem in findings(half, "fp32").problems)
    assert findings(half, "fp32").problems
    assert (half / "model.bin").stat().st_size < 0.6 * (whole / "model.bin").stat().st_size
    found, wanted = run(half, noise()), reference(noise(), "raw")
    assert_same_outputs(found, wanted, 0.02)
    # Half weights are not the same network: else the file says one thing and holds another.
    assert np.abs(found["proto"] - wanted["proto"]).max() > 1e-6


def test_int8_folder_has_int8_weights_and_quantised_activations(quantised: Path, exported: Exporter) -> None:
    found = findings(quantised)
    assert found.problems == ()
    # The input of every convolution but those that share one.
    assert int(found.facts["fake_quantize"]) > 40
    assert found.facts["convolutions"] == 72
    assert "no activation is quantised" in findings(exported("openvino"), "int8").problems
    with edgeseg.load(quantised) as model:
        assert {"u8", "i8"} & set(model.runner.execution["convolutions"].replace(",", "").split())
        assert [spec.name for spec in model.runner.outputs] == list(run(exported("openvino"), noise()))


def test_layers_of_an_int8_folder_are_found_whole(quantised: Path, exported: Exporter, tiny_weights: Path) -> None:
    first = {quantised: "backbone.stage4.cv1.conv", exported("openvino"): "backbone.stage4.cv1.first.conv"}
    for path, name in first.items():
        with open_probe(path) as probe:
            layers, found = layers_of(tiny_weights, probe, "test")
        assert name in {layer.path for layer in found}
        assert len(layers.convolutions) == (72 if path == quantised else 80)


def test_int8_export_is_silent_and_repeatable(
    tiny_weights: Path, pictures: Path, quantised: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    levels = [handler.level for handler in logging.getLogger().handlers]
    again = export(tiny_weights, "openvino", output_dir=tmp_path, precision="int8", calibration=pictures).path
    # pytest's own handlers are the caller's here.
    assert [handler.level for handler in logging.getLogger().handlers] == levels != []
    assert capfd.readouterr().out == ""
    assert contents(again) == contents(quantised)


def test_too_few_calibration_pictures_are_refused(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="openvino int8 needs calibration pictures, at least 16: there are 0"):
        export(tiny_weights, "openvino", output_dir=tmp_path, precision="int8")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many as accuracy control asks for at least."""
    import cv2

    folder = tmp_path_factory.mktemp("many")
    for seed in range(32):
        cv2.imwrite(str(folder / f"{seed:02}.png"), tiny_picture(*IMAGE_SIZE, seed=100 + seed))
    return folder


def test_accuracy_control_sets_no_range_on_the_pictures_that_it_measures_on(
    tiny_weights: Path, many: Path, tmp_path: Path
) -> None:
    """A limit that nothing exceeds gives what plain int8 gives for three pictures of four."""
    target = registry.load("openvino")
    pictures = tuple(sorted(many.iterdir()))
    networks = []
    ways: dict[str, tuple[tuple[Path, ...], dict[str, object]]] = {
        "controlled": (pictures, {"accuracy_control": {"max_drop": 0.95}}),
        "plain": (tuple(path for index, path in enumerate(pictures) if index % 4), {}),
    }
    for name, (given, options) in ways.items():
        asked = registry.parse_options(target.options_type, options, "option")
        request = ExportRequest(tiny_weights, tmp_path, name, "int8", IMAGE_SIZE, asked, calibration=given)
        networks.append((target.export(request).path / "model.bin").read_bytes())
    assert networks[0] == networks[1]


def test_accuracy_control_that_cannot_be_kept_is_an_error(
    tiny_weights: Path, many: Path, quantised: Path, exported: Exporter
) -> None:
    accuracy = importlib.import_module("edgeseg_targets.openvino.accuracy")
    read = importlib.import_module("edgeseg_targets.openvino.runner").load_model
    metadata = registry.load("openvino").read_metadata(quantised)
    agreement = accuracy.Agreement(read(exported("openvino")), metadata, sorted(many.iterdir())[:4])
    assert agreement.over_all(read(exported("openvino"))) == 1
    drop = 1 - agreement.over_all(read(quantised))
    assert 0 < drop < 1
    accuracy.check_limit(read(quantised), agreement, drop)
    with pytest.raises(StageError, match=f"agreement drops by {drop:.4f}, the limit is"):
        accuracy.check_limit(read(quantised), agreement, 0.99 * drop)
    with pytest.raises(StageError, match="no layer can be int8"):
        accuracy.check_limit(read(exported("openvino")), agreement, 0.5)


def test_accuracy_control_is_refused_without_int8_and_without_pictures_to_measure_on(
    tiny_weights: Path, pictures: Path, tmp_path: Path
) -> None:
    control: dict[str, Any] = {"accuracy_control": {"max_drop": 0.1}}
    with pytest.raises(UsageError, match="accuracy_control is of int8, asked was fp32"):
        export(tiny_weights, "openvino", output_dir=tmp_path, precision="fp32", **control)
    with pytest.raises(UsageError, match="needs at least 32 calibration pictures: there are 16"):
        export(tiny_weights, "openvino", output_dir=tmp_path, precision="int8", calibration=pictures, **control)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_same_request_gives_the_same_bytes(
    exported: Exporter, tiny_weights: Path, tmp_path: Path, precision: str
) -> None:
    again = export(tiny_weights, "openvino", output_dir=tmp_path, precision=precision).path
    assert contents(again) == contents(exported("openvino", precision))


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_moved_and_renamed_folder_predicts_the_same(exported: Exporter, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(exported("openvino"), tmp_path / "another name"))
    (moved / "edgeseg.json").unlink()
    assert_same_instances(predicted(moved), predicted(exported("onnx")))


def test_export_again_replaces_the_folder_and_no_other(exported: Exporter, tiny_weights: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(exported("openvino"), tmp_path / "n-openvino-fp32"))
    (path / "left over").touch()
    assert export(tiny_weights, "openvino", output_dir=tmp_path, name="n").path == path
    assert sorted(contents(path)) == ["edgeseg.json", "model.bin", "model.xml"]
    (tmp_path / "mine-openvino-fp32").mkdir()
    (tmp_path / "mine-openvino-fp32" / "letter.txt").touch()
    with pytest.raises(OutputError, match=r"mine-openvino-fp32: a folder without model\.xml"):
        export(tiny_weights, "openvino", output_dir=tmp_path, name="mine")
    assert (tmp_path / "mine-openvino-fp32" / "letter.txt").exists()


def test_run_is_in_f32_unless_asked_otherwise(exported: Exporter) -> None:
    with edgeseg.load(exported("openvino"), threads=1) as model:
        execution = model.runner.execution
    assert (execution["device"], execution["precision"], execution["threads"]) == ("CPU", "f32", "1")
    assert execution["convolutions"].startswith("f32 ")
    assert "," not in execution["convolutions"]


@pytest.mark.parametrize("hint", ["bf16", "f16"])
def test_hint_runs_as_asked_or_is_refused_with_what_would_run(exported: Exporter, hint: str) -> None:
    import openvino

    name = {"bf16": "BF16", "f16": "FP16"}[hint]
    if name in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with edgeseg.load(exported("openvino"), hint=hint) as model:
            assert model.runner.execution["precision"] == hint
            assert model.runner.execution["convolutions"].startswith(f"{hint} ")
            found = model.runner.run({"images": noise()})
        assert not np.array_equal(found["proto"], run(exported("openvino"), noise())["proto"])
    else:
        with pytest.raises(EnvironmentMissingError, match=f"CPU here cannot compute in {hint}, it would in") as caught:
            edgeseg.load(exported("openvino"), hint=hint)
        assert "--option hint=" in caught.value.hint


def test_absent_device_is_refused_with_those_that_are_here(exported: Exporter) -> None:
    import openvino

    absent = sorted({"GPU", "NPU"} - {name.partition(".")[0] for name in openvino.Core().available_devices})
    if not absent:
        pytest.skip("all devices are here")
    with pytest.raises(EnvironmentMissingError, match=rf"sees no {absent[0]} here, only CPU"):
        edgeseg.load(exported("openvino"), device=absent[0].lower())


@pytest.mark.parametrize("options", [{"device": "auto"}, {"mode": "throughput"}], ids=["auto", "throughput"])
def test_other_ways_to_run_give_the_same(exported: Exporter, options: dict[str, str]) -> None:
    assert_same_outputs(run(exported("openvino"), noise(), **options), run(exported("openvino"), noise()), ROUNDING)


@pytest.mark.parametrize("options", [{"requests": 3}, {"mode": "throughput", "requests": 2}], ids=["latency", "both"])
def test_several_requests_find_exactly_what_one_finds(exported: Exporter, options: dict[str, Any]) -> None:
    path = exported("openvino")
    pictures = [tiny_picture(100 + 10 * seed, 160, seed) for seed in range(7)]
    found = {}
    for name, asked in (("one", {**options, "requests": 1}), ("several", options)):
        with edgeseg.load(path, **asked) as model:
            assert model.runner.in_flight == asked["requests"]
            assert model.runner.execution["requests"] == str(asked["requests"])
            results = [result.instances for result in model.predict(pictures, score=0.1)]
        found[name] = [(one.xyxy.tobytes(), one.scores.tobytes()) for one in results]
        assert all(len(one) for one in results)
    assert found["several"] == found["one"]


def test_a_run_that_was_started_belongs_to_the_caller(exported: Exporter) -> None:
    with edgeseg.load(exported("openvino"), requests=2) as model:
        waits = [model.runner.start({"images": noise(height=96, width=160) * scale}) for scale in (1, 0.5)]
        second, first = ({name: real(array) for name, array in wait().items()} for wait in reversed(waits))
        model.runner.run({"images": noise() * 0})
        assert_same_outputs(first, run(exported("openvino"), noise()), 0)
        assert_same_outputs(second, run(exported("openvino"), noise() * np.float32(0.5)), 0)
        assert all(array.flags.writeable for array in first.values())


def test_one_network_serves_several_threads(exported: Exporter) -> None:
    with edgeseg.load(exported("openvino")) as model:
        inputs = [{"images": noise() * np.float32(1 / (1 + index))} for index in range(8)]
        alone = [model.runner.run(one)["proto"] for one in inputs]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda one: model.runner.run(one)["proto"], inputs))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_threads_without_the_cpu_are_refused(exported: Exporter) -> None:
    with pytest.raises(UsageError, match="threads=2 with device=AUTO"):
        edgeseg.load(exported("openvino"), device="AUTO", threads=2)


def test_cache_folder_keeps_the_compiled_network(exported: Exporter, tmp_path: Path) -> None:
    first = run(exported("openvino"), noise(), cache=str(tmp_path / "cache"))
    kept = list((tmp_path / "cache").iterdir())
    assert kept
    assert_same_outputs(run(exported("openvino"), noise(), cache=str(tmp_path / "cache")), first, 0)
    assert list((tmp_path / "cache").iterdir()) == kept


def test_folder_with_peer_keys_alone_predicts_the_same(exported: Exporter, tmp_path: Path) -> None:
    path = without_our_keys(exported("openvino", outputs="decoded"), tmp_path / "foreign_openvino_model")
    keys = yaml.safe_load((path / "metadata.yaml").read_text())
    assert (keys["task"], keys["stride"], keys["imgsz"]) == ("segment", 32, list(IMAGE_SIZE))
    assert keys["names"] == dict(enumerate(NAMES))
    with edgeseg.load(path) as model:
        assert (model.metadata.names, model.metadata.weights_sha256) == (NAMES, "")
    assert_same_instances(predicted(path), predicted(exported("onnx")))


def test_unknown_network_is_refused_with_its_tensors(exported: Exporter, tmp_path: Path) -> None:
    path = without_our_keys(exported("openvino"), tmp_path / "raw")
    with pytest.raises(ArtifactError, match=r"not of the known layout: images \(1, 3, 96, 160\) float32; p3_box"):
        edgeseg.load(path)


def without_our_keys(source: Path, destination: Path) -> Path:
    """A copy as another exporter would have written it: other file names, no metadata in the description."""
    import openvino

    destination.mkdir()
    model = openvino.Core().read_model(source / "model.xml")
    rt_info = model.get_rt_info()
    for key in ("edgeseg", "edgeseg_bin_sha256"):
        del rt_info[key]
    openvino.save_model(model, destination / "yolov8n-seg.xml", compress_to_fp16=False)
    if (source / "metadata.yaml").is_file():
        shutil.copy(source / "metadata.yaml", destination)
    return destination


def test_weights_of_another_export_are_refused(exported: Exporter, tmp_path: Path) -> None:
    path = Path(shutil.copytree(exported("openvino"), tmp_path / "mixed"))
    data = bytearray((path / "model.bin").read_bytes())
    data[1000] ^= 1
    (path / "model.bin").write_bytes(data)
    with pytest.raises(ArtifactError, match=rf"{path}: model\.bin is not the one that was written here"):
        edgeseg.load(path)


def test_running_imports_no_torch_and_no_telemetry(exported: Exporter) -> None:
    program = (
        "import json, sys, numpy\n"
        "sys.modules['torch'] = None\n"
        "import edgeseg\n"
        f"with edgeseg.load({str(exported('openvino'))!r}) as model:\n"
        "    found = list(model.predict([numpy.zeros((96, 160, 3), numpy.uint8)]))\n"
        "print(json.dumps([len(found), [name for name, module in sys.modules.items() if module]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    count, modules = json.loads(done.stdout)
    assert count == 1
    assert "openvino" in modules
    assert not [name for name in modules if name.partition(".")[0] in ("nncf", "openvino_telemetry", "torch")]
