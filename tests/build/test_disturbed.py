"""Kills, full disks, read-only folders, clocks set back, two builds in one folder: whole results or a clean word."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.build.rough_builds import build, card_of, command, environment

KILLS = 6
"""`benchmarks/build_kills.py` does 20 on a build of the real network."""

TARGETS = [{"format": "onnx"}, {"format": "torchscript"}]


def _hashes(output: Path) -> dict[str, str]:
    content = json.loads((output / "build.json").read_text())
    found = {row["id"]: output / row["artifact"]["path"] for row in content["targets"]}
    for row in content["targets"]:
        assert row["artifact"]["sha256"] == hashlib.sha256(found[row["id"]].read_bytes()).hexdigest()
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}


@pytest.fixture(scope="module")
def card(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return card_of(tmp_path_factory.mktemp("card"), tiny_weights, TARGETS)


@pytest.fixture(scope="module")
def undisturbed(card: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    start = time.monotonic()
    assert build(card, output).code == 0
    return _hashes(output), time.monotonic() - start


def test_killed_build_goes_on_to_the_same_artifacts(
    card: Path, undisturbed: tuple[dict[str, str], float], tmp_path: Path
) -> None:
    wanted, seconds = undisturbed
    moments = random.Random(0)
    killed = 0
    output = tmp_path / "out"
    for _ in range(KILLS):
        process = subprocess.Popen(
            command(card, output), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moments.uniform(0.1, 0.9) * seconds)
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        for manifest in output.rglob("*.manifest.json"):
            # A manifest is there whole, with the outputs that it names.
            content = json.loads(manifest.read_text())
            for name, path in content["outputs"].items():
                found = hashlib.sha256((manifest.parent / path).read_bytes()).hexdigest()
                assert found == content["output_sha256"][name]
    assert killed
    assert build(card, output).code == 0
    assert _hashes(output) == wanted
    assert not (output / ".scratch").exists()
    assert not [path for path in output.rglob(".*") if path.name != ".lock"]


def test_second_build_runs_nothing_and_a_changed_gate_only_the_gates(
    card: Path, undisturbed: tuple[dict[str, str], float], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert build(card, output).code == 0
    again = build(card, output)
    assert "nothing had to run again" in again.out
    assert all(row["seconds"] == {} for row in again.content["targets"])
    gate = build(card, output, "--set", "targets.0.gates.mask_iou_min=0.5")
    assert [list(row["seconds"]) for row in gate.content["targets"]] == [["gates"], []]
    assert "`gates.mask_iou_min` changed: 0.99 -> 0.5" in gate.err
    precision = build(card, output, "--set", "targets.0.precision=fp16", "--set", "targets.0.name=onnx-fp32")
    ran = [list(row["seconds"]) for row in precision.content["targets"]]
    assert ran == [["export", "inspect", "verify", "benchmark", "gates"], []]
    forced = build(card, output, "--force", "inspect", "--set", "targets.0.precision=fp16", "--set",
                   "targets.0.name=onnx-fp32")  # fmt: skip
    assert [list(row["seconds"]) for row in forced.content["targets"]] == [["inspect"], ["inspect"]]


def test_clock_set_back_changes_nothing(card: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert build(card, output).code == 0
    future = time.time() + 86400
    # To a clock that was set back, everything that is there is of the future.
    for path in [*output.rglob("*"), card]:
        os.utime(path, (future, future))
    assert "nothing had to run again" in build(card, output).out
    artifact = output / "onnx-fp32/tiny-onnx-fp32.onnx"
    artifact.write_bytes(artifact.read_bytes()[:-1])
    os.utime(artifact, (future, future))
    mended = build(card, output)
    assert "its output tiny-onnx-fp32.onnx was changed" in mended.err
    assert mended.code == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "edgeseg-test", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def _remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def test_full_disk_is_said_and_the_next_build_completes(
    card: Path, undisturbed: tuple[dict[str, str], float], small_disk: Path
) -> None:
    output = small_disk / "out"
    full = build(card, output)
    assert full.code in (2, 4)
    assert "No space left on device" in full.err
    assert "Traceback" not in full.err
    _remount(small_disk, "size=50m")
    assert build(card, output).code == 0
    assert _hashes(output) == undisturbed[0]


def test_read_only_folder_is_said(card: Path, small_disk: Path) -> None:
    _remount(small_disk, "size=50m")
    output = small_disk / "out"
    assert build(card, output, "--only", "torchscript").code == 0
    _remount(small_disk, "ro")
    refused = build(card, output)
    assert refused.code == 2
    assert "Read-only file system" in refused.err
    assert "choose a place that you may write to" in refused.err
    assert "Traceback" not in refused.err


def test_second_build_in_the_same_folder_is_refused(tiny_weights: Path, tmp_path: Path) -> None:
    card = card_of(tmp_path, tiny_weights, [{"format": "hanging"}], stage_s=60)
    output = tmp_path / "out"
    process = subprocess.Popen(
        command(card, output), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not (output / "hanging-fp32/export.manifest.json").is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
        refused = build(card, output)
        assert refused.code == 2
        assert f"another build works here (process {process.pid})" in refused.err
        # The first one's scratch is untouched.
        assert (output / ".scratch").is_dir()
    finally:
        process.kill()
        process.wait()


def test_interrupted_build_leaves_no_process_behind(tiny_weights: Path, tmp_path: Path) -> None:
    import psutil

    card = card_of(tmp_path, tiny_weights, [{"format": "hanging"}], stage_s=120)
    output = tmp_path / "out"
    process = subprocess.Popen(
        command(card, output), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (output / "hanging-fp32/inspect.manifest.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    process.kill()
    process.wait()
    # A worker whose build is gone ends by itself.
    _, alive = psutil.wait_procs(workers, timeout=20)
    for worker in alive:
        worker.kill()
    assert alive == []


def test_ctrl_c_ends_the_running_stage_and_starts_no_other(tiny_weights: Path, tmp_path: Path) -> None:
    card = card_of(tmp_path, tiny_weights, [{"format": "hanging"}, {"format": "onnx"}], stage_s=200)
    output = tmp_path / "out"
    process = subprocess.Popen(
        command(card, output), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 90
    while not (output / "hanging-fp32/inspect.manifest.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: the same command goes on" in said
    assert not (output / "hanging-fp32/verify.manifest.json").exists()
    assert not (output / "onnx-fp32").exists()
    assert not (output / ".scratch").exists()
