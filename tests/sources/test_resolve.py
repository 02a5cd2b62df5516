"""What each argument stands for, and what is refused before anything runs."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeseg.errors import EnvironmentMissingError, SourceError
from edgeseg.sources import BrokenFrame, Frame, open_sources
from tests.sources.conftest import write_picture


def names(source: Any) -> list[str]:
    return [Path(frame.source).name for frame in open_sources(source)]


def values(source: Any) -> list[int]:
    frames = list(open_sources(source))
    assert [frame.index for frame in frames] == list(range(len(frames)))
    return [int(frame.picture[0, 0, 0]) for frame in frames if isinstance(frame, Frame)]


def test_folder_is_read_in_natural_order_and_not_below(tmp_path: Path) -> None:
    for name in ("img10.jpg", "img2.JPG", "img1.png", "B.png", "a.webp", "notes.md", ".hidden.png", "sub/img0.png"):
        write_picture(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    expected = ["a.webp", "B.png", "img1.png", "img2.JPG", "img10.jpg"]
    assert names(str(tmp_path)) == expected
    assert names(tmp_path) == expected
    assert open_sources(tmp_path).total == 5


def test_folder_without_pictures_is_an_error_that_names_the_suffixes(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(SourceError, match=r"holds no picture or video\n.*\.jpg.*\.mp4"):
        open_sources(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["a.png", "b.png"]),
        ("**/*.png", ["a.png", "b.png", "c.png", "d.png"]),
        ("sub/?.png", ["c.png"]),
        ("[ab].*", ["a.png", "b.png"]),
        ("*", ["a.png", "b.png"]),
    ],
)
def test_glob_gives_its_pictures(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    for name in ("a.png", "b.png", "sub/c.png", "sub/deep/d.png"):
        write_picture(tmp_path / name)
    (tmp_path / "a.md").write_text("x")
    assert sorted(names(str(tmp_path / pattern))) == expected


def test_file_named_like_a_glob_is_that_file(tmp_path: Path) -> None:
    odd = write_picture(tmp_path / "a[1].png", 9)
    write_picture(tmp_path / "a1.png", 5)
    assert values(str(odd)) == [9]
    write_picture(tmp_path / "what?.png", 7)
    assert values(str(tmp_path / "what?.png")) == [7]


def test_list_file_gives_its_lines_relative_to_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = write_picture(tmp_path / "lists/sub/ä b.png", 1), write_picture(tmp_path / "other#1.png", 2)
    (tmp_path / "lists/all.txt").write_bytes(
        f"\ufeff# pictures\r\n\r\nsub/ä b.png\r\n  {second}  \r\n../other#1.png\r\n".encode()
    )
    monkeypatch.chdir("/")
    assert values(tmp_path / "lists/all.txt") == [1, 2, 2]
    assert first.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n# nothing\n", "the list is empty"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"a.png\n\ngone.png\n", r"list\.txt:3: .*gone\.png: no such file"),
        (b"a.png\nftp://host/a.png\n", r"list\.txt:2: ftp://host/a\.png: expected an http"),
        (b"list.txt\n", r"list\.txt:1: .*unknown suffix '\.txt'"),
        (b".\n", r"list\.txt:1: .*no such file"),
    ],
    ids=["empty", "not-utf-8", "absent-line", "ftp-line", "list-in-list", "folder-line"],
)
def test_list_file_is_refused_at_once_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    write_picture(tmp_path / "a.png")
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        open_sources(tmp_path / "list.txt")


def test_file_without_a_known_suffix_is_told_by_its_bytes(tmp_path: Path) -> None:
    assert values(write_picture(tmp_path / "upload", 3)) == [3]
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07\x12\x07pytorch")
    with pytest.raises(SourceError, match=r"model\.onnx: an unknown format .* unknown suffix '\.onnx'"):
        open_sources(tmp_path / "model.onnx")


def test_absent_argument_raises_at_once_and_names_the_closest(tmp_path: Path) -> None:
    write_picture(tmp_path / "street.png")
    good = str(tmp_path / "street.png")
    with pytest.raises(SourceError, match=r"stret\.png: no such file or folder\n.*did you mean 'street\.png'"):
        open_sources([good, str(tmp_path / "stret.png")])
    with pytest.raises(SourceError, match=r"x\*\.png: no such file, and no match"):
        open_sources([good, str(tmp_path / "x*.png")])


@pytest.mark.parametrize(
    "source",
    ["", "rtsp://camera/stream", "file:///etc/passwd", "http://", "http://[bad", "https://host/clip.MP4?x=1"],
)
def test_text_that_is_no_source_raises_at_once(source: str) -> None:
    with pytest.raises(SourceError):
        open_sources(source)


@pytest.mark.parametrize("source", [None, 1.5, -1, True, b"bytes", {"a.png"}, {"a": 1}], ids=repr)
def test_value_of_another_type_is_refused_with_the_supported_ones(source: Any) -> None:
    with pytest.raises(SourceError, match="is no source\n  hint: supported: a picture or video file"):
        open_sources(source)


def test_overlong_text_is_a_source_error() -> None:
    with pytest.raises(SourceError, match="no such file") as caught:
        open_sources("data:image/png;base64," + "A" * 100_000)
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("source", ["77", 77, "camera:77"])
def test_absent_camera_says_what_to_do(source: str | int) -> None:
    frames = open_sources(source)
    assert frames.total is None
    with pytest.raises(EnvironmentMissingError, match=r"camera:77: no such camera(.|\n)*plug it in") as caught:
        next(iter(frames))
    assert caught.value.exit_code == 3


def test_existing_file_wins_over_a_camera_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_picture(tmp_path / "0", 8)
    monkeypatch.chdir(tmp_path)
    assert values("0") == [8]


def test_arrays_and_images_are_rgb_and_numbered(tmp_path: Path) -> None:
    array = np.zeros((4, 5, 3), np.uint8)
    array[..., 0] = 200
    sources = [array, (Image.fromarray(array), array[..., 0]), write_picture(tmp_path / "a.png", 4)]
    frames = [frame for frame in open_sources(sources) if isinstance(frame, Frame)]
    assert [frame.source for frame in frames[:3]] == ["array:0", "array:1", "array:2"]
    assert frames[0].picture[0, 0].tolist() == frames[1].picture[0, 0].tolist() == [200, 0, 0]
    assert frames[2].picture[0, 0].tolist() == [200, 200, 200]
    assert frames[3].picture[0, 0].tolist() == [4, 4, 4]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert open_sources(sources).total == 4


def test_wrong_array_raises_at_once() -> None:
    with pytest.raises(SourceError, match=r"array:1: .*float32"):
        open_sources([np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5, 3), np.float32)])


def test_iterator_is_read_lazily_and_survives_a_bad_value(tmp_path: Path) -> None:
    asked = []

    def stream() -> Any:
        for value in (write_picture(tmp_path / "a.png", 1), "gone.png", None, np.full((2, 2), 5, np.uint8), [tmp_path]):
            asked.append(value)
            yield value

    sources = open_sources(stream())
    assert asked == []
    assert sources.total is None
    frames = list(sources)
    assert [frame.source for frame in frames[1:3]] == ["gone.png", "NoneType"]
    assert [type(frame) for frame in frames] == [Frame, BrokenFrame, BrokenFrame, Frame, Frame]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]


def test_iterator_that_raises_raises_in_the_caller() -> None:
    def stream() -> Any:
        yield np.zeros((2, 2), np.uint8)
        raise ZeroDivisionError("the user's own")

    frames = iter(open_sources(stream()))
    assert isinstance(next(frames), Frame)
    with pytest.raises(ZeroDivisionError, match="the user's own"):
        next(frames)


def test_stdin_is_one_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_picture(tmp_path / "a.png", 6).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    sources = open_sources("-")
    assert [(frame.source, type(frame)) for frame in sources] == [("stdin", Frame)]
    with pytest.raises(SourceError, match="stdin: empty"):
        open_sources("-")
