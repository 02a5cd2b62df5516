"""A model, whatever file it came from, and what it finds in pictures.

import edgeseg
model = edgeseg.load("n.onnx")
for result in model.predict("street/", score=0.4):
    result.instances.masks, result.draw()
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.letterbox import Geometry, to_input
from edgeseg.errors import EnvironmentMissingError, SourceError, UsageError, did_you_mean
from edgeseg.in_flight import Ran, run_groups
from edgeseg.instances import Instances
from edgeseg.metadata import ArtifactMetadata
from edgeseg.model.config import check_image_size
from edgeseg.postprocess.pipeline import PostprocessOptions, candidates_of, to_instances
from edgeseg.quantised import Outputs
from edgeseg.sources import BrokenFrame, Frame, SourceLike, open_sources
from edgeseg.target import Runner
from edgeseg.tensors import INPUT_NAME, Array

if TYPE_CHECKING:
    from edgeseg.target import Artifact
    from edgeseg.validate import Metrics


@dataclass
class StepTimes:
    """Milliseconds per picture of each step: letterbox to input tensor, network, decoding with suppression, masks.

    What a batch does at once is shared evenly among its pictures. Where a runner has several runs under way, `network`
    goes from the start of a run to its outputs: the times of neighbours overlap.
    """

    letterbox: float = 0.0
    network: float = 0.0
    decode: float = 0.0
    masks: float = 0.0


@dataclass(frozen=True)
class Result:
    """What was found in one picture.

    Attributes:
        frame: the picture and where it came from.
        instances: what was found, in the picture's pixels.
        times: milliseconds per step.
    """

    frame: Frame
    instances: Instances
    times: StepTimes

    def __repr__(self) -> str:
        return f"Result({self.source!r}, {self.instances!r})"

    @property
    def source(self) -> str:
        """The file, URL, camera or array that the picture came from."""
        return self.frame.source

    @property
    def picture(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB."""
        return self.frame.picture

    def draw(self) -> NDArray[np.uint8]:
        """A copy of the picture with boxes, masks and labels drawn, (H, W, 3) uint8 RGB."""
        return self.instances.draw(self.picture)


@dataclass(frozen=True)
class Failure:
    """A picture that could not be read; the others went on."""

    source: str
    error: SourceError


@dataclass(frozen=True)
class PredictOptions:
    """How to run over pictures.

    Attributes:
        postprocess: thresholds and what to keep.
        image_size: (height, width) of the letterbox; None takes the model's own.
        batch: pictures per run of the network.
    """

    postprocess: PostprocessOptions = field(default_factory=PostprocessOptions)
    image_size: tuple[int, int] | None = None
    batch: int | None = None


class Model:
    """A runner with one preprocessing and one post-processing. A context manager.

    Args:
        runner: an open runner.
        path: the file that it was opened from.
    """

    def __init__(self, runner: Runner, path: Path) -> None:
        self.runner = runner
        self.path = path
        self.spare_inputs: deque[Array] = deque(maxlen=runner.in_flight)
        """Inputs whose runs have ended: the next is written there, since new memory costs more than filling it."""

    def __repr__(self) -> str:
        return f"Model({str(self.path)!r}, {self.metadata.format} {self.metadata.precision}, {len(self.names)} classes)"

    @property
    def metadata(self) -> ArtifactMetadata:
        """What the file says about itself."""
        return self.runner.metadata

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by class id."""
        return self.metadata.names

    def predict(
        self,
        source: SourceLike,
        *,
        image_size: int | Sequence[int] | None = None,
        batch: int | None = None,
        **thresholds: Any,
    ) -> Iterator[Result]:
        """Segment pictures, lazily and in bounded memory.

        Args:
            source: a file, folder, glob, list file, URL, video, camera index, RGB array, or several of these.
            image_size: (height, width) of the letterbox in pixels, or one number for a square; None takes the
                model's own.
            batch: pictures per run; None takes the model's own.
            **thresholds: fields of `PostprocessOptions`: score, iou, max_detections, classes (names or ids),
                class_agnostic, multi_label, masks.

        Yields:
            A result per picture or frame, in order.

        Raises:
            SourceError: a picture cannot be read. `predict_frames` goes on instead.
            UsageError: an option that does not exist; a size, batch or class that this file does not have.
        """
        options = PredictOptions(_postprocess_options(thresholds, self.names), _size(image_size), batch)
        self.check(options)
        return self._raising(open_sources(source), options)

    __call__ = predict

    def predict_frames(
        self, frames: Iterable[Frame | BrokenFrame], options: PredictOptions
    ) -> Iterator[Result | Failure]:
        """Segment frames as they come; a broken one gives a `Failure` in its place."""
        size = self.check(options)
        count = self.metadata.batch if options.batch is None else options.batch
        for ran in run_groups(self, batches(frames, count), size):
            places = enumerate(ran.places)
            for frame in ran.frames:
                if isinstance(frame, BrokenFrame):
                    yield Failure(frame.source, frame.error)
                else:
                    index, place = next(places)
                    yield self._result(ran, frame, index, place, options.postprocess)

    def outputs(self, letterboxed: list[NDArray[np.uint8]]) -> dict[str, Array]:
        """Run the network on letterboxed pictures (H, W, 3) uint8 RGB of one size."""
        return self.runner.run({INPUT_NAME: self.input_of(letterboxed)})

    def input_of(self, letterboxed: list[NDArray[np.uint8]], into: Array | None = None) -> Array:
        """The network's input for letterboxed pictures, (B, 3, H, W) float32, as the file's metadata describes it.

        Args:
            letterboxed: (H, W, 3) uint8 RGB of one size.
            into: an earlier input that no run reads any more, to be written again.
        """
        preprocessing = self.metadata.preprocessing
        # A file with a fixed batch gets full batches: the rest of the last one is the first picture again.
        fill = 0 if "batch" in self.metadata.dynamic else -len(letterboxed) % self.metadata.batch
        return to_input(
            letterboxed + letterboxed[:1] * fill,
            scale=preprocessing.scale,
            channel_order=preprocessing.channel_order,
            channels_last=self.runner.channels_last,
            into=into,
        )

    def export(self, format: str, *, output: str | Path = ".", **options: Any) -> Artifact:
        """Export weights to a format; see `edgeseg.export.export` for what `options` may hold."""
        from edgeseg.export import export

        return export(self.path, format, output_dir=Path(output), **options)

    def val(self, data: str | Path | None = None, *, split: str = "val", images: str | Path | None = None) -> Metrics:
        """Box and mask AP on an annotated data set, by the published protocol; see `edgeseg.validate.validate`.

        Args:
            data: a COCO json or a YOLO-seg yaml; None takes the set that weights and artifacts remember.
            split: part of a YOLO-seg set.
            images: folder of a COCO set's pictures, where it is not beside the json.

        Returns:
            Metrics with ``.box.map``, ``.box.map50``, ``.box.map75``, ``.box.maps``, and the same of ``.seg``.
        """
        from edgeseg.data.open import open_dataset
        from edgeseg.validate import remembered_data, validate

        folder = None if images is None else Path(images)
        source, folder = remembered_data(self.path, folder) if data is None else (Path(data), folder)
        return validate(self, open_dataset(source, split=split, images=folder))

    def close(self) -> None:
        """Free the runtime's memory."""
        self.spare_inputs.clear()
        self.runner.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self, options: PredictOptions) -> tuple[int, int]:
        """The letterbox size to use, after checking that this file takes the size, batch and classes asked."""
        metadata = self.metadata
        size = check_image_size(metadata.image_size if options.image_size is None else options.image_size)
        if "size" not in metadata.dynamic and size != metadata.image_size:
            raise UsageError(
                f"{self.path}: takes {_spaced(metadata.image_size)} (height width) only, asked was {_spaced(size)}",
                hint="export it at that size, or with a dynamic size where the format has one",
            )
        if options.batch is not None and options.batch < 1:
            raise UsageError(f"batch {options.batch}: expected at least 1")
        if options.batch is not None and "batch" not in metadata.dynamic and options.batch != metadata.batch:
            raise UsageError(
                f"{self.path}: runs batches of {metadata.batch} only, asked was {options.batch}",
                hint="export it with that batch, or with a dynamic one where the format has it",
            )
        class_ids(options.postprocess.classes or (), self.names)
        return size

    def _raising(self, frames: Iterable[Frame | BrokenFrame], options: PredictOptions) -> Iterator[Result]:
        for result in self.predict_frames(frames, options):
            if isinstance(result, Failure):
                raise result.error
            yield result

    def _result(self, ran: Ran, frame: Frame, index: int, place: Geometry, options: PostprocessOptions) -> Result:
        """Of a group's picture `index`, broken ones not counted."""
        share = len(ran.places)
        times = StepTimes(letterbox=ran.letterbox_ms / share, network=ran.network_ms / share)
        return Result(frame, self._instances(ran.outputs, index, place, options, times), times)

    def _instances(
        self, outputs: Outputs, index: int, place: Geometry, options: PostprocessOptions, times: StepTimes
    ) -> Instances:
        start = time.perf_counter()
        found = candidates_of(outputs, index, self.metadata.head, options)
        decoded = time.perf_counter()
        instances = to_instances(found, outputs, index, self.metadata.head, place, self.names, options)
        times.decode = 1e3 * (decoded - start)
        times.masks = 1e3 * (time.perf_counter() - decoded)
        return instances


def load(path: str | Path, /, **run_options: Any) -> Model:
    """Open weights or any artifact; its kind is told from the bytes.

    Args:
        path: safetensors or checkpoint weights, or an artifact of a registered target.
        **run_options: of that target, such as ``threads=4`` or ``device="cuda"``.

    Raises:
        ArtifactError: no such file, or of no known kind.
        EnvironmentMissingError: its runtime is not installed here.
    """
    from edgeseg import registry

    path = Path(path)
    if is_weights(path):
        return Model(open_reference(path, **run_options), path)
    target = registry.recognize(path)
    options = registry.parse_run_options(target, run_options)
    from edgeseg.target import Artifact

    try:
        return Model(target.open(Artifact(path, target.read_metadata(path)), options), path)
    except EnvironmentMissingError as error:
        error.target = target.name
        raise


def is_weights(path: Path) -> bool:
    """Whether `path` is a weights file, ours or foreign, told from its first bytes."""
    from edgeseg.model.safetensors_file import is_safetensors
    from edgeseg.model.torch_archive import looks_like_checkpoint

    return path.is_file() and (is_safetensors(path) or looks_like_checkpoint(path))


def open_reference(path: Path, **run_options: Any) -> Runner:
    """The PyTorch runner of a weights file."""
    from edgeseg.errors import needs_extra
    from edgeseg.files import sha256_of
    from edgeseg.model.weights import load_weights
    from edgeseg.registry import parse_options

    try:
        from edgeseg.model.reference import ReferenceOptions, ReferenceRunner
    except ModuleNotFoundError as error:
        raise needs_extra("torch", "train", f"running the weights {path}") from error
    options = parse_options(ReferenceOptions, run_options, "run option of PyTorch weights")
    return ReferenceRunner(load_weights(path), sha256_of(path), ReferenceOptions.of(options))


def class_ids(asked: int | str | Iterable[int | str], names: tuple[str, ...]) -> tuple[int, ...]:
    """The ids of classes given by name or id, sorted.

    Args:
        asked: one or several; text of several names has commas between them.
        names: class names by class id.

    Raises:
        UsageError: there is no such class.
    """
    if isinstance(asked, str):
        # A name that holds a comma is still found by the whole of it.
        asked = [asked] if asked in names else [word.strip() for word in asked.split(",")]
    return tuple(sorted({_class_id(word, names) for word in ([asked] if isinstance(asked, int) else asked)}))


def _class_id(asked: int | str, names: tuple[str, ...]) -> int:
    if asked in names:
        return names.index(str(asked))
    if isinstance(asked, str) and not asked.isdecimal():
        raise UsageError(f"the model has no class {asked!r}", hint=did_you_mean(asked, names))
    if not 0 <= int(asked) < len(names):
        raise UsageError(f"class id {asked}: the model has classes 0 to {len(names) - 1}")
    return int(asked)


def _postprocess_options(thresholds: dict[str, Any], names: tuple[str, ...]) -> PostprocessOptions:
    unknown = sorted(thresholds.keys() - PostprocessOptions.__dataclass_fields__.keys())
    if unknown:
        raise UsageError(
            f"predict has no option {unknown[0]!r}",
            hint=did_you_mean(unknown[0], PostprocessOptions.__dataclass_fields__),
        )
    classes = thresholds.get("classes")
    return PostprocessOptions(**{**thresholds, "classes": None if classes is None else class_ids(classes, names)})


def _size(asked: int | Sequence[int] | None) -> tuple[int, int] | None:
    if asked is None:
        return None
    sides = (asked, asked) if isinstance(asked, int) else tuple(asked)
    if len(sides) != 2:
        raise UsageError(f"image size {sides}: expected (height, width)")
    return sides[0], sides[1]


def _spaced(size: tuple[int, int]) -> str:
    return f"{size[0]} {size[1]}"


def batches(frames: Iterable[Frame | BrokenFrame], count: int) -> Iterator[list[Frame | BrokenFrame]]:
    """Groups of `count` frames, the last one of what is left."""
    iterator = iter(frames)
    while group := list(itertools.islice(iterator, count)):
        yield group
