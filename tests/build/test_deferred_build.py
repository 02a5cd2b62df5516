"""A build whose target only its device can finish: the portable graph is proven, the rest goes into a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from edgeseg.bundle.unpack import unpack
from edgeseg.testing import tiny_picture, write_tiny_card
from edgeseg.testing.tiny import IMAGE_SIZE
from tests.cli.running import Outcome, run

FORMAT = "tensorrt"


@pytest.fixture(scope="module")
def card(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deferred")
    (folder / "street").mkdir()
    for seed in range(16):
        cv2.imwrite(str(folder / f"street/{seed:02}.png"), tiny_picture(*IMAGE_SIZE, seed=100 + seed))
    return write_tiny_card(folder / "tiny.yaml", tiny_weights, FORMAT)


@pytest.fixture(scope="module", autouse=True)
def no_gpu() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield


def build(card: Path, output: Path, *more: str) -> tuple[Outcome, dict[str, Any]]:
    done = run("build", card, "-o", output, *more)
    (row,) = json.loads((output / "build.json").read_text())["targets"]
    return done, row


@pytest.fixture(scope="module")
def built(card: Path) -> tuple[Outcome, dict[str, Any]]:
    return build(card, card.parent / "run", "--set", "targets.0.gates.artifact_mb_max=0.001")


def test_graph_is_proven_and_the_rest_deferred_with_a_bundle(
    built: tuple[Outcome, dict[str, Any]], card: Path, tmp_path: Path
) -> None:
    done, row = built
    assert done.code == 0, done.err
    assert row["outcome"] == "deferred"
    assert "CUDA_VISIBLE_DEVICES hides every GPU" in row["message"]
    assert "portable graph that it will be built from: parity passed here" in row["message"]
    assert row["message"] in done.out
    assert row["stages"]["verify"]["masks"]["matched"] > 0
    assert "not TensorRT" in row["stages"]["verify"]["facts"]["artifact_runs_as"]["runs"]
    # The graph is larger than the limit, which is about what the device will make of it.
    judged = {gate["name"] for gate in row["stages"]["gates"]["gates"]}
    assert "mask_iou_median_min" in judged
    assert "artifact_mb_max" not in judged
    assert not {"compile", "benchmark"} & row["stages"].keys()
    manifest = unpack(card.parent / "run" / row["bundle"]["path"], tmp_path / "unpacked")
    assert (manifest.format, manifest.artifact) == (FORMAT, "artifact/tiny-tensorrt-fp16.onnx")


def test_graph_that_fails_its_gates_is_not_deferred(card: Path, built: tuple[Outcome, dict[str, Any]]) -> None:
    """A score error of 0 is what no fp16 reaches. The other stages are those of the first build."""
    done, row = build(card, card.parent / "run", "--set", "targets.0.gates.score_error_max=0")
    assert (done.code, row["outcome"], row["bundle"]) == (5, "parity_failed", None)


def test_require_device_makes_deferring_a_failure(card: Path, built: tuple[Outcome, dict[str, Any]]) -> None:
    done, row = build(card, card.parent / "run", "--set", "targets.0.require=device")
    assert (done.code, row["outcome"]) == (3, "deferred")
    assert "the card says `require: device`" in done.err
    assert row["bundle"] is not None


def test_bundle_says_here_what_is_missing(card: Path, built: tuple[Outcome, dict[str, Any]], tmp_path: Path) -> None:
    path = card.parent / "run" / built[1]["bundle"]["path"]
    done = run("verify", path, "--result", tmp_path / "result.json")
    result = json.loads((tmp_path / "result.json").read_text())
    assert (done.code, result["outcome"]) == (3, "env_missing")
    assert "CUDA_VISIBLE_DEVICES hides every GPU" in result["message"]
