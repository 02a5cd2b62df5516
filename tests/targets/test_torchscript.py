"""The TorchScript target beyond conformance: freezing, open shapes, and files for other clients."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import edgeseg
from edgeseg import registry
from edgeseg.errors import ArtifactError, EnvironmentMissingError, UsageError
from edgeseg.target import Artifact
from edgeseg.testing.tiny import NAMES
from tests.targets.conftest import (
    Exporter,
    Reference,
    assert_same_instances,
    assert_same_outputs,
    noise,
    predicted,
    run,
)

TOLERANCE = {"fp32": 1e-5, "fp16": 0.02}
"""Relative to a tensor's largest value; fp16 keeps three digits, and some are lost on the way."""


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("outputs", ["raw", "decoded"])
@pytest.mark.parametrize("shape", [(1, 96, 160), (2, 96, 160), (3, 64, 128)], ids=["traced", "batch", "size"])
def test_other_shapes_than_traced_equal_the_reference(
    exported: Exporter,
    reference: Reference,
    precision: str,
    outputs: str,
    shape: tuple[int, int, int],
) -> None:
    path = exported("torchscript", precision, outputs=outputs)
    assert_same_outputs(run(path, noise(*shape)), reference(noise(*shape), outputs), TOLERANCE[precision])


@pytest.mark.parametrize("freeze", [True, False], ids=["frozen", "free"])
@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("fp16", torch.float16)])
def test_freezing_decides_where_the_weights_are(
    exported: Exporter, freeze: bool, precision: str, dtype: torch.dtype
) -> None:
    module = _loaded(exported("torchscript", precision, freeze=freeze))
    kernels = [parameter for parameter in module.parameters() if parameter.dim() == 4]
    assert {kernel.dtype for kernel in kernels} == (set() if freeze else {dtype})
    assert {output.dtype for output in module(torch.from_numpy(noise()))} == {torch.float32}


def test_freezing_keeps_the_outputs(exported: Exporter) -> None:
    frozen, free = (run(exported("torchscript", freeze=freeze), noise()) for freeze in (True, False))
    assert_same_outputs(frozen, free, TOLERANCE["fp32"])


@pytest.mark.parametrize("freeze", [True, False], ids=["frozen", "free"])
def test_inspect_names_weights_of_the_wrong_type(exported: Exporter, freeze: bool) -> None:
    target = registry.load("torchscript")
    path = exported("torchscript", freeze=freeze)
    metadata = target.read_metadata(path)
    assert target.inspect(Artifact(path, metadata)).problems == ()
    problems = target.inspect(Artifact(path, replace(metadata, precision="fp16"))).problems
    assert [problem for problem in problems if "float16" in problem] == list(problems) != []


def test_raw_file_runs_in_plain_torch(exported: Exporter, reference: Reference) -> None:
    outputs = _loaded(exported("torchscript"))(torch.from_numpy(noise()))
    wanted = reference(noise(), "raw")
    found = {name: output.numpy() for name, output in zip(wanted, outputs, strict=True)}
    assert_same_outputs(found, wanted, TOLERANCE["fp32"])


def test_decoded_file_has_the_keys_of_existing_clients(exported: Exporter) -> None:
    keys = _extra(exported("torchscript", outputs="decoded"))
    assert keys["task"] == "segment"
    assert (keys["stride"], keys["batch"], keys["imgsz"]) == (32, 1, [96, 160])
    assert keys["names"] == {str(index): name for index, name in enumerate(NAMES)}


def test_file_with_peer_keys_alone_predicts_the_same(exported: Exporter, tmp_path: Path) -> None:
    foreign = _foreign(exported, tmp_path)
    with edgeseg.load(foreign) as model:
        assert model.metadata.weights_sha256 == ""
    assert_same_instances(predicted(foreign), predicted(exported("torchscript")))


def test_foreign_trace_takes_its_own_size_only(exported: Exporter, tmp_path: Path) -> None:
    with edgeseg.load(_foreign(exported, tmp_path)) as model, pytest.raises(UsageError, match="takes 96 160"):
        model.predict(np.zeros((64, 64, 3), np.uint8), image_size=(64, 64))


def test_foreign_trace_that_says_dynamic_takes_other_sizes(exported: Exporter, tmp_path: Path) -> None:
    foreign = _foreign(exported, tmp_path, args={"dynamic": True})
    assert_same_instances(predicted(foreign, batch=3), predicted(exported("torchscript")))
    assert run(foreign, noise(2, 64, 64))["output1"].shape == (2, 32, 16, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": None}, "config.txt"),
        ({"names": {"0": "square", "7": "disc"}}, "not readable"),
        ({"imgsz": 96}, "config.txt"),
        ({"imgsz": ["96", "wide"]}, "config.txt"),
        ({"task": "detect"}, "'detect'"),
    ],
    ids=["names", "class ids", "one size", "words", "task"],
)
def test_unreadable_peer_keys_are_refused(
    exported: Exporter, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = _foreign(exported, tmp_path, **change)
    with pytest.raises(ArtifactError, match=message) as caught:
        edgeseg.load(path)
    assert str(path) in caught.value.message


def test_trace_without_metadata_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        trace = torch.jit.trace(torch.nn.ReLU(), torch.zeros(1))  # type: ignore[no-untyped-call]
        torch.jit.save(trace, str(tmp_path / "bare.torchscript"))
    with pytest.raises(ArtifactError, match=r"neither edgeseg\.json nor config\.txt"):
        edgeseg.load(tmp_path / "bare.torchscript")


def test_checkpoint_is_not_taken_for_torchscript(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "state.pt")
    assert registry.load("torchscript").recognizes(tmp_path / "state.pt") is False


def test_device_and_threads_are_said(exported: Exporter) -> None:
    with edgeseg.load(exported("torchscript"), threads=torch.get_num_threads()) as model:
        assert model.runner.execution == {"device": "cpu", "threads": str(torch.get_num_threads())}


@pytest.mark.parametrize(
    "device",
    [
        pytest.param("cuda", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")),
        pytest.param("mps", marks=pytest.mark.skipif(torch.backends.mps.is_available(), reason="MPS is here")),
    ],
)
def test_absent_device_is_a_missing_environment(exported: Exporter, device: str) -> None:
    with pytest.raises(EnvironmentMissingError, match=device):
        edgeseg.load(exported("torchscript"), device=device)


def _loaded(path: Path, extra: dict[str, Any] | None = None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.load(str(path), _extra_files=extra)  # type: ignore[no-untyped-call]


def _extra(path: Path) -> dict[str, Any]:
    """The content of config.txt, read as its clients do."""
    texts: dict[str, Any] = {"config.txt": ""}
    _loaded(path, texts)
    keys: dict[str, Any] = json.loads(texts["config.txt"])
    return keys


def _foreign(exported: Exporter, folder: Path, **change: Any) -> Path:
    """A decoded file that only says what a foreign exporter's file says, with some keys changed."""
    path = exported("torchscript", outputs="decoded")
    texts = {"config.txt": json.dumps({**_extra(path), **change})}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(_loaded(path), str(folder / "foreign.torchscript"), _extra_files=texts)
    return folder / "foreign.torchscript"
