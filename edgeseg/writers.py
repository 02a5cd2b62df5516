"""What predict writes: drawn pictures and videos, COCO results, YOLO lines, mask PNGs.

Every file is whole or absent: pictures are replaced in one step, videos and JSON are finished on close, which
happens on Ctrl-C too. A file that cannot be written is an `OutputError` that names it.
"""

from __future__ import annotations

import abc
import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from edgeseg.card.classes import COCO80
from edgeseg.errors import EnvironmentMissingError, OutputError
from edgeseg.files import make_folder, replacing, write_atomically
from edgeseg.predict import Result

COCO_CATEGORY_IDS = tuple(i for i in range(1, 91) if i not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
"""Official category id of each of the 80 classes: 1 to 90 with ten left out (instances_val2017.json)."""

JPEG_QUALITY = 92

FRAMES_PER_SECOND = 25.0
"""Of a drawn video whose source does not say its own rate: the rate of European television."""


class Writer(abc.ABC):
    """Takes results one by one; `close` finishes what is open."""

    @abc.abstractmethod
    def write(self, result: Result) -> None:
        """Add one result."""

    def close(self) -> None:  # noqa: B027 - most writers have nothing open between pictures
        """Finish; the default has nothing open."""


class FileNames:
    """A file name per source, unique within a run: two pictures of one name in two folders get -2, -3 ..."""

    def __init__(self) -> None:
        self._by_source: dict[str, str] = {}
        self._taken: set[str] = set()

    def of(self, result: Result) -> str:
        """Name without suffix of a result's own file; the frames of a video are numbered in a folder of its name."""
        stem = self.of_source(result.source)
        frame = result.frame.frame_index
        # A folder: clip_000001 may be a picture beside clip.mp4.
        return stem if frame is None else f"{stem}/{frame:06d}"

    def of_source(self, source: str) -> str:
        """Stem for a whole source."""
        if source not in self._by_source:
            stem = Path(file_name(source)).stem.replace(":", "-") or "picture"
            name, number = stem, 2
            # Some disks tell no upper case from lower case.
            while name.casefold() in self._taken:
                name, number = f"{stem}-{number}", number + 1
            self._taken.add(name.casefold())
            self._by_source[source] = name
        return self._by_source[source]


class OutputFolder:
    """The folder of one kind of output, made at once so that a wrong one is known before anything runs.

    Args:
        folder: made where it is missing.
        pictures: whether pictures or videos are written, which may not be mixed with those that are read.
    """

    def __init__(self, folder: Path, *, pictures: bool = True) -> None:
        self._folder = make_folder(folder)
        self._pictures = pictures
        self._names = FileNames()

    def path_of(self, result: Result, suffix: str) -> Path:
        """Where a result's own file goes."""
        return self._checked(result.source) / f"{self._names.of(result)}{suffix}"

    def path_of_source(self, source: str, suffix: str) -> Path:
        """Where the one file of a whole source goes."""
        return self._checked(source) / f"{self._names.of_source(source)}{suffix}"

    def _checked(self, source: str) -> Path:
        read_from = Path(source)
        if self._pictures and "://" not in source and read_from.is_file() and read_from.parent.samefile(self._folder):
            raise OutputError(
                f"{self._folder}: holds the source {source}, which the output could overwrite",
                hint="write to another folder",
            )
        return self._folder


class DrawnWriter(Writer):
    """Drawn pictures as JPEG, a video's drawn frames as one MP4."""

    def __init__(self, folder: Path) -> None:
        self._folder = OutputFolder(folder)
        self._video: _Video | None = None

    def write(self, result: Result) -> None:
        """Draw and write one picture, or add one frame."""
        if result.frame.frame_index is None:
            write_atomically(self._folder.path_of(result, ".jpg"), encode_picture(result.draw(), ".jpg"))
            return
        if self._video is None or self._video.source != result.source:
            self.close()
            self._video = _Video(result, self._folder.path_of_source(result.source, ".mp4"))
        self._video.add(result.draw())

    def close(self) -> None:
        """Finish the open video: what was drawn so far is playable."""
        if self._video is not None:
            video, self._video = self._video, None
            video.close()


class TextWriter(Writer):
    """YOLO-seg label lines, one file a picture."""

    def __init__(self, folder: Path, *, scores: bool) -> None:
        self._folder, self._scores = OutputFolder(folder, pictures=False), scores

    def write(self, result: Result) -> None:
        """Write one label file; a picture without instances gets an empty one."""
        lines = result.instances.to_yolo_lines(scores=self._scores)
        write_atomically(self._folder.path_of(result, ".txt"), "".join(f"{line}\n" for line in lines).encode())


class MaskWriter(Writer):
    """One 16-bit PNG a picture: 0 is background, k the k-th instance, best score first."""

    def __init__(self, folder: Path) -> None:
        self._folder = OutputFolder(folder)

    def write(self, result: Result) -> None:
        """Write one label map."""
        write_atomically(self._folder.path_of(result, ".png"), encode_picture(result.instances.label_map(), ".png"))


class JsonWriter(Writer):
    """COCO results as one JSON list, streamed, with `file_name` and `class_id` added, and `frame_index` in a video.

    `image_id` is the number that a picture's file name is, as in COCO, else the position in the run. `category_id`
    is the official one where the classes are COCO's 80, else the class id.

    Args:
        output: a file, which is there when the writer is closed; or an open stream, which stays open.
        names: the model's class names.
    """

    def __init__(self, output: Path | TextIO, names: tuple[str, ...]) -> None:
        self._categories = COCO_CATEGORY_IDS if names == COCO80 else None
        self._separator = "[\n"
        self._image_ids: set[int] = set()
        with contextlib.ExitStack() as stack:
            if isinstance(output, Path):
                temporary = stack.enter_context(replacing(output))
                self._file: TextIO = stack.enter_context(temporary.open("w", encoding="utf-8"))
            else:
                self._file = output
            self._open = stack.pop_all()

    def write(self, result: Result) -> None:
        """Append one picture's instances."""
        for row in self._rows(result):
            self._append(self._separator + json.dumps(row))
            self._separator = ",\n"

    def close(self) -> None:
        """Close the list and put the file in its place; a list that could not be written is given up."""
        if not self._file.closed:
            self._append("[]\n" if self._separator == "[\n" else "\n]\n")
            self._open.close()

    def _append(self, text: str) -> None:
        # Where this fails, leaving the block deletes the half-written file and names it in the error.
        with self._open as stack:
            self._file.write(text)
            self._open = stack.pop_all()

    def _rows(self, result: Result) -> Iterator[dict[str, Any]]:
        name, frame = file_name(result.source), result.frame
        stem = Path(name).stem
        numbered = stem.isdecimal() and stem.isascii() and frame.frame_index is None
        image_id = int(stem) if numbered else frame.index
        if image_id in self._image_ids:
            # Two pictures of one id would be one picture to every reader of the file.
            image_id = max(self._image_ids) + 1
        self._image_ids.add(image_id)
        rows = result.instances.to_coco(image_id, self._categories)
        for row, class_id in zip(rows, result.instances.class_ids.tolist(), strict=True):
            extra = {"file_name": name, "class_id": class_id}
            if frame.frame_index is not None:
                extra["frame_index"] = frame.frame_index
            yield {**row, **extra}


class _Video:
    """A video being written beside its place, moved there when it is finished.

    The sides of an MP4 are even numbers of pixels: an odd one is made longer by a copy of the last row or column,
    where OpenCV would cut it off.
    """

    def __init__(self, first: Result, path: Path) -> None:
        import cv2

        self.source = first.source
        self._path, self._frames = path, 0
        height, width = (side + side % 2 for side in first.picture.shape[:2])
        rate = first.frame.frames_per_second or FRAMES_PER_SECOND
        with contextlib.ExitStack() as stack:
            self._temporary = stack.enter_context(replacing(path))
            # MPEG-4 part 2: the one MP4 codec that OpenCV's own wheels can write.
            fourcc = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._temporary), fourcc, rate, (width, height))
            if not self._writer.isOpened():
                raise EnvironmentMissingError(
                    f"{path}: this OpenCV cannot write MP4 video of {width}x{height} pixels",
                    hint="use --json or --masks instead, or pip install opencv-python-headless",
                )
            self._open = stack.pop_all()

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Add one RGB frame."""
        import cv2

        height, width = picture.shape[:2]
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        self._writer.write(cv2.copyMakeBorder(bgr, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE))
        self._frames += 1

    def close(self) -> None:
        """Finish the container and move the file to its place."""
        with self._open:
            self._writer.release()
            self._check()

    def _check(self) -> None:
        """OpenCV does not say that a frame could not be written, so the file is asked how many it holds."""
        import cv2

        capture = cv2.VideoCapture(str(self._temporary))
        held = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if held != self._frames:
            free = shutil.disk_usage(self._path.parent).free
            raise OutputError(
                f"{self._path}: cannot be written: {held} of {self._frames} frames arrived",
                hint=f"{free // 10**6} MB are free there",
            )


def file_name(source: str) -> str:
    """The last part of a source's name: of a path, or of a URL's path."""
    return Path(source.partition("?")[0] if "://" in source else source).name


def encode_picture(picture: NDArray[Any], suffix: str) -> bytes:
    """A picture as the bytes of a file.

    Args:
        picture: (H, W, 3) uint8 RGB, or (H, W) of uint8 or uint16.
        suffix: ``.jpg`` or ``.png``.

    Raises:
        OutputError: it is too large for that format.
    """
    import cv2

    array = np.ascontiguousarray(picture[..., ::-1]) if picture.ndim == 3 else picture
    written, data = cv2.imencode(suffix, array, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else [])
    if not written:
        raise OutputError(
            f"a picture of {picture.shape[1]}x{picture.shape[0]} pixels cannot be written as {suffix}",
            hint="a JPEG has at most 65500 pixels a side",
        )
    return bytes(data)
