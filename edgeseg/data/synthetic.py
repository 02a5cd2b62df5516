"""A synthetic data set: textured shapes one over another on varied backgrounds, with exact masks.

A mask holds the pixels that the object shows: what another object hides or the picture's edge cuts off is not
in it. Each picture has a seed of its own, drawn from the set's seed, its part and its number, so that neither
the number of pictures nor of processes changes any of them. The same options give the same bytes on the same
versions of NumPy and OpenCV.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from edgeseg.data.new_set import new_set
from edgeseg.data.synthetic_options import PARTS, PICTURE_FORMATS, SyntheticOptions
from edgeseg.files import make_folder, write_atomically

if TYPE_CHECKING:
    from edgeseg.data.synthetic_scene import Scene
    from edgeseg.instances import CroppedMask

MIN_PICTURES_FOR_PROCESSES = 64
"""Below it one process is done (20 ms a picture of 320 px) before others have started (1 s)."""


@dataclass(frozen=True)
class SyntheticSet:
    """What was written.

    Attributes:
        sources: part to what opens it: its COCO json, or for YOLO-seg the one yaml of all parts.
        pictures: part to number of pictures.
        objects: part to class name to number of objects.
    """

    sources: Mapping[str, Path]
    pictures: Mapping[str, int]
    objects: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class _Job:
    folder: Path
    part: str
    index: int
    options: SyntheticOptions

    @property
    def name(self) -> str:
        return f"{self.index:06d}"


@dataclass(frozen=True)
class _Drawn:
    """One picture that was written: its objects as (class id, COCO fields)."""

    file_name: str
    objects: list[tuple[int, dict[str, Any]]]


def synthesize(
    folder: Path, options: SyntheticOptions, *, workers: int | None = None, advance: Callable[[], None] = lambda: None
) -> SyntheticSet:
    """Write a data set; its annotations come last, and a run that was killed is started over by the next.

    Args:
        folder: a new or empty one, or that of a killed run. COCO: `images/<part>/` and `annotations/<part>.json`;
            YOLO-seg: `images/<part>/`, `labels/<part>/` and `data.yaml`.
        options: what to draw.
        workers: processes; None takes one for each processor where that pays. The result is the same.
        advance: called after each picture.

    Raises:
        OutputError: the folder holds something else, or cannot be written.
    """
    counts = {part: number for part, number in zip(PARTS, (options.images, options.val), strict=True) if number}
    jobs = [_Job(folder, part, index, options) for part, number in counts.items() for index in range(number)]
    drawn: dict[str, list[_Drawn]] = {part: [] for part in counts}
    with new_set(folder):
        for part in counts:
            make_folder(folder / "images" / part)
            if options.format == "yolo-seg":
                make_folder(folder / "labels" / part)
        for job, result in zip(jobs, _run(jobs, workers), strict=True):
            drawn[job.part].append(result)
            advance()
        write = _write_coco if options.format == "coco" else _write_yolo
        sources = write(folder, options, drawn)
    return SyntheticSet(sources, counts, {part: _tally(rows, options.classes) for part, rows in drawn.items()})


def _run(jobs: list[_Job], workers: int | None) -> Iterator[_Drawn]:
    """The result of each job in turn."""
    if workers is None:
        workers = (os.cpu_count() or 1) if len(jobs) >= MIN_PICTURES_FOR_PROCESSES else 1
    if workers == 1:
        yield from map(_draw, jobs)
        return
    # Started afresh: a forked copy of a process that has threads may hang.
    with ProcessPoolExecutor(workers, get_context("spawn"), _start_process) as pool:
        try:
            yield from pool.map(_draw, jobs, chunksize=8)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _start_process() -> None:
    """Leave Ctrl-C to the process that waits for this one, and the other processors to the other processes."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot stop this process, which would wait for work for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _draw(job: _Job) -> _Drawn:
    """Draw and write one picture, and for YOLO-seg its labels."""
    import cv2

    from edgeseg.data.synthetic_scene import draw_scene

    options = job.options
    rng = np.random.default_rng([options.seed, PARTS.index(job.part), job.index])
    scene = draw_scene(rng, options.size, options.classes, options.max_objects)
    file_name = f"{job.name}.{options.pictures}"
    _, data = cv2.imencode(
        f".{options.pictures}", scene.picture[..., ::-1].copy(), list(PICTURE_FORMATS[options.pictures])
    )
    write_atomically(job.folder / "images" / job.part / file_name, data.tobytes())
    if options.format == "coco":
        fields = [_coco_fields(mask, options.size) for mask in scene.masks]
    else:
        fields = [{} for _ in scene.masks]
        lines = _yolo_lines(scene, options)
        write_atomically(job.folder / "labels" / job.part / f"{job.name}.txt", "".join(lines).encode())
    return _Drawn(file_name, list(zip(scene.class_ids, fields, strict=True)))


def _coco_fields(mask: CroppedMask, size: int) -> dict[str, Any]:
    """Exact box, area and mask: a polygon along the pixels' edges where one ring says all, else run lengths."""
    import cv2

    from edgeseg import rle
    from edgeseg.polygons import trace

    height, width = mask.bitmap.shape
    contours, _ = cv2.findContours(mask.bitmap.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    segmentation: Any = rle.encode(mask.bitmap, (mask.top, mask.left), (size, size))
    if len(contours) == 1:
        (ring,) = trace(mask.bitmap)
        segmentation = [(ring + np.array([mask.left, mask.top])).astype(int).ravel().tolist()]
    return {
        "bbox": [mask.left, mask.top, width, height],
        "area": int(np.count_nonzero(mask.bitmap)),
        "iscrowd": 0,
        "segmentation": segmentation,
    }


def _yolo_lines(scene: Scene, options: SyntheticOptions) -> list[str]:
    from edgeseg.instances import Instances

    windows = [mask.window for mask in scene.masks]
    boxes = [(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in windows]
    instances = Instances(
        xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.ones(len(boxes), np.float32),
        class_ids=np.array(scene.class_ids, np.int64),
        masks=scene.masks,
        names=options.classes,
        image_size=(options.size, options.size),
    )
    return [f"{line}\n" for line in instances.to_yolo_lines()]


def _write_coco(folder: Path, options: SyntheticOptions, drawn: Mapping[str, list[_Drawn]]) -> dict[str, Path]:
    sources = {}
    for part, rows in drawn.items():
        objects = [(image_id, *thing) for image_id, row in enumerate(rows, start=1) for thing in row.objects]
        content = {
            "info": {"description": f"synthetic shapes, {part}, seed {options.seed}, made by edgeseg data synth"},
            "categories": [
                {"id": number, "name": name, "supercategory": "shape"}
                for number, name in enumerate(options.classes, start=1)
            ],
            "images": [
                {"id": image_id, "file_name": row.file_name, "width": options.size, "height": options.size}
                for image_id, row in enumerate(rows, start=1)
            ],
            "annotations": [
                {"id": number, "image_id": image_id, "category_id": class_id + 1, **fields}
                for number, (image_id, class_id, fields) in enumerate(objects, start=1)
            ],
        }
        sources[part] = folder / "annotations" / f"{part}.json"
        write_atomically(sources[part], json.dumps(content).encode())
    return sources


def _write_yolo(folder: Path, options: SyntheticOptions, drawn: Mapping[str, list[_Drawn]]) -> dict[str, Path]:
    path = folder / "data.yaml"
    # Without `path` other readers, too, start from the yaml's own folder.
    content = {**{part: f"images/{part}" for part in drawn}, "names": dict(enumerate(options.classes))}
    write_atomically(path, yaml.safe_dump(content, sort_keys=False).encode())
    return dict.fromkeys(drawn, path)


def _tally(rows: Iterable[_Drawn], classes: tuple[str, ...]) -> dict[str, int]:
    counts = dict.fromkeys(classes, 0)
    for row in rows:
        for class_id, _ in row.objects:
            counts[classes[class_id]] += 1
    return counts
