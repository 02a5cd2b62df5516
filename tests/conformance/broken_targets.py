"""Targets with one fault each, and the suite over them. `test_suite_can_fail.py` runs this file and wants failures."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import Field

from edgeseg.metadata import ArtifactMetadata
from edgeseg.target import Artifact, Capabilities, EnvReport, ExportRequest, Findings, Options, Runner
from edgeseg.tensors import INPUT_NAME, Array
from edgeseg.testing import TargetConformance
from tests.conformance.eager_target import EagerTarget
from tests.conformance.plain_target import METADATA_FILE, WEIGHTS_FILE, PlainRunner, PlainRunOptions, PlainTarget


class LeavesAFile(PlainTarget):
    def export(self, request: ExportRequest) -> Artifact:
        (request.output_dir / "temporary.bin").touch()
        return super().export(request)


class HalfFile(PlainTarget):
    def export(self, request: ExportRequest) -> Artifact:
        path = request.output_dir / f"{request.stem}.plain"
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(request.weights, WEIGHTS_FILE)
        return super().export(request)


class ForgetsNames(PlainTarget):
    def read_metadata(self, path: Path) -> ArtifactMetadata:
        metadata = super().read_metadata(path)
        return replace(metadata, names=tuple(f"class{i}" for i in range(len(metadata.names))))


class SwapsHeightAndWidth(PlainTarget):
    def export(self, request: ExportRequest) -> Artifact:
        return super().export(replace(request, image_size=request.image_size[::-1]))


class CrashesOnDamage(PlainTarget):
    def read_metadata(self, path: Path) -> ArtifactMetadata:
        with zipfile.ZipFile(path) as archive:
            return ArtifactMetadata.from_json(archive.read(METADATA_FILE).decode(), str(path))


class RecognizesAnyZip(PlainTarget):
    def recognizes(self, path: Path) -> bool:
        return zipfile.is_zipfile(path)


class RecognizesBySuffix(PlainTarget):
    def recognizes(self, path: Path) -> bool:
        return path.is_file() and path.suffix == ".plain"


class ClaimsItsSdk(PlainTarget):
    def check_env(self) -> EnvReport:
        return EnvReport(versions={"torch": "any"})


class NoRemedy(PlainTarget):
    def check_env(self) -> EnvReport:
        return EnvReport(("something is missing",))


class NotHere(PlainTarget):
    """Has no fault: its SDK is absent."""

    def check_env(self) -> EnvReport:
        return EnvReport(("the plain SDK is not installed",), "pip install plainsdk")


class UnknownPrecision(PlainTarget):
    capabilities = Capabilities(precisions=("fp32", "fp99"), suffix="plain")


class MuteOptions(PlainRunOptions):
    level: int = Field(0)


class UndescribedOption(PlainTarget):
    run_options_type = MuteOptions


class AlwaysAProblem(PlainTarget):
    def inspect(self, artifact: Artifact) -> Findings:
        return Findings({"megabytes": float("nan")}, ("a problem",))


class Faulty(PlainTarget):
    """Opens the runner of the class attribute."""

    runner: type[PlainRunner] = PlainRunner

    def open(self, artifact: Artifact, options: Options) -> Runner:
        return self.runner(artifact, options)


class _Shifted(PlainRunner):
    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        outputs = super()._run(arrays)
        return {**outputs, "p3_cls": outputs["p3_cls"] + np.float32(0.05)}


class ShiftsScores(Faulty):
    runner = _Shifted


class _Bgr(PlainRunner):
    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return super()._run({INPUT_NAME: np.ascontiguousarray(arrays[INPUT_NAME][:, ::-1])})


class ReadsBgr(Faulty):
    runner = _Bgr


class _Noisy(PlainRunner):
    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        noise = np.float32(1e-6) * np.random.default_rng().random(1, np.float32)
        return {name: array + noise for name, array in super()._run(arrays).items()}


class IsNoisy(Faulty):
    runner = _Noisy


class _Reusing(PlainRunner):
    _buffers: dict[str, Array] | None = None

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        outputs = super()._run(arrays)
        if self._buffers is None or outputs["proto"].shape != self._buffers["proto"].shape:
            self._buffers = outputs
        for name, array in outputs.items():
            self._buffers[name][...] = array
        return dict(self._buffers)


class ReusesBuffers(Faulty):
    runner = _Reusing


class _FirstOnly(PlainRunner):
    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        first = super()._run({INPUT_NAME: arrays[INPUT_NAME][:1]})
        return {name: np.repeat(array, len(arrays[INPUT_NAME]), axis=0) for name, array in first.items()}


class RunsTheFirstPictureOnly(Faulty):
    runner = _FirstOnly


class _Unchecked(PlainRunner):
    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return self._run({INPUT_NAME: next(iter(arrays.values())).astype(np.float32)})


class ChecksNothing(Faulty):
    runner = _Unchecked


class _Renamed(PlainRunner):
    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        outputs = super()._run(arrays)
        return {**outputs, "p3_box": outputs["p4_box"], "p4_box": outputs["p3_box"]}


class MixesUpOutputs(Faulty):
    runner = _Renamed


FAULTS: Mapping[type[PlainTarget], tuple[str, ...]] = {
    EagerTarget: ("test_importing_and_checking_import_no_sdk",),
    ClaimsItsSdk: ("test_absent_sdk_is_a_sentence_and_not_a_crash",),
    NoRemedy: ("test_check_env_names_versions_or_problems",),
    UnknownPrecision: ("test_capabilities_make_sense",),
    UndescribedOption: ("test_options_say_what_they_do[run_options_type]",),
    LeavesAFile: ("test_export_leaves_the_artifact_and_nothing_else[fp32]",),
    HalfFile: ("test_full_disk_is_a_clean_error",),
    ForgetsNames: ("test_metadata_read_back_equals_what_was_written[fp32]",),
    SwapsHeightAndWidth: ("test_metadata_says_what_was_exported[fp32]",),
    AlwaysAProblem: ("test_inspect_finds_no_problem[fp32]",),
    CrashesOnDamage: ("test_damaged_artifact_is_refused_by_name[first half only]",),
    RecognizesAnyZip: ("test_foreign_file_is_not_recognized[zip]",),
    RecognizesBySuffix: (
        "test_own_artifact_is_recognized_under_another_name",
        "test_foreign_file_is_not_recognized[jpeg]",
    ),
    ShiftsScores: ("test_parity_holds[fp32]",),
    ReadsBgr: ("test_parity_holds[fp32]",),
    MixesUpOutputs: ("test_outputs_are_as_declared", "test_parity_holds[fp32]"),
    IsNoisy: ("test_same_input_gives_the_same_bits", "test_two_runners_of_one_file_agree"),
    ReusesBuffers: ("test_outputs_belong_to_the_caller",),
    RunsTheFirstPictureOnly: ("test_open_batch_equals_single_runs",),
    ChecksNothing: (
        "test_wrong_input_is_refused[dtype]",
        "test_wrong_input_is_refused[name]",
        "test_wrong_input_is_refused[extra]",
    ),
}
"""Broken target to the tests that must fail over it."""

SKIPPED = ("test_parity_holds[fp32]", "test_closed_runner_refuses_to_run", "test_full_disk_is_a_clean_error")
"""Tests that must skip over `NotHere`."""

_KINDS: tuple[type[PlainTarget], ...] = (*FAULTS, NotHere)
for _kind in _KINDS:
    _name = f"Test{_kind.__name__}"
    globals()[_name] = type(_name, (TargetConformance,), {"target": _kind()})
