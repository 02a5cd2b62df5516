"""What the conformance tests share: the target under test, its exports, open models."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg import registry
from edgeseg.errors import EnvironmentMissingError
from edgeseg.predict import Model, load
from edgeseg.target import Artifact, ExportRequest, Target
from edgeseg.tensors import Array
from edgeseg.testing.tiny import IMAGE_SIZE, tiny_picture, write_tiny_weights

STEM = "tiny.v1-test"
"""A stem with a dot: a path made with `Path.with_suffix` would lose the end of it."""

CALIBRATION_PICTURES = 24
"""Drawn for precisions that need any: enough for every target, few enough to be quick."""


@dataclass
class Exports:
    """The exports of the tiny network in one pytest session, each made once.

    Attributes:
        folder: where each export gets a folder of its own.
        weights: the tiny network's weights.
        reference: PyTorch with these weights, open.
    """

    folder: Path
    weights: Path
    reference: Model
    _made: dict[str, Artifact] = field(default_factory=dict)

    def request(self, target: Target, folder: Path, precision: str | None = None, **options: Any) -> ExportRequest:
        """What `target` is asked for; the default precision where none is given."""
        return ExportRequest(
            weights=self.weights,
            output_dir=folder,
            stem=STEM,
            precision=precision or target.capabilities.precisions[0],
            image_size=IMAGE_SIZE,
            options=registry.parse_options(target.options_type, options, f"option of {target.name}"),
            card_sha256="ca4d",
            calibration=self.calibration(target, precision or target.capabilities.precisions[0]),
        )

    def calibration(self, target: Target, precision: str) -> tuple[Path, ...]:
        """Drawn pictures, where the precision needs any."""
        if precision not in target.capabilities.calibrated:
            return ()
        folder = self.weights.parent / "calibration"
        if not folder.is_dir():
            folder.mkdir()
            for seed in range(CALIBRATION_PICTURES):
                # OpenCV writes BGR; which channel is which does not matter to a drawn picture.
                cv2.imwrite(str(folder / f"{seed:03}.png"), tiny_picture(*IMAGE_SIZE, seed=100 + seed))
        return tuple(sorted(folder.iterdir()))

    def get(self, target: Target, precision: str | None = None, **options: Any) -> Artifact:
        """The target's artifact; skips the test where this environment cannot make it."""
        skip_unless_usable(target)
        precision = precision or target.capabilities.precisions[0]
        key = f"{type(target).__module__}.{type(target).__qualname__} {precision} {sorted(options.items())}"
        if key not in self._made:
            folder = self.folder / str(len(list(self.folder.iterdir())))
            folder.mkdir()
            try:
                self._made[key] = target.export(self.request(target, folder, precision, **options))
            except EnvironmentMissingError as error:
                if not target.capabilities.compile_hardware:
                    raise
                pytest.skip(str(error))
        return self._made[key]


_EXPORTS = pytest.StashKey[Exports]()


class TargetSuite:
    """Base of the conformance tests; see `edgeseg.testing.TargetConformance`."""

    target: str | Target = ""

    @classmethod
    def resolved(cls) -> Target:
        """The target under test."""
        return registry.load(cls.target) if isinstance(cls.target, str) else cls.target

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test per precision where a test asks for one."""
        if "precision" in metafunc.fixturenames:
            metafunc.parametrize("precision", self.resolved().capabilities.precisions)

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls) -> Target:
        """The target under test."""
        return cls.resolved()

    @pytest.fixture(scope="class")
    @classmethod
    def exports(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exports:
        """The session's exports, shared by the suites of all targets."""
        stash = request.config.stash
        if _EXPORTS not in stash:
            folder = tmp_path_factory.mktemp("conformance")
            (folder / "exports").mkdir()
            weights = write_tiny_weights(folder / "tiny.safetensors")
            stash[_EXPORTS] = Exports(folder / "exports", weights, load(weights))
        return stash[_EXPORTS]

    @pytest.fixture(scope="class")
    @classmethod
    def artifact(cls, subject: Target, exports: Exports) -> Artifact:
        """The default export."""
        return exports.get(subject)

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, subject: Target, artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
        """The default export, moved and renamed, opened from disk alone; tests leave it open."""
        path = copied(artifact.path, tmp_path_factory.mktemp("moved") / f"moved{artifact.path.suffix}")
        with opened(subject, path) as model:
            yield model


def skip_unless_usable(target: Target) -> None:
    """Skip the running test with the sentence of `check_env` where the target cannot work here."""
    report = target.check_env()
    if not report.usable:
        pytest.skip(f"{target.name}: {'; '.join(report.problems)}. {report.remedy}")


def opened(target: Target, path: Path) -> Model:
    """An artifact, opened with what the file says about itself; skips without the hardware that it runs on."""
    try:
        return Model(target.open(Artifact(path, target.read_metadata(path)), target.run_options_type()), path)
    except EnvironmentMissingError as error:
        if not target.capabilities.run_hardware:
            raise
        pytest.skip(str(error))


def copied(source: Path, destination: Path) -> Path:
    """Copy an artifact, a file or a folder; returns `destination`."""
    if source.is_dir():
        shutil.copytree(source, destination)
    else:
        shutil.copyfile(source, destination)
    return destination


def images(batch: int = 1, size: tuple[int, int] = IMAGE_SIZE, seed: int = 0) -> Array:
    """A seeded input: (batch, 3, height, width) float32 in 0..1."""
    return np.random.default_rng(seed).random((batch, 3, *size), np.float32)
