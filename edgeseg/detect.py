"""All pictures of a data set through a model, to COCO results, in bounded memory.

The network runs here; masks and their encoding run in worker processes, a few pictures behind.
"""

from __future__ import annotations

import collections
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from edgeseg.data.letterbox import Geometry
from edgeseg.errors import SourceError
from edgeseg.in_flight import run_groups
from edgeseg.metadata import Head
from edgeseg.metrics.coco_results import CocoResults, Row
from edgeseg.postprocess.decode import Candidates
from edgeseg.postprocess.pipeline import PROTOTYPES, PostprocessOptions, candidates_of, to_instances
from edgeseg.predict import Model, PredictOptions, batches
from edgeseg.quantised import Tensor
from edgeseg.sources import BrokenFrame, Frame, open_sources

PROTOCOL = PostprocessOptions(score=0.001, iou=0.7, max_detections=300, multi_label=True)
"""The published evaluation: low threshold, several classes a point, 300 detections (facts.md, section 4)."""

IN_FLIGHT = 4
"""Pictures per worker whose masks may be waiting: about 4 MB of prototypes each at 640 px."""


@dataclass(frozen=True)
class Job:
    """One picture whose candidates are known and whose masks are to be made.

    Attributes:
        image_id: of the data set.
        found: kept candidates, letterbox pixels.
        prototypes: (1, 32, h, w) float32.
        head: layout that the outputs had.
        place: the letterbox's geometry.
        categories: the data set's category id of each class id; -1 for a class that it does not have.
    """

    image_id: int
    found: Candidates
    prototypes: Tensor
    head: Head
    place: Geometry
    categories: tuple[int, ...]


@dataclass
class Detections:
    """COCO results of a whole data set.

    Attributes:
        rows: `image_id`, `category_id`, `bbox`, `score`, `segmentation`, picture by picture.
        milliseconds: step to its total over all pictures; ``masks`` is work of the workers, beside the network.
        pictures: how many ran.
        seconds: wall time of everything.
    """

    rows: CocoResults = field(default_factory=CocoResults)
    milliseconds: collections.defaultdict[str, float] = field(default_factory=lambda: collections.defaultdict(float))
    pictures: int = 0
    seconds: float = 0.0


def detect(  # noqa: PLR0913 - what one pass over a data set depends on
    model: Model,
    pictures: Sequence[tuple[int, Path]],
    categories: tuple[int, ...],
    *,
    workers: int = 0,
    batch: int | None = None,
    image_size: tuple[int, int] | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Detections:
    """Run a model over pictures.

    Args:
        model: open.
        pictures: image id and path of each.
        categories: category id of each class id of the model; -1 leaves a class out.
        workers: processes for the masks; 0 makes them here. With workers, a script needs the usual
            ``if __name__ == "__main__":``, since they are started afresh.
        batch: pictures per run of the network; None takes the model's own.
        image_size: (height, width) of the letterbox; None takes the model's own.
        progress: called after each picture.

    Raises:
        UsageError: a size or batch that the file does not take.
        SourceError: a picture cannot be read; a number over fewer pictures would be another number.
    """
    start = time.perf_counter()
    result = Detections()
    asked = PredictOptions(PROTOCOL, image_size, batch)
    jobs = _jobs(model, pictures, categories, asked, result)
    for rows, spent in _finished(jobs, workers):
        result.rows.extend(rows)
        result.milliseconds["masks"] += spent
        result.pictures += 1
        progress()
    result.seconds = time.perf_counter() - start
    return result


def finish(job: Job) -> tuple[list[Row], float]:
    """Masks of one picture as results rows, and the milliseconds that they took. Runs in a worker."""
    start = time.perf_counter()
    names = tuple(str(category) for category in job.categories)
    outputs = {PROTOTYPES[job.head]: job.prototypes}
    instances = to_instances(job.found, outputs, 0, job.head, job.place, names, PROTOCOL)
    rows = [row for row in instances.to_coco(job.image_id, job.categories) if row["category_id"] >= 0]
    return rows, 1e3 * (time.perf_counter() - start)


def _jobs(
    model: Model,
    pictures: Sequence[tuple[int, Path]],
    categories: tuple[int, ...],
    asked: PredictOptions,
    result: Detections,
) -> Iterator[Job]:
    size = model.check(asked)
    head = model.metadata.head
    frames = map(_readable, open_sources([str(path) for _, path in pictures]))
    ids = iter(image_id for image_id, _ in pictures)
    for ran in run_groups(model, batches(frames, asked.batch or model.metadata.batch), size):
        result.milliseconds["letterbox"] += ran.letterbox_ms
        result.milliseconds["network"] += ran.network_ms
        for index, place in enumerate(ran.places):
            # Without the time that the receiver of a job takes before it asks for the next.
            resumed = time.perf_counter()
            found = candidates_of(ran.outputs, index, head, PROTOCOL)
            prototypes = ran.outputs[PROTOTYPES[head]][index : index + 1]
            result.milliseconds["decode+nms"] += 1e3 * (time.perf_counter() - resumed)
            yield Job(next(ids), found, prototypes, head, place, categories)


def _readable(frame: Frame | BrokenFrame) -> Frame:
    if isinstance(frame, BrokenFrame):
        raise SourceError(
            f"{frame.source}: {frame.error.message}", hint="mend the data set: `edgeseg data check` lists all problems"
        )
    return frame


def _finished(jobs: Iterable[Job], workers: int) -> Iterator[tuple[list[Row], float]]:
    """Results in the order of the jobs, with at most `IN_FLIGHT` jobs per worker waiting."""
    if workers == 0:
        yield from map(finish, jobs)
        return
    waiting: collections.deque[Future[tuple[list[Row], float]]] = collections.deque()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for job in jobs:
            waiting.append(pool.submit(finish, job))
            if len(waiting) >= IN_FLIGHT * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
