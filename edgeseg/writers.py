"""What predict writes: drawn pictures and videos, COCO results, YOLO lines, mask PNGs.

Every file is whole or absent: pictures are replaced in one step, videos and JSON are finished on close, which
happens on Ctrl-C too.
"""

from __future__ import annotations

import abc
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.card.classes import COCO80
from edgeseg.errors import SourceError
from edgeseg.files import replacing, write_atomically
from edgeseg.predict import Result

COCO_CATEGORY_IDS = tuple(i for i in range(1, 91) if i not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
"""Official category id of each of the 80 classes: 1 to 90 with ten left out (instances_val2017.json)."""

JPEG_QUALITY = 92


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
        """Stem for a result's own file; frames of a video are numbered."""
        stem = self.of_source(result.source)
        frame = result.frame.frame_index
        return stem if frame is None else f"{stem}_{frame:06d}"

    def of_source(self, source: str) -> str:
        """Stem for a whole source."""
        if source not in self._by_source:
            stem = Path(source.partition("?")[0]).stem.replace(":", "-") or "picture"
            name, number = stem, 2
            while name in self._taken:
                name, number = f"{stem}-{number}", number + 1
            self._taken.add(name)
            self._by_source[source] = name
        return self._by_source[source]


class DrawnWriter(Writer):
    """Drawn pictures as JPEG, a video's drawn frames as one MP4."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = FileNames()
        self._video: _Video | None = None

    def write(self, result: Result) -> None:
        """Draw and write one picture, or add one frame."""
        if result.frame.frame_index is None:
            path = self._folder / f"{self._names.of(result)}.jpg"
            write_atomically(path, encode_picture(result.draw(), ".jpg"))
            return
        if self._video is None or self._video.source != result.source:
            self.close()
            self._video = _Video(result, self._folder / f"{self._names.of_source(result.source)}.mp4")
        self._video.add(result.draw())

    def close(self) -> None:
        """Finish the open video: what was drawn so far is playable."""
        if self._video is not None:
            self._video.close()
            self._video = None


class TextWriter(Writer):
    """YOLO-seg label lines, one file a picture."""

    def __init__(self, folder: Path, *, scores: bool) -> None:
        self._folder, self._scores = folder, scores
        self._names = FileNames()

    def write(self, result: Result) -> None:
        """Write one label file; a picture without instances gets an empty one."""
        lines = result.instances.to_yolo_lines(scores=self._scores)
        path = self._folder / f"{self._names.of(result)}.txt"
        write_atomically(path, "".join(f"{line}\n" for line in lines).encode())


class MaskWriter(Writer):
    """One 16-bit PNG a picture: 0 is background, k the k-th instance, best score first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = FileNames()

    def write(self, result: Result) -> None:
        """Write one label map."""
        path = self._folder / f"{self._names.of(result)}.png"
        write_atomically(path, encode_picture(result.instances.label_map(), ".png"))


class JsonWriter(Writer):
    """COCO results as one JSON list, streamed to disk, with `file_name` and `class_id` added.

    `image_id` is the number that the file name is, as in COCO, else the position in the run. `category_id` is the
    official one where the classes are COCO's 80, else the class id.
    """

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self._path = path
        self._categories = COCO_CATEGORY_IDS if names == COCO80 else None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._replacing = replacing(path)
        self._temporary = self._replacing.__enter__()
        self._file = self._temporary.open("w", encoding="utf-8")
        self._separator = "[\n"

    def write(self, result: Result) -> None:
        """Append one picture's instances."""
        for row in self._rows(result):
            self._file.write(self._separator + json.dumps(row, ensure_ascii=False))
            self._separator = ",\n"

    def close(self) -> None:
        """Close the list and put the file in its place."""
        self._file.write("[]\n" if self._separator == "[\n" else "\n]\n")
        self._file.close()
        self._replacing.__exit__(None, None, None)

    def _rows(self, result: Result) -> Iterator[dict[str, Any]]:
        stem = Path(result.source).stem
        image_id = int(stem) if stem.isdecimal() and stem.isascii() else result.frame.index
        rows = result.instances.to_coco(image_id, self._categories)
        for row, class_id in zip(rows, result.instances.class_ids.tolist(), strict=True):
            extra = {"file_name": Path(result.source).name, "class_id": class_id}
            if result.frame.frame_index is not None:
                extra["frame_index"] = result.frame.frame_index
            yield {**row, **extra}


class _Video:
    """A video being written beside its place, moved there when it is finished."""

    def __init__(self, first: Result, path: Path) -> None:
        import cv2

        self.source = first.source
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.stem}-", suffix=".mp4", delete=False) as file:
            self._temporary = Path(file.name)
        height, width = first.picture.shape[:2]
        rate = first.frame.frames_per_second or 25.0
        fourcc = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(self._temporary), fourcc, rate, (width, height))
        if not self._writer.isOpened():
            self._temporary.unlink()
            raise SourceError(f"{path}: this OpenCV cannot write MP4 video", hint="use --json or --masks instead")

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Add one RGB frame."""
        self._writer.write(np.ascontiguousarray(picture[..., ::-1]))

    def close(self) -> None:
        """Finish the container and move the file to its place."""
        self._writer.release()
        self._temporary.chmod(0o644)
        self._temporary.replace(self._path)


def encode_picture(picture: NDArray[Any], suffix: str) -> bytes:
    """A picture as the bytes of a file.

    Args:
        picture: (H, W, 3) uint8 RGB, or (H, W) of uint8 or uint16.
        suffix: ``.jpg`` or ``.png``.
    """
    import cv2

    array = np.ascontiguousarray(picture[..., ::-1]) if picture.ndim == 3 else picture
    written, data = cv2.imencode(suffix, array, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else [])
    if not written:
        raise ValueError(f"cannot encode an array of shape {picture.shape} as {suffix}")
    return bytes(data)
