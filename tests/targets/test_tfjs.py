"""The graph-model format without TensorFlow: rewrites of graphs made by hand, files, and what the page asks for."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeseg_targets.tfjs import model_json, modules
from edgeseg_targets.tfjs.graph import LEAST_ELEMENTS, Graph, Node, constant, simplified, with_scaled_kernels
from edgeseg_targets.tfjs.model_json import check_files, read_weights, write_model
from edgeseg_targets.tfjs.server import FileServer

from edgeseg import registry
from edgeseg.errors import ArtifactError, EnvironmentMissingError, StageError, UsageError
from edgeseg.metadata import ArtifactMetadata
from edgeseg.target import Artifact
from edgeseg.tensors import Array, input_spec, raw_output_specs

PAGE = Path(__file__).parents[2] / "targets" / "tfjs" / "page"
SHARD_BYTES = 1000
VALID, STRIDES = {"s": "VkFMSUQ="}, {"list": {"i": ["1", "2", "2", "1"]}}
"""As protobuf writes them: bytes in base64, whole numbers as text."""


def _metadata(precision: str = "fp32") -> ArtifactMetadata:
    return ArtifactMetadata(
        format="tfjs",
        precision=precision,
        head="raw",
        names=("a", "b"),
        image_size=(64, 96),
        inputs=(input_spec((64, 96)),),
        outputs=raw_output_specs(2, (64, 96)),
    )


def _graph() -> Graph:
    """images, padded and convolved with a bias, halved, twice given: as `wide` and as `other`."""
    random = np.random.default_rng(0)
    values: dict[str, Array] = {
        "paddings": np.array([[0, 0], [1, 1], [2, 2], [0, 0]], np.int32),
        "kernel": random.normal(size=(3, 3, 3, 100)).astype(np.float32) * np.logspace(0, 3, 100, dtype=np.float32),
        "bias": random.normal(size=100).astype(np.float32),
        "half": np.array(0.5, np.float32),
        "unused": np.zeros(5, np.float32),
    }
    nodes = (
        Node("images", "Placeholder", (), {"dtype": {"type": "DT_FLOAT"}}),
        *(constant(name, value) for name, value in values.items()),
        Node("pad", "Pad", ("images", "paddings")),
        Node("conv", "Conv2D", ("pad", "kernel"), {"padding": VALID, "strides": STRIDES}),
        Node("biased", "BiasAdd", ("conv", "bias")),
        Node("halved", "Mul", ("biased", "half")),
        Node("wide", "Identity", ("biased",)),
        Node("other", "Identity", ("halved",)),
    )
    return Graph(nodes, values)


# Graphs


def test_padding_and_bias_go_into_the_convolution_and_identities_away() -> None:
    found = simplified(_graph(), ("wide", "other"))
    names = [node.name for node in found.nodes]
    assert sorted(names) == sorted(["images", "kernel", "bias", "half", "wide", "other"])
    assert sorted(found.values) == ["bias", "half", "kernel"]
    by_name = {node.name: node for node in found.nodes}
    convolution = by_name["wide"]
    assert (convolution.op, convolution.inputs) == ("_FusedConv2D", ("images", "kernel", "bias"))
    assert base64.b64decode(convolution.attrs["padding"]["s"]) == b"EXPLICIT"
    assert convolution.attrs["explicit_paddings"] == {"list": {"i": ["0", "0", "1", "1", "2", "2", "0", "0"]}}
    assert [base64.b64decode(word) for word in convolution.attrs["fused_ops"]["list"]["s"]] == [b"BiasAdd"]
    assert (convolution.attrs["num_args"], convolution.attrs["strides"]) == ({"i": "1"}, STRIDES)
    assert by_name["other"].inputs == ("wide", "half")
    for node in found.nodes:
        assert all(names.index(given) < names.index(node.name) for given in node.inputs)


def test_a_convolution_that_others_read_stays_whole() -> None:
    graph = _graph()
    nodes = (*graph.nodes, Node("raw", "Identity", ("conv",)))
    found = simplified(Graph(nodes, graph.values), ("wide", "raw"))
    assert {node.name: node.op for node in found.nodes if not node.name.startswith(("b", "k"))} == {
        "images": "Placeholder",
        "raw": "Conv2D",
        "wide": "BiasAdd",
    }


def test_padding_with_another_reader_stays() -> None:
    graph = _graph()
    nodes = (*graph.nodes, Node("again", "Identity", ("pad",)))
    found = simplified(Graph(nodes, graph.values), ("wide", "again"))
    assert {node.name: node.op for node in found.nodes}["again"] == "Pad"
    assert base64.b64decode({node.name: node for node in found.nodes}["wide"].attrs["padding"]["s"]) == b"VALID"


def test_an_output_that_is_not_there_is_a_failed_export() -> None:
    with pytest.raises(StageError, match="p3_box") as caught:
        simplified(_graph(), ("wide", "p3_box"))
    assert caught.value.outcome == "export_failed"


def test_a_kernel_is_the_product_of_its_parts() -> None:
    graph = simplified(_graph(), ("wide", "other"))
    scaled, stored = with_scaled_kernels(graph)
    assert stored == ("kernel",)
    kernel, factors = scaled.values["kernel"], scaled.values["kernel/factors"]
    assert np.abs(kernel).max(axis=(0, 1, 2)) == pytest.approx(np.ones(100))
    np.testing.assert_allclose(kernel * factors, graph.values["kernel"], rtol=1e-6)
    by_name = {node.name: node for node in scaled.nodes}
    assert by_name["wide"].inputs == ("images", "kernel/scaled", "bias")
    assert (by_name["kernel/scaled"].op, by_name["kernel/scaled"].inputs) == ("Mul", ("kernel", "kernel/factors"))


def test_factors_of_a_transposed_convolution_lie_along_its_own_axis() -> None:
    kernel = np.random.default_rng(0).normal(size=(2, 2, 8, LEAST_ELEMENTS)).astype(np.float32)
    nodes = (constant("kernel", kernel), Node("up", "Conv2DBackpropInput", ("sizes", "kernel", "x")))
    scaled, _ = with_scaled_kernels(Graph(nodes, {"kernel": kernel}))
    assert scaled.values["kernel/factors"].shape == (8, 1)
    np.testing.assert_allclose(scaled.values["kernel"] * scaled.values["kernel/factors"], kernel, rtol=1e-6)


def test_small_kernels_stay() -> None:
    kernel = np.ones((1, 1, 1, LEAST_ELEMENTS - 1), np.float32)
    graph = Graph((constant("kernel", kernel), Node("y", "Conv2D", ("x", "kernel"))), {"kernel": kernel})
    assert with_scaled_kernels(graph) == (graph, ())


def test_a_kernel_of_zeros_stays_zero(tmp_path: Path) -> None:
    kernel = np.zeros((1, 1, 1, LEAST_ELEMENTS), np.float32)
    graph = Graph((constant("kernel", kernel), Node("y", "Conv2D", ("x", "kernel"))), {"kernel": kernel})
    scaled, stored = with_scaled_kernels(graph)
    write_model(tmp_path, scaled, dict.fromkeys(stored, "uint8"), _metadata())
    assert np.abs(read_weights(tmp_path)["kernel"]).max() < 1e-15


def test_constants_of_other_types_are_refused() -> None:
    with pytest.raises(StageError, match="shape is int64"):
        constant("shape", np.zeros(2, np.int64))


# Files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A written model of 12 kB of weights, in shards of 1 kB."""
    monkeypatch.setattr(model_json, "SHARD_BYTES", SHARD_BYTES)
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "app.js").write_text("// nothing")
    write_model(tmp_path, simplified(_graph(), ("wide", "other")), {}, _metadata())
    return tmp_path


def test_weights_come_back_from_shards_of_one_size(folder: Path) -> None:
    shards = sorted(folder.glob("*.bin"), key=lambda path: int(re.findall(r"shard(\d+)of", path.name)[0]))
    assert [path.name for path in shards] == [f"group1-shard{index}of12.bin" for index in range(1, 13)]
    sizes = [path.stat().st_size for path in shards]
    assert sizes[:-1] == [SHARD_BYTES] * 11
    graph = simplified(_graph(), ("wide", "other"))
    assert sum(sizes) == sum(value.nbytes for value in graph.values.values())
    found = read_weights(folder)
    for name, value in graph.values.items():
        np.testing.assert_array_equal(found[name], value, strict=True)


def test_manifest_describes_the_bytes(folder: Path) -> None:
    """Read as the format says, not with our own reader."""
    content = json.loads((folder / "model.json").read_text())
    assert content["format"] == "graph-model"
    (group,) = content["weightsManifest"]
    data = b"".join((folder / path).read_bytes() for path in group["paths"])
    start = 0
    for entry in group["weights"]:
        assert entry["dtype"] == "float32"
        count = int(np.prod(entry["shape"]))
        values = np.frombuffer(data, "<f4", count, start).reshape(entry["shape"])
        np.testing.assert_array_equal(values, _graph().values[entry["name"]])
        start += 4 * count
    assert start == len(data)
    nodes = {node["name"]: node for node in content["modelTopology"]["node"]}
    assert nodes["kernel"]["attr"]["value"]["tensor"]["tensorShape"]["dim"] == [
        {"size": size} for size in ("3", "3", "3", "100")
    ]
    assert content["signature"]["outputs"]["p3_box"]["tensorShape"]["dim"] == [
        {"size": size} for size in ("1", "8", "12", "64")
    ]


def test_half_precision_rounds_to_half_precision(tmp_path: Path) -> None:
    graph = simplified(_graph(), ("wide", "other"))
    write_model(tmp_path, graph, {"kernel": "float16"}, _metadata())
    found = read_weights(tmp_path)
    np.testing.assert_array_equal(found["kernel"], graph.values["kernel"].astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(found["bias"], graph.values["bias"])


def test_eight_bits_are_off_by_half_a_step_at_most(tmp_path: Path) -> None:
    graph, stored = with_scaled_kernels(simplified(_graph(), ("wide", "other")))
    write_model(tmp_path, graph, dict.fromkeys(stored, "uint8"), _metadata())
    found = read_weights(tmp_path)
    error = np.abs(found["kernel"] - graph.values["kernel"])
    assert 0.4 / 127 < error.max() <= 0.5 / 127 + 1e-7
    (file,) = tmp_path.glob("*.bin")
    assert file.stat().st_size == graph.values["kernel"].size + 4 * (100 + 100 + 1)


def test_metadata_and_kind_come_from_the_file(folder: Path) -> None:
    target = registry.load("tfjs")
    assert target.recognizes(folder) is True
    assert target.read_metadata(folder) == _metadata()


def test_a_file_that_is_cut_off_is_recognized_and_said_to_be(folder: Path) -> None:
    file = folder / "model.json"
    file.write_bytes(file.read_bytes()[:-20])
    target = registry.load("tfjs")
    assert target.recognizes(folder) is True
    with pytest.raises(ArtifactError, match="cut off"):
        target.read_metadata(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format": "layers-model"}', '{"base_code": {"magic": "pir"}}', '{"format": 3', "\xff"]
)
def test_another_model_json_is_not_recognized(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.json").write_bytes(text.encode("latin-1"))
    assert registry.load("tfjs").recognizes(tmp_path) is False
    with pytest.raises(ArtifactError, match=re.escape(str(tmp_path))):
        registry.load("tfjs").read_metadata(tmp_path)


def test_a_model_of_another_exporter_is_refused_by_name(folder: Path) -> None:
    _changed(folder, lambda content: content.pop("userDefinedMetadata"))
    with pytest.raises(ArtifactError, match="without edgeseg metadata") as caught:
        registry.load("tfjs").read_metadata(folder)
    assert str(folder) in caught.value.message


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no manifest": lambda content: content.pop("weightsManifest"),
    "no shape": lambda content: content["weightsManifest"][0]["weights"][0].pop("shape"),
    "unknown type": lambda content: content["weightsManifest"][0]["weights"][0].update(dtype="complex64"),
    "other shape": lambda content: content["weightsManifest"][0]["weights"][0].update(shape=[3, 3, 3, 99]),
    "outside": lambda content: content["weightsManifest"][0].update(paths=["../secret.bin"]),
    "absent shard": lambda content: content["weightsManifest"][0]["paths"].append("group1-shard13of12.bin"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_manifest_is_refused(folder: Path, damage: str) -> None:
    check_files(folder)
    _changed(folder, DAMAGES[damage])
    with pytest.raises(ArtifactError, match=re.escape(str(folder))):
        check_files(folder)


@pytest.mark.parametrize("name", ["group1-shard3of12.bin", "page/app.js"])
def test_a_file_of_another_export_is_found_out(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[5] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=rf"{re.escape(name)} is not the one"):
        check_files(folder)


def test_inspect_names_kernels_of_the_wrong_type(folder: Path) -> None:
    target = registry.load("tfjs")
    findings = target.inspect(Artifact(folder, _metadata()))
    assert findings.problems == ()
    assert (findings.facts["convolutions"], findings.facts["shards"], findings.facts["page"]) == (1, 12, "none")
    problems = target.inspect(Artifact(folder, replace(_metadata(), precision="fp16"))).problems
    assert problems == ("kernel: kernel is float32, expected float16",)


# What runs it


@pytest.fixture
def no_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of environments with nothing in it."""
    monkeypatch.setenv("EDGESEG_ENVIRONMENTS", str(tmp_path / "environments"))
    return tmp_path / "environments" / "tfjs-npm"


def test_absent_packages_come_with_the_command(no_packages: Path, folder: Path) -> None:
    report = registry.load("tfjs").check_env()
    assert any(f"are not in {no_packages}" in problem for problem in report.problems)
    assert f"npm ci --ignore-scripts --prefix {no_packages}" in report.remedy
    with pytest.raises(EnvironmentMissingError, match=re.escape(str(no_packages))) as caught:
        registry.load("tfjs").open(Artifact(folder, _metadata()), registry.load("tfjs").run_options_type())
    assert caught.value.hint == modules.install_command()


def test_packages_of_another_version_are_named(no_packages: Path) -> None:
    pins = json.loads((PAGE / "package.json").read_text())["dependencies"]
    for name in pins:
        file = no_packages / "node_modules" / name / "package.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"version": "4.21.0" if name.endswith("core") else pins[name]}))
    assert modules.module_problem() == (
        f"npm packages in {no_packages} are not as pinned: @tensorflow/tfjs-core 4.21.0, expected 4.22.0"
    )


@pytest.mark.parametrize(("runtime", "backend"), [("node", "webgl"), ("node", "webgpu"), ("chromium", "cpu")])
def test_a_backend_that_a_runtime_lacks_is_refused_with_the_list(folder: Path, runtime: str, backend: str) -> None:
    target = registry.load("tfjs")
    options = target.run_options_type.model_validate({"runtime": runtime, "backend": backend})
    with pytest.raises(UsageError, match=f"{runtime} has no backend '{backend}'") as caught:
        target.open(Artifact(folder, _metadata()), options)
    assert caught.value.hint == "supported: node: wasm, cpu; chromium: wasm, webgl, webgpu"


def test_lock_pins_every_package_by_its_content() -> None:
    pins = json.loads((PAGE / "package.json").read_text())["dependencies"]
    packages = json.loads((PAGE / "package-lock.json").read_text())["packages"]
    for name, version in pins.items():
        assert packages[f"node_modules/{name}"]["version"] == version
    assert all(package["integrity"].startswith("sha512-") for name, package in packages.items() if name)


def test_the_server_gives_files_of_its_folders_only(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    for name in ("inside/a b.js", "secret.txt"):
        (tmp_path / name).write_text("x")
    server = FileServer({"/files": tmp_path / "inside"}, {"/one.js": tmp_path / "secret.txt"})
    try:
        assert server.path_of("/files/a%20b.js?query") == tmp_path / "inside" / "a b.js"
        assert server.path_of("/one.js") == tmp_path / "secret.txt"
        for address in ("/files/../secret.txt", "/files/%2e%2e/secret.txt", "/files/", "/secret.txt", "/files/none"):
            assert server.path_of(address) is None
    finally:
        server.close()


# The page


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    addresses = {
        address
        for path in PAGE.iterdir()
        if path.suffix in (".html", ".css", ".js", ".svg")
        for address in re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"']*", path.read_text())
    }
    assert addresses == {"http://www.w3.org/2000/svg"}, "the name of SVG, which no browser loads"
    policy = re.findall(r"Content-Security-Policy\" content=\"(.+?)\"", (PAGE / "index.html").read_text())
    assert policy[0].startswith("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';")


def _changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = folder / "model.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
