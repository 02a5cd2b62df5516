"""`edgeseg predict` over many pictures: broken ones, interrupts, closed pipes, terminals."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.cli.running import files_in, run, started
from tests.media import read_video, write_picture, write_video


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand pictures of 48 x 64 pixels, of which number 500 is none."""
    folder = tmp_path_factory.mktemp("thousand")
    made = [write_picture(folder / "made" / f"{seed}.png", seed, (48, 64)) for seed in range(10)]
    for number in range(1000):
        shutil.copy(made[number % 10], folder / f"{number}.png")
    (folder / "500.png").write_bytes(b"not a picture")
    shutil.rmtree(folder / "made")
    return folder


def test_one_broken_picture_of_a_thousand_is_reported_and_skipped(
    tiny_onnx: Path, thousand: Path, tmp_path: Path
) -> None:
    path = tmp_path / "r.json"
    outcome = run("predict", tiny_onnx, thousand, "--max-detections", 3, "--json", path)
    assert outcome.code == 2
    lines = outcome.out.splitlines()
    assert [int(Path(line.partition(": ")[0]).stem) for line in lines] == [i for i in range(1000) if i != 500]
    assert outcome.err.splitlines()[0].startswith(f"error: {thousand / '500.png'}: ")
    rows = json.loads(path.read_text())
    assert outcome.err.splitlines()[-1] == f"999 done, {len(rows)} masks, 1 could not be read"
    found = {int(Path(line.partition(": ")[0]).stem) for line in lines if not line.endswith(": nothing")}
    assert {row["image_id"] for row in rows} == found
    assert found


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "service stop"])
def test_an_interrupt_leaves_whole_files_only(tiny_onnx: Path, tmp_path: Path, signum: signal.Signals) -> None:
    clip = write_video(tmp_path / "clip.avi", 400)
    outputs = tmp_path / "out"
    arguments = ("--save", outputs, "--masks", outputs / "masks", "--json", outputs / "r.json", "--score", 0.1)
    with started("predict", tiny_onnx, clip, *arguments) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(20)]
        process.send_signal(signum)
        rest, err = process.communicate()
    assert process.returncode == 130
    done = len(lines) + len(rest.splitlines())
    assert 20 <= done < 400
    # A result that was written when the interrupt came may lack its line.
    frames, _ = read_video(outputs / "clip.mp4")
    assert len(frames) in (done, done + 1)
    assert files_in(outputs) == {"clip.mp4", "r.json", *(f"masks/clip/{i:06d}.png" for i in range(len(frames)))}
    indices = [row["frame_index"] for row in json.loads((outputs / "r.json").read_text())]
    assert indices == sorted(indices)
    assert 0 < len(set(indices)) <= len(frames)
    assert re.search(r"\d+ done, \d+ masks, interrupted; every file written so far is complete\n", err)
    assert "Traceback" not in err


def test_a_kill_leaves_no_half_file_under_its_final_name(tiny_onnx: Path, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.avi", 400)
    outputs = tmp_path / "out"
    outputs.mkdir()
    (outputs / "r.json").write_text("[]\n")
    with started("predict", tiny_onnx, clip, "--save", outputs, "--json", outputs / "r.json") as process:
        assert process.stdout is not None
        for _ in range(20):
            process.stdout.readline()
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert {name for name in files_in(outputs) if not name.startswith(".")} == {"r.json"}
    assert (outputs / "r.json").read_text() == "[]\n"


def test_a_reader_that_goes_away_ends_the_run_quietly(tiny_onnx: Path, thousand: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    with started("predict", tiny_onnx, thousand, "--json", path) as process:
        assert process.stdout is not None and process.stderr is not None
        first = process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert first.startswith(str(thousand / "0.png"))
    assert (process.returncode, err) == (141, "")
    assert isinstance(json.loads(path.read_text()), list)


def test_results_stay_on_stdout_while_a_bar_is_on_the_terminal(tiny_onnx: Path, thousand: Path) -> None:
    pictures = [thousand / f"{number}.png" for number in range(499, 503)]
    terminal, side = pty.openpty()
    with started("predict", tiny_onnx, *pictures, stderr=side) as process:
        os.close(side)
        out, _ = process.communicate()
    shown = _drain(terminal)
    assert [Path(line.partition(": ")[0]).stem for line in out.splitlines()] == ["499", "501", "502"]
    assert "\x1b" not in out
    assert "4/4" in shown
    assert f"error: {thousand / '500.png'}"[:60] in shown.replace("\r\n", "")
    assert re.search(r"3 done, \d+ masks?, 1 could not be read", shown)
    assert "499.png: " not in shown


def _drain(terminal: int) -> str:
    parts = []
    # Linux says EIO at the end of a terminal's other side.
    with contextlib.suppress(OSError):
        while data := os.read(terminal, 4096):
            parts.append(data)
    os.close(terminal)
    return b"".join(parts).decode()
