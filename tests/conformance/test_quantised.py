"""The limits for quantised artifacts of the tiny network pass a good one and find each of these faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

import edgeseg
from edgeseg.export import export
from edgeseg.target import Runner
from edgeseg.tensors import Array
from edgeseg.testing import tiny_picture
from edgeseg.testing.quantised import outputs_on_tiny_frames, quantised_problems
from edgeseg.testing.tiny import IMAGE_SIZE

Outputs = dict[str, Array]


@pytest.fixture(scope="module")
def reference(tiny_weights: Path) -> Iterator[edgeseg.Model]:
    with edgeseg.load(tiny_weights) as model:
        yield model


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    for seed in range(16):
        cv2.imwrite(str(folder / f"{seed}.png"), tiny_picture(*IMAGE_SIZE, seed=100 + seed))
    return folder


@pytest.fixture(scope="module")
def artifact(tiny_weights: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[edgeseg.Model]:
    folder = tmp_path_factory.mktemp("good")
    made = export(tiny_weights, "onnx", output_dir=folder, precision="int8", calibration=pictures)
    with edgeseg.load(made.path) as model:
        yield model


@pytest.fixture(scope="module")
def good(artifact: edgeseg.Model) -> list[Outputs]:
    return outputs_on_tiny_frames(artifact.runner)


FAULTS: Mapping[str, tuple[Callable[[Outputs], Outputs], str]] = {
    "classes in another order": (lambda o: {**o, "p3_cls": o["p3_cls"][:, [1, 0, 2]]}, "p3_cls"),
    "coefficients in another order": (lambda o: {**o, "p4_coef": np.roll(o["p4_coef"], 1, axis=1)}, "p4_coef"),
    "constant": (lambda o: {**o, "proto": np.ones_like(o["proto"])}, "proto"),
    "shifted scores": (lambda o: {**o, "p3_cls": o["p3_cls"] - 1}, "score MAE"),
    "not a number": (lambda o: {**o, "p5_box": o["p5_box"] * np.float32("nan")}, "p5_box"),
}


def test_a_good_artifact_has_no_problem(reference: edgeseg.Model, good: list[Outputs]) -> None:
    assert quantised_problems(reference, good) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(reference: edgeseg.Model, good: list[Outputs], fault: str) -> None:
    change, named = FAULTS[fault]
    problems = quantised_problems(reference, [change(outputs) for outputs in good])
    assert any(problem.startswith(named) for problem in problems)


class _Bgr(Runner):
    """Another runner, fed the wrong way."""

    def __init__(self, inner: Runner) -> None:
        super().__init__(inner.metadata)
        self._inner = inner

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return self._inner.run({name: np.ascontiguousarray(array[:, ::-1]) for name, array in arrays.items()})


def test_bgr_input_is_found(reference: edgeseg.Model, artifact: edgeseg.Model) -> None:
    assert len(quantised_problems(reference, outputs_on_tiny_frames(_Bgr(artifact.runner)))) > 5


def test_calibration_on_black_pictures_is_found(reference: edgeseg.Model, tiny_weights: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "black"
    pictures.mkdir()
    for index in range(16):
        cv2.imwrite(str(pictures / f"{index}.png"), np.zeros((*IMAGE_SIZE, 3), np.uint8))
    artifact = export(tiny_weights, "onnx", output_dir=tmp_path, precision="int8", calibration=pictures)
    with edgeseg.load(artifact.path) as model:
        assert len(quantised_problems(reference, outputs_on_tiny_frames(model.runner))) > 5
