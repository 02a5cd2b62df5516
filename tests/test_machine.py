"""The machine's state from files as the Linux kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseg.machine import MachineState, peak_memory_mb, read_machine, read_state, throttled


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_state_reads_the_hottest_zone_the_slowest_core_and_all_throttle_counts(tmp_path: Path) -> None:
    cpus = "sys/devices/system/cpu"
    root = write(
        tmp_path,
        {
            "sys/class/thermal/thermal_zone0/temp": "41500\n",
            "sys/class/thermal/thermal_zone1/temp": "63250\n",
            f"{cpus}/cpu0/cpufreq/scaling_cur_freq": "1800000\n",
            f"{cpus}/cpu1/cpufreq/scaling_cur_freq": "600000\n",
            f"{cpus}/cpu0/cpufreq/cpuinfo_max_freq": "2400000\n",
            f"{cpus}/cpu0/thermal_throttle/core_throttle_count": "3\n",
            f"{cpus}/cpu1/thermal_throttle/core_throttle_count": "4\n",
        },
    )
    state = read_state(root)
    assert (state.temperature_c, state.frequency_mhz, state.max_frequency_mhz) == (63.25, 600.0, 2400.0)
    assert state.throttle_count == 7


def test_state_of_a_machine_that_tells_nothing_is_none(tmp_path: Path) -> None:
    state = read_state(tmp_path)
    assert (state.temperature_c, state.frequency_mhz, state.max_frequency_mhz) == (None, None, None)
    assert state.throttle_count is None


def test_state_passes_over_a_sensor_without_a_reading(tmp_path: Path) -> None:
    zones = {"sys/class/thermal/thermal_zone0/temp": "", "sys/class/thermal/thermal_zone1/temp": "-5000\n"}
    assert read_state(write(tmp_path, zones)).temperature_c == -5.0


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        pytest.param(3, 4, True, id="rose"),
        pytest.param(3, 3, False, id="same"),
        pytest.param(None, None, None, id="not-counted"),
    ],
)
def test_throttling_is_a_rise_of_the_count(before: int | None, after: int | None, found: bool | None) -> None:
    def state(count: int | None) -> MachineState:
        return MachineState(None, None, None, None, count)

    assert throttled(state(before), state(after)) is found


def test_machine_names_processor_and_board(tmp_path: Path) -> None:
    files = {"proc/cpuinfo": "processor\t: 0\nmodel name\t: Fast 9000\n", "proc/device-tree/model": "Small Board 5\0"}
    machine = read_machine(write(tmp_path, files))
    assert (machine.cpu, machine.board) == ("Fast 9000", "Small Board 5")
    assert machine.cores >= 1


def test_peak_memory_is_in_units_of_ten_to_the_six(tmp_path: Path) -> None:
    # The kernel's kB are of 1024 bytes.
    root = write(tmp_path, {"proc/self/status": "Name:\tpython\nVmHWM:\t  250000 kB\nVmRSS:\t 1 kB\n"})
    assert peak_memory_mb(root) == 256.0
