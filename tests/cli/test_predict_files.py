"""`edgeseg predict`: what it reads, and what it says where a model, a source or an output is no good."""

from __future__ import annotations

import functools
import http.server
import json
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import files_in, run, started
from tests.media import read_video, write_picture, write_video


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """A folder with two pictures and a short video."""
    folder = tmp_path / "street"
    write_picture(folder / "one.png")
    write_picture(folder / "two.png", 1)
    write_video(folder / "clip.avi", 2)
    return folder


@pytest.fixture
def site(street: Path) -> Iterator[str]:
    """The URL of a server of that folder."""
    handler = functools.partial(_Quiet, directory=street)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_reads_a_folder_a_glob_and_a_list(tiny_onnx: Path, street: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# two of them\nstreet/two.png\n\nstreet/one.png\n")

    def names(source: object) -> list[str]:
        return [
            line.partition(": ")[0].removeprefix(f"{street}/")
            for line in run("predict", tiny_onnx, source).out.splitlines()
        ]

    assert names(street) == ["clip.avi frame 0", "clip.avi frame 1", "one.png", "two.png"]
    assert names(street / "*.png") == ["one.png", "two.png"]
    assert names(tmp_path / "list.txt") == ["two.png", "one.png"]


def test_reads_a_picture_from_stdin(tiny_onnx: Path, street: Path, tmp_path: Path) -> None:
    piped = run("predict", tiny_onnx, "-", "--save", tmp_path / "out", stdin=(street / "one.png").read_bytes())
    plain = run("predict", tiny_onnx, street / "one.png")
    assert piped.code == 0
    assert piped.out == plain.out.replace(str(street / "one.png"), "stdin")
    assert files_in(tmp_path / "out") == {"stdin.jpg"}


def test_reads_a_url(tiny_onnx: Path, street: Path, site: str, tmp_path: Path) -> None:
    outcome = run("predict", tiny_onnx, f"{site}/one.png?size=large", f"{site}/none.png", "--save", tmp_path / "out")
    assert (
        outcome.out.partition("one.png?size=large: ")[2]
        == run("predict", tiny_onnx, street / "one.png").out.partition("one.png: ")[2]
    )
    assert f"error: {site}/none.png: the server answers 404" in outcome.err
    assert outcome.code == 2
    assert files_in(tmp_path / "out") == {"one.jpg"}


def test_an_absent_camera_is_a_missing_environment(tiny_onnx: Path) -> None:
    outcome = run("predict", tiny_onnx, "camera:99")
    assert outcome.code == 3
    assert "error: camera:99: no such camera" in outcome.err


@pytest.mark.parametrize("name", ["empty", "none.png", "notes.md"])
def test_a_source_that_is_none_is_named(tiny_onnx: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.md").write_text("no picture")
    outcome = run("predict", tiny_onnx, tmp_path / name)
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {tmp_path / name}: ")
    assert outcome.out == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.onnx", "no such file or folder"),
        ("notes.txt", "neither weights"),
        ("photo.jpg", "neither weights"),
        ("folder", "neither weights"),
        ("empty.pt", "neither weights"),
        ("cut.onnx", "cannot load it"),
    ],
)
def test_a_model_that_is_none_is_named(tiny_onnx: Path, tmp_path: Path, name: str, message: str) -> None:
    write_picture(tmp_path / "photo.jpg")
    (tmp_path / "notes.txt").write_text("no model")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "cut.onnx").write_bytes(tiny_onnx.read_bytes()[:20_000])
    outcome = run("predict", tmp_path / name, tmp_path / "photo.jpg", "--json", tmp_path / "r.json")
    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {tmp_path / name}: ")
    assert message in outcome.err
    assert not (tmp_path / "r.json").exists()


def test_detection_weights_are_refused_by_name(shared: Path, street: Path) -> None:
    outcome = run("predict", shared / "weights" / "yolov8n.pt", street)
    assert outcome.code == 2
    assert "yolov8n.pt" in outcome.err
    assert "detector" in outcome.err


@pytest.mark.parametrize("option", ["--save", "--txt", "--masks"])
@pytest.mark.parametrize("below", [False, True], ids=["a file", "below a file"])
def test_an_output_folder_that_cannot_be_is_known_before_anything_runs(
    tiny_onnx: Path, street: Path, tmp_path: Path, option: str, below: bool
) -> None:
    (tmp_path / "file").write_text("mine")
    folder = tmp_path / "file" / "below" if below else tmp_path / "file"
    outcome = run("predict", tiny_onnx, street, option, folder)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {folder}: ")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["folder.json", "pipe.json", "file/r.json"])
def test_a_json_file_that_cannot_be_is_known_before_anything_runs(
    tiny_onnx: Path, street: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe.json")
    outcome = run("predict", tiny_onnx, street, "--json", tmp_path / name)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {tmp_path / name.partition('/')[0]}: ")
    assert (tmp_path / "pipe.json").is_fifo()


@pytest.mark.parametrize("option", ["--save", "--masks"])
def test_pictures_are_never_written_over_the_sources(
    tiny_onnx: Path, street: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    before = {name: (street / name).read_bytes() for name in files_in(street)}
    monkeypatch.chdir(street)
    outcome = run("predict", tiny_onnx, "one.png", option, ".")
    assert outcome.code == 2
    assert "holds the source one.png" in outcome.err
    assert {name: (street / name).read_bytes() for name in files_in(street)} == before


def test_labels_may_lie_beside_the_pictures(tiny_onnx: Path, street: Path) -> None:
    assert run("predict", tiny_onnx, street / "one.png", "--txt", street).code == 0
    assert (street / "one.txt").is_file()


def test_a_full_disk_names_the_file_and_leaves_no_half_of_it(tiny_onnx: Path, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.avi", 12, (240, 320))
    outputs = tmp_path / "out"
    # A limit on the size of a file fails a write as a full disk does.
    limit = 4096

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    for option, name in (("--json", "r.json"), ("--save", "clip.mp4"), ("--masks", "clip/000000.png")):
        target = outputs / name if option == "--json" else outputs
        with started("predict", tiny_onnx, clip, "--score", 0.1, option, target, preexec_fn=limited) as process:
            _, err = process.communicate()
        assert process.returncode == 2, err
        assert f"error: {outputs / name}: cannot be written" in err
        assert "Traceback" not in err
        assert not files_in(outputs)


def test_a_file_name_that_is_no_text_is_printed_and_written(tiny_onnx: Path, tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "plain.png")
    odd = os.fsdecode(b"caf\xe9.png")
    try:
        picture.rename(tmp_path / odd)
    except OSError:
        pytest.skip("this disk takes only file names that are text")
    outcome = run(
        "predict", tiny_onnx, tmp_path, "--score", 0.1, "--json", tmp_path / "r.json", "--save", tmp_path / "out"
    )
    assert outcome.code == 0
    assert "caf\\udce9.png: " in outcome.out
    assert {row["file_name"] for row in json.loads((tmp_path / "r.json").read_text())} == {odd}
    assert files_in(tmp_path / "out") == {os.fsdecode(b"caf\xe9.jpg")}


def test_a_cut_video_gives_the_frames_it_has(tiny_onnx: Path, tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.avi", 40)
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    outcome = run("predict", tiny_onnx, cut, "--save", tmp_path / "out")
    assert outcome.code == 2
    assert f"error: {cut}: the video breaks off" in outcome.err
    frames, _ = read_video(tmp_path / "out" / "cut.mp4")
    assert 0 < len(frames) < 40
    assert len(frames) == len(outcome.out.splitlines())
