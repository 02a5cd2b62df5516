"""Single areas, on files and answers as the systems that they come from write them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgeseg.doctor.disk import check_cache, check_output
from edgeseg.doctor.engine import check_engine, engine_facts
from edgeseg.doctor.gpu import check_gpu, nvidia_findings
from edgeseg.doctor.hardware import check_memory, check_processor
from edgeseg.doctor.interpreter import check_packages, check_python
from edgeseg.doctor.traps import check_traps
from edgeseg.doctor.variables import check_variables
from edgeseg.machine import total_memory_mb


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_an_old_python_breaks_the_core() -> None:
    assert check_python((3, 9, 18)).breaks_core
    assert check_python((3, 10, 0)).level == "ok"
    assert check_python().level == "ok"


def test_core_packages_are_there_and_new_enough() -> None:
    (good,) = check_packages()
    assert good.level == "ok"
    assert set(good.facts) == {"numpy", "opencv-python-headless", "pydantic", "click", "pyyaml", "rich"}
    absent, old = check_packages(["numpy>=1.24", "no-such-package>=1", "click>=999.1", 'torch>=2.4; extra == "train"'])
    assert (absent.text, absent.breaks_core) == ("no-such-package is not installed", True)
    assert "too old" in old.text
    assert old.remedy == "pip install --upgrade click"


def test_processor_and_memory_from_proc(tmp_path: Path) -> None:
    root = put(
        tmp_path,
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU\n",
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            "proc/meminfo": "MemTotal:        8000000 kB\nMemAvailable:    4000000 kB\n",
        },
    )
    assert check_processor(root).text.startswith("Some CPU on a Raspberry Pi 5 Model B Rev 1.0, ")
    memory = check_memory(root)
    assert (memory.level, memory.text) == ("ok", "4.1 GB of 8.2 GB are free")
    assert total_memory_mb(root) == pytest.approx(8192)
    put(tmp_path, {"sys/fs/cgroup/memory.max": "1500000000", "sys/fs/cgroup/memory.current": "500000000"})
    put(tmp_path, {"sys/fs/cgroup/memory.stat": "file 0\nshmem 0\n"})
    memory = check_memory(root)
    assert (memory.level, memory.facts["free_mb"]) == ("note", 1000)


def test_folders_are_judged_by_the_nearest_one_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = tmp_path / "a" / "b"
    found = check_output(wanted)
    assert found.level == ("ok" if shutil.disk_usage(tmp_path).free > 2e9 else "note")
    assert not wanted.exists()
    (tmp_path / "file").write_text("")
    assert check_output(tmp_path / "file").breaks_core
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "file"))
    # A cache is worth having, and nothing fails without it.
    assert (check_cache().level, check_cache().breaks_core) == ("note", False)


def test_nvidia_rows_are_read() -> None:
    first, second = nvidia_findings("NVIDIA H100 80GB HBM3, 550.90.07, 81559, 4\nOrin (nvgpu), 540.3.0, [N/A], [N/A]\n")
    assert first.text == "NVIDIA: NVIDIA H100 80GB HBM3, driver 550.90.07, 4 of 81559 MiB used"
    assert first.facts == {"name": "NVIDIA H100 80GB HBM3", "driver": "550.90.07", "memory_mib": 81559}
    assert second.text == "NVIDIA: Orin (nvgpu), driver 540.3.0"
    assert nvidia_findings("No devices were found\n") == []


def test_graphics_that_the_kernel_tells_of(tmp_path: Path) -> None:
    root = put(
        tmp_path, {"sys/class/drm/card0/device/vendor": "0x8086\n", "sys/class/drm/card1/device/vendor": "0x1\n"}
    )
    assert "Intel graphics" in [finding.text for finding in check_gpu(root)]


def test_a_driver_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "nvidia-smi", "echo 'NVIDIA-SMI has failed'; exit 9")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (found, *_) = check_gpu(tmp_path)
    assert (found.level, found.text) == ("note", "nvidia-smi is there, but tells of no GPU: NVIDIA-SMI has failed")


def test_engine_answers_are_read() -> None:
    docker = b'{"ServerVersion": "28.2.2", "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]}'
    podman = b'{"host": {"security": {"rootless": true}}, "version": {"Version": "5.4.0"}}'
    assert engine_facts(docker) == {"version": "28.2.2", "rootless": True}
    assert engine_facts(podman) == {"version": "5.4.0", "rootless": True}
    assert engine_facts(b'{"ServerVersion": "28.2.2", "SecurityOptions": null}')["rootless"] is False
    # A client without its daemon.
    assert engine_facts(b'{"ServerErrors": ["Cannot connect to the Docker daemon"]}')["version"] == ""
    assert engine_facts(b"[]")["version"] == ""


def test_engines_that_are_absent_silent_or_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESEG_ENGINE", str(tmp_path / "nowhere"))
    assert "nowhere" in check_engine().text
    silent = program(tmp_path / "silent", "echo 'Cannot connect to the daemon' >&2; exit 1")
    monkeypatch.setenv("EDGESEG_ENGINE", str(silent))
    found = check_engine()
    assert (found.level, "Cannot connect to the daemon" in found.text) == ("note", True)
    well = program(tmp_path / "well", """echo '{"ServerVersion": "1.2", "SecurityOptions": []}'""")
    monkeypatch.setenv("EDGESEG_ENGINE", f"{well} --context board")
    assert check_engine().text == f"{well} --context board 1.2, with root"


def test_variables_that_are_wrong_are_said(tmp_path: Path) -> None:
    values = {
        "OMP_WAIT_POLICY": "ACTIVE",
        "EDGESEG_DATA": str(tmp_path / "nowhere"),
        "EDGESEG_CACHE": str(tmp_path / "later"),
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    levels = {finding.facts["name"]: finding.level for finding in check_variables(values)}
    assert levels == {
        "OMP_WAIT_POLICY": "note",
        "EDGESEG_DATA": "problem",
        "EDGESEG_CACHE": "ok",
        "CUDA_VISIBLE_DEVICES": "note",
    }
    assert [finding.level for finding in check_variables({})] == ["ok"]


@pytest.mark.parametrize(
    ("versions", "package"),
    [
        ({"coremltools": "9.0", "numpy": "2.4.0"}, "coremltools"),
        ({"coremltools": "9.0", "numpy": "2.3.6"}, "coremltools"),
        ({"coremltools": "9.0", "numpy": "2.3.5"}, ""),
        ({"numpy": "2.4.0"}, ""),
        ({"tflite-runtime": "2.14.0", "numpy": "2.0.0"}, "tflite-runtime"),
        ({"tflite-runtime": "2.14.0", "numpy": "1.26.4"}, ""),
        ({"paddlepaddle": "3.3.1"}, "paddlepaddle"),
        ({"paddlepaddle": "3.2.2"}, ""),
    ],
)
def test_known_conflicts_are_found_by_their_versions(versions: dict[str, str], package: str) -> None:
    (found,) = check_traps(lambda name: versions.get(name, ""))
    assert (found.level, found.text.startswith(package)) == ("problem" if package else "ok", True)
    assert found.breaks_core is False


def program(path: Path, script: str) -> Path:
    """A program of that name, since no machine has all of these."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path
