"""ncnn int8 with stand-ins for ncnn's programs (`ncnn_tools.py`): what they get, and that ncnn runs what they leave."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest

import edgeseg
from edgeseg import registry
from edgeseg.errors import StageError, UsageError
from edgeseg.target import Artifact, ExportRequest
from edgeseg.testing import tiny_picture
from edgeseg.testing.quantised import outputs_on_tiny_frames, quantised_problems
from edgeseg.testing.tiny import IMAGE_SIZE
from tests.targets import ncnn_tools
from tests.targets.conftest import Exporter

quantised_precisions: Callable[[], tuple[str, ...]] = importlib.import_module(
    "edgeseg_targets.ncnn.tools"
).quantised_precisions


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Of another shape than the network's: they must come letterboxed."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{seed:02}.png" for seed in range(16)]
    for seed, path in enumerate(paths):
        cv2.imwrite(str(path), tiny_picture(120, 160, seed=100 + seed))
    return tuple(paths)


@pytest.fixture(scope="module")
def quantised(
    tiny_weights: Path, pictures: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Artifact]:
    with pytest.MonkeyPatch.context() as patch:
        on_path(patch, ncnn_tools.install(tmp_path_factory.mktemp("bin")))
        yield made(tiny_weights, pictures, tmp_path_factory.mktemp("int8"))


def on_path(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def made(weights: Path, pictures: tuple[Path, ...], folder: Path) -> Artifact:
    # Not by `export`: what a target is able to is settled when it is imported, before the programs are on PATH here.
    target = registry.load("ncnn")
    request = ExportRequest(weights, folder, "tiny", "int8", IMAGE_SIZE, target.options_type(), calibration=pictures)
    return target.export(request)


def test_ncnn_runs_the_int8_network_near_the_reference(quantised: Artifact, tiny_weights: Path) -> None:
    with edgeseg.load(quantised.path) as model, edgeseg.load(tiny_weights) as reference:
        assert model.metadata.precision == "int8"
        assert quantised_problems(reference, outputs_on_tiny_frames(model.runner)) == []


def test_int8_weights_are_in_the_file(quantised: Artifact, exported: Exporter) -> None:
    found = registry.load("ncnn").inspect(quantised)
    assert found.problems == ()
    # All but the one deconvolution.
    assert (found.facts["of_the_precision"], found.facts["convolutions"]) == (79, 80)
    whole = (exported("ncnn") / "model.ncnn.bin").stat().st_size
    assert (quantised.path / "model.ncnn.bin").stat().st_size < 0.35 * whole
    assert sorted(path.name for path in quantised.path.iterdir()) == [
        "metadata.json",
        "model.ncnn.bin",
        "model.ncnn.param",
    ]


def test_int8_takes_both_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert quantised_precisions() == ()
    ncnn_tools.install(tmp_path, ["ncnn2table"])
    assert quantised_precisions() == ()
    ncnn_tools.install(tmp_path, ["ncnn2int8"])
    assert quantised_precisions() == ("int8",)


@pytest.mark.parametrize(
    ("program", "message"),
    [("exit 3", "ncnn2int8 ended with 3"), ("exit 0", "ncnn2int8 wrote no model.ncnn.param")],
    ids=["fails", "writes nothing"],
)
def test_a_program_that_fails_leaves_no_artifact(
    tiny_weights: Path,
    pictures: tuple[Path, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    message: str,
) -> None:
    (folder := tmp_path / "bin").mkdir()
    on_path(monkeypatch, ncnn_tools.install(folder))
    (folder / "ncnn2int8").write_text(f"#!/bin/sh\n{program}\n")
    (out := tmp_path / "out").mkdir()
    with pytest.raises(StageError, match=message):
        made(tiny_weights, pictures, out)
    assert list(out.iterdir()) == []


def test_too_few_pictures_are_refused(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ncnn int8 needs calibration pictures, at least 16: there are 0"):
        made(tiny_weights, (), tmp_path)
