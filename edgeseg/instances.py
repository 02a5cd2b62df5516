"""The result type: what was found in one picture, with masks held as cropped bitmaps."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg import rle
from edgeseg.errors import ContractError, needs_extra

Key = int | np.integer[Any] | slice | Sequence[int] | Sequence[bool] | NDArray[np.bool_] | NDArray[np.integer[Any]]

MAX_LABELS = np.iinfo(np.uint16).max


@dataclass(frozen=True, slots=True, eq=False)
class CroppedMask:
    """One mask: a bitmap of the region around it, and where that region lies in the picture.

    Attributes:
        bitmap: (h, w) bool, True inside; h or w may be 0 for an empty mask.
        top: row of the bitmap's first row in the picture, px.
        left: column of the bitmap's first column in the picture, px.
    """

    bitmap: NDArray[np.bool_]
    top: int
    left: int

    def __post_init__(self) -> None:
        if self.bitmap.ndim != 2 or self.bitmap.dtype != np.bool_:
            raise ContractError(
                f"mask bitmap: shape {self.bitmap.shape}, dtype {self.bitmap.dtype}, expected (h, w) bool"
            )

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the picture that the bitmap covers."""
        h, w = self.bitmap.shape
        return slice(self.top, self.top + h), slice(self.left, self.left + w)


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """The instances of one picture, N of them, in its own pixels.

    Attributes:
        xyxy: (N, 4) float32, left, top, right, bottom of each box, px.
        scores: (N,) float32, 0..1.
        class_ids: (N,) int64, indices into `names`.
        masks: one for each instance, inside the picture; None where the network has no masks.
        names: class names by class id.
        image_size: (height, width) of the picture, px.

    Raises:
        ContractError: a shape, dtype or value is not as stated here; the message lists all that are wrong.
    """

    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    masks: tuple[CroppedMask, ...] | None
    names: tuple[str, ...]
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        problems = self._shape_problems() or self._value_problems()
        if problems:
            raise ContractError("instances break their contract: " + "; ".join(problems))

    @classmethod
    def empty(cls, image_size: tuple[int, int], names: tuple[str, ...] = (), *, masks: bool = True) -> Instances:
        """No instances; with `masks` False also no place for masks, as from a network without them."""
        return cls(
            xyxy=np.zeros((0, 4), np.float32),
            scores=np.zeros(0, np.float32),
            class_ids=np.zeros(0, np.int64),
            masks=() if masks else None,
            names=names,
            image_size=image_size,
        )

    def __repr__(self) -> str:
        counts = Counter(self.names[class_id] for class_id in self.class_ids.tolist())
        return f"Instances({', '.join(f'{count} {name}' for name, count in counts.most_common()) or 'none'})"

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, key: Key) -> Instances:
        """The instances at an index, a slice, an (N,) boolean mask or a list of indices.

        A single index gives `Instances` of length 1, so that one type serves throughout.

        Raises:
            IndexError: an index is out of range.
            ContractError: a boolean mask is not of length N.
        """
        chosen = self._indices(key)
        return Instances(
            xyxy=self.xyxy[chosen],
            scores=self.scores[chosen],
            class_ids=self.class_ids[chosen],
            masks=None if self.masks is None else tuple(self.masks[index] for index in chosen),
            names=self.names,
            image_size=self.image_size,
        )

    def __iter__(self) -> Iterator[Instances]:
        """Each instance in turn, as `Instances` of length 1."""
        return (self[index] for index in range(len(self)))

    def full_masks(self) -> NDArray[np.bool_]:
        """All masks at the picture's size: (N, H, W) bool, which takes N x H x W bytes (100 at 24 MP: 2.4 GB)."""
        full = np.zeros((len(self), *self.image_size), np.bool_)
        for layer, mask in zip(full, self._masks("full_masks"), strict=True):
            layer[mask.window] = mask.bitmap
        return full

    def label_map(self) -> NDArray[np.uint16]:
        """Which instance each pixel belongs to: (H, W) uint16 of index + 1, and 0 outside all masks.

        Where masks overlap, the higher score is on top; of equal scores, the lower index.
        """
        masks = self._masks("label_map")
        if len(self) > MAX_LABELS:
            raise ContractError(f"label_map: {len(self)} instances, expected at most {MAX_LABELS} for uint16")
        labels = np.zeros(self.image_size, np.uint16)
        # Lowest score first; of equal scores the higher index first, since the last painted is on top.
        for index in np.argsort(-self.scores, kind="stable")[::-1].tolist():
            labels[masks[index].window][masks[index].bitmap] = index + 1
        return labels

    def to_polygons(self) -> list[list[NDArray[np.float32]]]:
        """Outlines: for each instance one ring for each 8-connected part, (K, 2) float32 x, y px.

        Rings run along pixel edges (0..width, 0..height, as in COCO), so they rasterise back to the same
        mask. Holes are joined to the ring around them by a bridge of no width, since polygon formats have no
        holes; this counts on the even-odd rule, which pycocotools and OpenCV use.
        """
        from edgeseg.polygons import trace

        return [
            [ring + np.array([mask.left, mask.top], np.float32) for ring in trace(mask.bitmap)]
            for mask in self._masks("to_polygons")
        ]

    def to_coco(self, image_id: int, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """COCO results: `image_id`, `category_id`, `bbox` xywh px, `score` and, with masks, `segmentation` RLE.

        Args:
            image_id: of the picture in the data set.
            category_ids: the data set's category id for each class id; None where they are the class ids.

        Raises:
            ContractError: `category_ids` is not one for each name.
        """
        categories = range(len(self.names)) if category_ids is None else category_ids
        if len(categories) != len(self.names):
            raise ContractError(
                f"category_ids: {len(categories)} ids, expected one for each of {len(self.names)} names"
            )
        results: list[dict[str, Any]] = []
        for index, (x1, y1, x2, y2) in enumerate(self.xyxy.tolist()):
            result = {
                "image_id": image_id,
                "category_id": int(categories[int(self.class_ids[index])]),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": float(self.scores[index]),
            }
            if self.masks is not None:
                mask = self.masks[index]
                result["segmentation"] = rle.encode(mask.bitmap, (mask.top, mask.left), self.image_size)
            results.append(result)
        return results

    def to_yolo_lines(self, *, scores: bool = False) -> list[str]:
        """YOLO-seg label lines: ``class x1 y1 x2 y2 ...``, 0..1 of width and height, the score last if asked.

        The parts and holes of an instance are joined into one ring by bridges of no width. A mask without a
        pixel has no polygon, and no line.
        """
        from edgeseg.polygons import join

        height, width = self.image_size
        lines = []
        for index, rings in enumerate(self.to_polygons()):
            if rings:
                points = (join(rings) / np.array([width, height])).ravel().tolist()
                words = [str(self.class_ids[index]), *(f"{value:.6f}" for value in points)]
                lines.append(" ".join(words + [f"{self.scores[index]:.6f}"] * scores))
        return lines

    def to_supervision(self) -> Any:
        """A `supervision.Detections` with full masks (see `full_masks` for the memory) and `class_name` data.

        Raises:
            EnvironmentMissingError: supervision is not installed.
        """
        if importlib.util.find_spec("supervision") is None:
            raise needs_extra("supervision", "supervision", "to_supervision")
        import supervision

        return supervision.Detections(
            xyxy=self.xyxy.copy(),
            mask=None if self.masks is None else self.full_masks(),
            confidence=self.scores.copy(),
            class_id=self.class_ids.copy(),
            data={"class_name": np.array([self.names[index] for index in self.class_ids], dtype=str)},
        )

    def draw(
        self,
        picture: NDArray[np.uint8],
        *,
        boxes: bool = True,
        masks: bool = True,
        labels: bool = True,
        opacity: float = 0.45,
    ) -> NDArray[np.uint8]:
        """The picture, (H, W, 3) uint8 RGB, with the instances on it: see `edgeseg.draw.draw_instances`."""
        from edgeseg.draw import draw_instances

        return draw_instances(picture, self, boxes=boxes, masks=masks, labels=labels, opacity=opacity)

    def _masks(self, purpose: str) -> tuple[CroppedMask, ...]:
        if self.masks is None:
            raise ContractError(
                f"{purpose}: these instances have boxes only, expected masks",
                hint="predict with a segmentation network",
            )
        return self.masks

    def _indices(self, key: Key) -> NDArray[np.intp]:
        if isinstance(key, slice):
            return np.arange(len(self))[key]
        wanted = np.atleast_1d(np.asarray(key))
        if wanted.dtype == np.bool_ and wanted.shape != (len(self),):
            raise ContractError(f"boolean mask: shape {wanted.shape}, expected ({len(self)},)")
        chosen: NDArray[np.intp] = np.arange(len(self))[wanted if wanted.size else wanted.astype(np.intp)]
        return chosen

    def _shape_problems(self) -> list[str]:
        number = len(self.scores) if self.scores.ndim else 0
        expected: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
            "xyxy": ((number, 4), np.float32),
            "scores": ((number,), np.float32),
            "class_ids": ((number,), np.int64),
        }
        problems = []
        for name, (shape, dtype) in expected.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != dtype:
                problems.append(
                    f"{name}: shape {array.shape}, dtype {array.dtype}, expected {shape} {np.dtype(dtype).name}"
                )
        if self.masks is not None and len(self.masks) != number:
            problems.append(f"masks: {len(self.masks)}, expected {number}")
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            problems.append(f"image_size: {self.image_size}, expected (height, width) of at least 1 px")
        return problems

    def _value_problems(self) -> list[str]:
        known = (self.class_ids >= 0) & (self.class_ids < len(self.names))
        ordered = np.isfinite(self.xyxy).all(axis=1) & (self.xyxy[:, :2] <= self.xyxy[:, 2:]).all(axis=1)
        checks = (
            ("scores", (self.scores >= 0) & (self.scores <= 1), "expected 0..1"),
            ("class_ids", known, f"expected an index into {len(self.names)} names"),
            ("xyxy", ordered, "expected finite x1 <= x2 and y1 <= y2"),
        )
        problems = []
        for name, fine, expectation in checks:
            if not fine.all():
                first = int(np.argmin(fine))
                problems.append(f"{name}[{first}]: {getattr(self, name)[first].tolist()}, {expectation}")
        return problems + self._mask_problems()

    def _mask_problems(self) -> list[str]:
        height, width = self.image_size
        return [
            f"masks[{index}]: rows {rows.start}..{rows.stop}, columns {columns.start}..{columns.stop}, "
            f"expected inside the picture of {self.image_size}"
            for index, (rows, columns) in enumerate(mask.window for mask in self.masks or ())
            if rows.start < 0 or columns.start < 0 or rows.stop > height or columns.stop > width
        ]
