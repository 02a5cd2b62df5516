"""The stream of frames: order, broken files, memory, and what is left when the caller stops."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgeseg.errors import SourceError
from edgeseg.sources import BrokenFrame, Frame, Limits, open_sources
from edgeseg.sources.ahead import read_ahead
from tests.sources.conftest import write_picture


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "edgeseg-read-ahead"]


def write_video(path: Path, frames: int = 30) -> Path:
    """A 64 x 48 MJPEG video at 10 frames a second; frame i is of the grey 8 * i."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for index in range(frames):
        writer.write(np.full((48, 64, 3), 8 * index, np.uint8))
    writer.release()
    return path


def test_broken_picture_is_a_record_in_its_place(tmp_path: Path) -> None:
    for index in range(6):
        write_picture(tmp_path / f"{index}.png", index)
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "4.png").write_bytes(write_picture(tmp_path / "4.png").read_bytes()[:-20])
    frames = list(open_sources(tmp_path))
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4, 5]
    broken = [frame for frame in frames if isinstance(frame, BrokenFrame)]
    assert [Path(frame.source).name for frame in broken] == ["2.png", "4.png"]
    assert "an empty file" in broken[0].error.message
    assert "ends before its end mark" in broken[1].error.message
    assert [int(frame.picture[0, 0, 0]) for frame in frames if isinstance(frame, Frame)] == [0, 1, 3, 5]


def test_picture_over_the_limit_is_a_record(tmp_path: Path) -> None:
    frames = list(open_sources(write_picture(tmp_path / "a.png"), limits=Limits(max_pixels=47)))
    assert isinstance(frames[0], BrokenFrame)
    assert "expected at most 47 pixels" in frames[0].error.message


def test_video_gives_its_frames_in_order(tmp_path: Path) -> None:
    sources = open_sources(write_video(tmp_path / "clip.avi"))
    assert sources.total == 30
    frames = [frame for frame in sources if isinstance(frame, Frame)]
    assert [frame.frame_index for frame in frames] == list(range(30))
    assert [frame.time_s for frame in frames] == pytest.approx([index / 10 for index in range(30)])
    np.testing.assert_allclose([frame.picture.mean() for frame in frames], 8 * np.arange(30), atol=2)
    assert {frame.frames_per_second for frame in frames} == {10.0}


def test_video_equals_opencv_frame_by_frame_in_rgb(shared: Path) -> None:
    path = shared / "media" / "car-detection.mp4"
    sources = open_sources(str(path))
    assert sources.total == 377
    capture = cv2.VideoCapture(str(path))
    count = 0
    for frame in sources:
        found, bgr = capture.read()
        assert found and isinstance(frame, Frame)
        assert frame.picture.shape == (432, 768, 3)
        if count % 40 == 0:
            assert np.array_equal(frame.picture[..., ::-1], bgr)
            assert frame.time_s == pytest.approx(count / 12.5, abs=1e-3)
        count += 1
    capture.release()
    assert count == 377


def test_video_is_turned_upright_by_its_metadata(shared: Path, tmp_path: Path) -> None:
    """The track header's matrix (ISO 14496-12, 8.3.2) patched to a turn by 90 degrees, as phones write it."""
    data = bytearray((shared / "media" / "car-detection.mp4").read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    identity = np.array([1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
    assert data[at : at + 36] == identity
    data[at : at + 36] = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 432 << 16, 0, 1 << 30], ">i4").tobytes()
    (tmp_path / "phone.mp4").write_bytes(data)
    plain = next(iter(open_sources(shared / "media" / "car-detection.mp4")))
    turned = next(iter(open_sources(tmp_path / "phone.mp4")))
    assert isinstance(plain, Frame) and isinstance(turned, Frame)
    assert np.array_equal(turned.picture, np.rot90(plain.picture, -1))


def test_video_that_is_cut_off_ends_with_a_record(tmp_path: Path) -> None:
    data = write_video(tmp_path / "clip.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) // 2])
    *frames, last = open_sources(tmp_path / "cut.avi")
    assert 0 < len(frames) < 27
    assert all(isinstance(frame, Frame) for frame in frames)
    assert isinstance(last, BrokenFrame)
    assert f"breaks off after {len(frames)} of about 30 frames" in last.error.message


@pytest.mark.parametrize("content", [b"", b"no video at all" * 50], ids=["empty", "text"])
def test_file_that_is_no_video_is_a_record(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip01.mp4").write_bytes(content)
    (frame,) = open_sources(tmp_path / "clip01.mp4")
    assert isinstance(frame, BrokenFrame)
    assert "no video that OpenCV" in frame.error.message


def test_video_frames_over_the_limit_are_a_record(tmp_path: Path) -> None:
    (frame,) = open_sources(write_video(tmp_path / "clip.avi", 3), limits=Limits(max_pixels=1000))
    assert isinstance(frame, BrokenFrame)
    assert "frames of 64x48" in frame.error.message


@pytest.mark.parametrize("size", [1, 2, 5])
def test_few_frames_are_alive_at_a_time(tmp_path: Path, size: int) -> None:
    path = write_video(tmp_path / "clip.avi")
    made: list[weakref.ref[NDArray[Any]]] = []

    def stream() -> Any:
        capture = cv2.VideoCapture(str(path))
        while True:
            found, frame = capture.read()
            if not found:
                capture.release()
                return
            made.append(weakref.ref(frame))
            yield frame

    def alive() -> int:
        return sum(ref() is not None for ref in made)

    most = 0
    for frame in open_sources(stream(), limits=Limits(read_ahead=size)):
        assert isinstance(frame, Frame)
        time.sleep(0.005)  # the reader gets as far ahead as it can
        most = max(most, alive())
    assert 2 <= most <= size + 2
    del frame
    assert (len(made), alive()) == (30, 0)


def test_video_memory_is_bounded(tmp_path: Path) -> None:
    """Weak references to every picture of a video: no more than read_ahead + 2 are ever alive."""
    seen: list[weakref.ref[NDArray[np.uint8]]] = []
    limits = Limits(read_ahead=2)
    for frame in open_sources(write_video(tmp_path / "clip.avi"), limits=limits):
        assert isinstance(frame, Frame)
        seen.append(weakref.ref(frame.picture))
        # Of the frames that the caller was given, only this one lives on.
        assert sum(ref() is not None for ref in seen) == 1
    assert len(seen) == 30


@pytest.mark.parametrize("stop", ["close", "drop", "raise", "end"])
def test_nothing_is_left_when_the_caller_stops(tmp_path: Path, stop: str) -> None:
    path = write_video(tmp_path / "clip.avi")
    frames = iter(open_sources([path, path]))
    next(frames)
    (thread,) = reading_threads()
    if stop == "close":
        frames.close()
    elif stop == "raise":
        with pytest.raises(KeyboardInterrupt):
            frames.throw(KeyboardInterrupt())
    elif stop == "end":
        assert sum(1 for _ in frames) == 59
    else:
        del frames
        gc.collect()
    assert not thread.is_alive()
    assert reading_threads() == []
    open_files = Path("/proc/self/fd")
    if open_files.is_dir():
        assert path not in {link.resolve() for link in open_files.iterdir()}


def test_nothing_starts_before_the_first_frame_is_asked_for(tmp_path: Path) -> None:
    # More than it may read ahead: it waits for room, and has not ended, when it is looked at.
    sources = open_sources([write_picture(tmp_path / "a.png")] * 8)
    frames = iter(sources)
    assert reading_threads() == []
    next(frames)
    assert len(reading_threads()) == 1
    assert len(list(frames)) + 1 == len(list(sources)) == 8


@pytest.mark.parametrize("kind", ["file", "array"])
def test_one_picture_is_read_without_a_thread(tmp_path: Path, kind: str) -> None:
    source = write_picture(tmp_path / "a.png") if kind == "file" else np.zeros((4, 6, 3), np.uint8)
    frames = iter(open_sources(source))
    frame = next(frames)
    assert isinstance(frame, Frame)
    assert frame.index == 0
    assert reading_threads() == []
    assert list(frames) == []


def test_decoding_runs_ahead_of_the_caller_up_to_the_limit() -> None:
    made: list[int] = []

    def pictures() -> Any:
        for index in range(10):
            made.append(index)
            yield np.full((2, 2), index, np.uint8)

    frames = iter(open_sources(pictures(), limits=Limits(read_ahead=3)))
    next(frames)
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert 4 <= len(made) <= 5


def test_live_source_drops_what_nobody_took() -> None:
    taken, done = threading.Event(), threading.Event()

    def camera() -> Any:
        yield 0, True
        taken.wait(5)
        for index in range(1, 100):
            yield index, True
        done.set()

    frames = read_ahead(camera(), 2)
    assert next(frames) == 0
    taken.set()
    assert done.wait(5)
    assert list(frames) == [98, 99]


def test_still_source_drops_nothing() -> None:
    items = ((index, False) for index in range(200))
    assert list(read_ahead(items, 1)) == list(range(200))


def test_error_of_the_reader_comes_after_what_it_read() -> None:
    def failing() -> Any:
        yield 1, False
        yield 2, False
        raise SourceError("stopped")

    frames = read_ahead(failing(), 4)
    assert list(itertools.islice(frames, 2)) == [1, 2]
    with pytest.raises(SourceError, match="stopped"):
        next(frames)
