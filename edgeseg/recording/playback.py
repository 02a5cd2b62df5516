"""A recording in place of the reference: `verify` without PyTorch and without the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.letterbox import Geometry
from edgeseg.data.picture import read_picture
from edgeseg.errors import ArtifactError, UsageError
from edgeseg.instances import Instances
from edgeseg.metadata import ArtifactMetadata
from edgeseg.postprocess.pipeline import PostprocessOptions
from edgeseg.recording.compact import KNOWN_SCORE, read_compact
from edgeseg.recording.contract import ReferenceOutputs, thresholds
from edgeseg.recording.description import FILE_NAME, RecordedPicture, instances_of, read_description
from edgeseg.recording.record import picture_sha256
from edgeseg.sources import Frame
from edgeseg.target import Runner


class Recording:
    """A folder that `record` wrote, as the reference of `verify`.

    Args:
        folder: with `recording.json`.

    Raises:
        ArtifactError: it is no recording.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._content = read_description(folder / FILE_NAME)
        self._metadata = ArtifactMetadata.from_json(self._content.metadata, str(folder / FILE_NAME))
        self._pictures = {picture.sha256: picture for picture in self._content.pictures}

    @property
    def path(self) -> Path:
        """Name of the weights that were recorded."""
        return Path(self._content.weights)

    @property
    def metadata(self) -> ArtifactMetadata:
        """Of the reference that was recorded."""
        return self._metadata

    @property
    def execution(self) -> Mapping[str, str]:
        """How it ran when it was recorded."""
        return {**self._content.execution, "recorded": "yes"}

    @property
    def known(self) -> str:
        """Points of a likely class; prototypes as rounded to fp16."""
        return f"points whose likeliest class is above {KNOWN_SCORE:g}; prototypes rounded to fp16"

    @property
    def runner(self) -> Runner | None:
        """None: the weights are not here."""
        return None

    @property
    def score(self) -> float:
        """Score threshold at which the instances were recorded."""
        return self._content.score

    @property
    def iou(self) -> float:
        """Suppression threshold at which they were."""
        return self._content.iou

    @property
    def files(self) -> tuple[Path, ...]:
        """The letterboxed pictures' files."""
        return tuple(self._folder / f"{picture.stem}.png" for picture in self._content.pictures)

    def frames(self) -> Iterator[Frame]:
        """The letterboxed pictures, which the letterbox of their own size leaves as they are.

        Raises:
            SourceError: one cannot be read.
            ArtifactError: one is not the picture that was recorded.
        """
        height, width = self._content.image_size
        for index, (path, picture) in enumerate(zip(self.files, self._content.pictures, strict=True)):
            pixels = read_picture(path, max_pixels=height * width)
            if picture_sha256(pixels) != picture.sha256:
                raise ArtifactError(f"{path}: not the picture that was recorded", hint="make the bundle again")
            yield Frame(pixels, picture.source, index)

    def outputs(self, letterboxed: NDArray[np.uint8]) -> ReferenceOutputs:
        """What was recorded for this picture."""
        picture = self._recorded(letterboxed)
        return read_compact(self._folder / f"{picture.stem}.npz", self._metadata.num_classes, self._content.image_size)

    def instances(
        self, letterboxed: NDArray[np.uint8], outputs: ReferenceOutputs, place: Geometry, options: PostprocessOptions
    ) -> Instances:
        """The instances that were recorded for this picture.

        Raises:
            UsageError: they are asked at other thresholds, or in the pixels of another picture.
        """
        if options != thresholds(self.score, self.iou):
            raise UsageError(
                f"the reference was recorded at score {self.score}, iou {self.iou}; asked was score {options.score}, "
                f"iou {options.iou} and the like",
                hint="verify at other thresholds where the weights are: --against WEIGHTS",
            )
        if place.picture_size != place.image_size or place.image_size != self._content.image_size:
            raise UsageError(
                f"the reference was recorded on pictures of {self._content.image_size}, "
                f"asked was one of {place.picture_size}",
                hint="verify on the recording's own pictures",
            )
        return instances_of(self._recorded(letterboxed), self._metadata.names, self._content.image_size)

    def _recorded(self, letterboxed: NDArray[np.uint8]) -> RecordedPicture:
        found = self._pictures.get(picture_sha256(letterboxed))
        if found is None:
            raise UsageError(
                f"a picture that was not recorded, of {letterboxed.shape[:2]}, expected one of "
                f"{len(self._pictures)} of {self._content.image_size}",
                hint="verify on the recording's own pictures",
            )
        return found
