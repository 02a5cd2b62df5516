"""Pictures of a training: its first batches as the network gets them, and what its best weights find.

They are kept as files, so that a resumed training shows those of the whole.
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.dataset import Dataset, Sample
from edgeseg.data.picture import Picture, read_picture
from edgeseg.draw import draw_instances
from edgeseg.files import make_folder, write_atomically
from edgeseg.instances import CroppedMask, Instances
from edgeseg.metrics.confusion import SCORE
from edgeseg.report.val_worst import annotated_instances, found_instances, scaled_panel
from edgeseg.validate import Metrics
from edgeseg.writers import encode_picture

if TYPE_CHECKING:
    from edgeseg.train.batch import Batch

INDEX = "pictures.json"
"""What the pictures are, beside them."""

COLUMNS, MAX_CELLS = 4, 16
"""Pictures of a batch that are drawn, and how many side by side."""

CELL_PX = 320
"""Longer side of each: its labels can just be read, and a mask's cell is 2 px of a 640 px input."""

MAX_LABELLED = 8
"""A picture with more objects has no class names on it: they would hide the masks."""

GAP_PX, GAP_GREY = 8, 200
"""Between pictures: neither the letterbox's grey nor the page's light or dark background."""

VALIDATION_PICTURES = 6


class Album:
    """The pictures of one training, in a folder.

    Args:
        folder: made when the first picture is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index: dict[str, Any] = {"batches": [], "validation": []}

    def open(self, *, validated: bool) -> None:
        """Take what is there already: of the training that is resumed, which may not have come to an epoch's end.

        Args:
            validated: whether that training has epochs; else validation pictures in the folder are another one's.
        """
        index = self._folder / INDEX
        if index.is_file():
            self._index = json.loads(index.read_bytes())
        if not validated:
            self._index["validation"] = []

    def keep_batch(self, step: int, batch: Batch, names: tuple[str, ...]) -> None:
        """Draw a batch and keep it."""
        file = f"batch-{step}.jpg"
        entry = {"title": f"Step {step}", "about": _about(batch, names), "sources": list(batch.names[:MAX_CELLS])}
        # A resumed training may take its first steps once more.
        kept = {one["file"]: one for one in self._index["batches"]}
        kept[file] = self._kept(file, drawn_batch(batch, names)) | entry
        self._index["batches"] = [kept[name] for name in sorted(kept)]
        self._write()

    def keep_validation(self, epoch: int, metrics: Metrics, dataset: Dataset) -> None:
        """Draw what was found in some pictures of the validation, in place of an earlier epoch's."""
        entries = []
        for number, (sample, rows) in enumerate(_chosen(metrics, dataset), start=1):
            annotated, found = annotated_instances(sample, dataset.names), found_instances(sample, rows, dataset)
            about = f"annotated: {_counted(annotated)}; found: {_counted(found)}"
            drawn = _pair(read_picture(sample.path), annotated, found)
            entry = {"title": sample.path.name, "about": about, "epoch": epoch}
            entries.append(self._kept(f"validation-{number}.jpg", drawn) | entry)
        self._index["validation"] = entries
        self._write()

    def embedded(self) -> dict[str, list[dict[str, Any]]]:
        """What the page shows: ``batches`` and ``validation``, each picture as base64; those that are gone are not."""
        return {
            kind: [
                {**kept, "picture": base64.b64encode(path.read_bytes()).decode()}
                for kept in entries
                if (path := self._folder / Path(kept["file"]).name).is_file()
            ]
            for kind, entries in self._index.items()
        }

    def _kept(self, file: str, drawn: Picture) -> dict[str, Any]:
        write_atomically(make_folder(self._folder) / file, encode_picture(drawn, ".jpg"))
        return {"file": file, "height": drawn.shape[0], "width": drawn.shape[1]}

    def _write(self) -> None:
        write_atomically(self._folder / INDEX, json.dumps(self._index, indent=1).encode())


def drawn_batch(batch: Batch, names: tuple[str, ...]) -> Picture:
    """The pictures of a batch with the masks and boxes that the loss gets, the first `MAX_CELLS` of them in a grid.

    Args:
        batch: on any device.
        names: class names by id.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    cells = [_cell(batch, at, names) for at in range(min(len(batch.images), MAX_CELLS))]
    height, width = cells[0].shape[:2]
    columns = min(len(cells), COLUMNS)
    rows = math.ceil(len(cells) / columns)
    grid = np.full((rows * (height + GAP_PX) - GAP_PX, columns * (width + GAP_PX) - GAP_PX, 3), GAP_GREY, np.uint8)
    for at, cell in enumerate(cells):
        top, left = at // columns * (height + GAP_PX), at % columns * (width + GAP_PX)
        grid[top : top + height, left : left + width] = cell
    return grid


def _cell(batch: Batch, at: int, names: tuple[str, ...]) -> Picture:
    import cv2

    picture = np.ascontiguousarray(batch.images[at].permute(1, 2, 0).cpu().numpy())
    factor = CELL_PX / max(picture.shape[:2])
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    scaled = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST)
    chosen = batch.picture_of == at
    class_ids = batch.class_ids[chosen].cpu().numpy()
    instances = Instances(
        xyxy=(batch.boxes[chosen].cpu().numpy() * factor).astype(np.float32),
        scores=np.ones(len(class_ids), np.float32),
        class_ids=class_ids,
        masks=tuple(_mask(inside) for inside in _masks(batch, at, (height, width))),
        names=names,
        image_size=(height, width),
    )
    named = len(names) > 1 and len(instances) <= MAX_LABELLED
    return draw_instances(np.asarray(scaled, np.uint8), instances, labels="names" if named else False)


def _masks(batch: Batch, at: int, size: tuple[int, int]) -> list[NDArray[np.bool_]]:
    """(h, w) masks of a picture's objects; the cells of the maps stay visible as what they are."""
    import cv2

    def scaled(cells: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(cv2.resize(cells, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))

    chosen = batch.picture_of == at
    if batch.object_maps is not None:
        return [scaled(own) > 0 for own in batch.object_maps[chosen].cpu().numpy().astype(np.uint8)]
    labels = scaled(batch.label_maps[at].cpu().numpy())
    return [labels == number + 1 for number in batch.number[chosen].tolist()]


def _mask(inside: NDArray[np.bool_]) -> CroppedMask:
    """The mask cropped to where it is; an object that others cover has none."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return CroppedMask(np.zeros((0, 0), bool), 0, 0)
    top, left = int(rows[0]), int(columns[0])
    return CroppedMask(inside[top : rows[-1] + 1, left : columns[-1] + 1], top, left)


def _about(batch: Batch, names: tuple[str, ...]) -> str:
    count, _, height, width = batch.images.shape
    shown = f"the first {MAX_CELLS} of {count}" if count > MAX_CELLS else str(count)
    classes = Counter(names[class_id] for class_id in batch.class_ids.tolist())
    most = ", ".join(f"{number} {name}" for name, number in classes.most_common(COLUMNS * 2))
    return f"{shown} pictures of {height} x {width} px; {len(batch.class_ids)} objects in all: {most or 'none'}"


def _chosen(metrics: Metrics, dataset: Dataset) -> list[tuple[Sample, list[Mapping[str, Any]]]]:
    """Pictures spread evenly over the set, the same ones every time, with their detections above `SCORE`."""
    number = min(VALIDATION_PICTURES, len(dataset))
    samples = [dataset[at * len(dataset) // number] for at in range(number)]
    rows: dict[int, list[Mapping[str, Any]]] = {sample.image_id: [] for sample in samples}
    found = metrics.detections.rows
    shown = np.isin(found.table["image_id"], list(rows)) & (found.table["score"] > SCORE)
    for row in found.rows(np.flatnonzero(shown)):
        rows[row["image_id"]].append(row)
    return [(sample, rows[sample.image_id]) for sample in samples]


def _pair(picture: Picture, annotated: Instances, found: Instances) -> Picture:
    """Annotated and found side by side."""
    panels: Sequence[Picture] = (
        scaled_panel(draw_instances(picture, annotated, labels="names")),
        scaled_panel(draw_instances(picture, found)),
    )
    gap = np.full((panels[0].shape[0], GAP_PX, 3), GAP_GREY, np.uint8)
    return np.concatenate([panels[0], gap, panels[1]], axis=1)


def _counted(instances: Instances) -> str:
    counts = Counter(instances.names[class_id] for class_id in instances.class_ids.tolist())
    return ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "nothing"
