"""From the network's outputs to candidate boxes, for those points only whose score passes the threshold.

Two layouts are read: the ten raw tensors (logits; edgeseg/tensors.py) and the peer's decoded pair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeseg.errors import ContractError
from edgeseg.quantised import Outputs, Quantised, Tensor, real
from edgeseg.tensors import LEVELS, NUM_COEFFICIENTS, REG_MAX, Array

Floats = NDArray[np.float32]
_BINS = np.arange(REG_MAX, dtype=np.float32)


@dataclass(frozen=True)
class Candidates:
    """Boxes before suppression.

    Attributes:
        xyxy: (N, 4) float32, pixels of the letterbox.
        scores: (N,) float32, probabilities.
        class_ids: (N,) int64.
        coefficients: (N, 32) float32.
    """

    xyxy: Floats
    scores: Floats
    class_ids: NDArray[np.int64]
    coefficients: Floats

    def take(self, index: NDArray[np.intp]) -> Candidates:
        """The candidates at `index`, in its order."""
        return Candidates(self.xyxy[index], self.scores[index], self.class_ids[index], self.coefficients[index])


_NONE = Candidates(
    np.zeros((0, 4), np.float32),
    np.zeros(0, np.float32),
    np.zeros(0, np.int64),
    np.zeros((0, NUM_COEFFICIENTS), np.float32),
)


@dataclass(frozen=True)
class Selection:
    """Which candidates to decode.

    Attributes:
        score: a candidate's probability is above this.
        multi_label: every class of a point above the threshold is a candidate, not only its best one.
        classes: class ids to keep of what would be found without it; None keeps all.
        limit: at most this many, the best first (30,000 in the published evaluation).
    """

    score: float = 0.25
    multi_label: bool = False
    classes: tuple[int, ...] | None = None
    limit: int = 30_000


def decode_raw(outputs: Outputs, index: int, selection: Selection) -> Candidates:
    """Decode one picture of a batch of raw outputs.

    Args:
        outputs: the ten tensors of the head contract, logits, NCHW; of quantised ones only what is kept becomes real.
        index: which picture of the batch.
        selection: what to keep.

    Returns:
        Candidates, best score first.

    Raises:
        ContractError: a value that counts is not finite.
    """
    # sigmoid is monotonic: comparing logits with the threshold's logit saves 8400 x nc exponentials.
    floor = _logit(selection.score)
    levels = [_kept(outputs, index, level, stride, floor, selection) for level, stride in LEVELS]
    # What a level gives is put together first, so that each formula runs once, and not at all for an empty level.
    found = [level for level in levels if level is not None]
    if not found:
        return _NONE
    scores, class_ids, grid, box, coefficients = (np.concatenate(parts, axis=-1) for parts in zip(*found, strict=True))
    return _best_first(Candidates(_boxes(box, *grid), sigmoid(scores), class_ids, coefficients.T), selection.limit)


def decode_decoded(outputs: Outputs, index: int, selection: Selection) -> Candidates:
    """`decode_raw` for the peer's layout: output0 (B, 4 + nc + 32, N) of cxcywh px, probabilities, coefficients."""
    table = outputs["output0"][index]
    scores = table[4:-NUM_COEFFICIENTS]
    points, class_ids, found = _select(scores, selection.score, selection, "output0")
    columns = _columns(outputs, "output0", index, points)
    cx, cy, width, height = columns[:4]
    xyxy = np.stack([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2], axis=1)
    coefficients = columns[-NUM_COEFFICIENTS:].T
    return _best_first(Candidates(xyxy, found, class_ids, coefficients), selection.limit)


def sigmoid(x: Floats) -> Floats:
    """Logistic function, float32, without overflow."""
    out: Floats = np.float32(0.5) * (np.tanh(np.float32(0.5) * x) + np.float32(1))
    return out


def expected_distances(box_logits: Floats) -> Floats:
    """Distribution over 16 bins to its mean.

    Args:
        box_logits: (64, K): left, top, right, bottom, 16 bins each.

    Returns:
        (4, K) distances in strides.
    """
    bins = box_logits.reshape(4, REG_MAX, -1)
    with np.errstate(invalid="ignore"):  # an infinite logit gives NaN, which whoever uses the box refuses
        weights = np.exp(bins - bins.max(axis=1, keepdims=True))
    means: Floats = np.einsum("sbk,b->sk", weights, _BINS) / weights.sum(axis=1)
    return means


def _select(
    scores: Tensor, floor: float, selection: Selection, name: str
) -> tuple[NDArray[np.intp], NDArray[np.int64], Floats]:
    """Points, class ids and scores above `floor` of a (nc, points) map of the tensor `name`."""
    points = np.flatnonzero(_passing(scores, floor, name))
    columns = real(scores[:, points])
    if selection.multi_label:
        class_ids, position = np.nonzero(columns > floor)
    else:
        class_ids, position = columns.argmax(axis=0), np.arange(points.size)
    if selection.classes is not None:
        wanted = np.isin(class_ids, selection.classes)
        class_ids, position = class_ids[wanted], position[wanted]
    return points[position], class_ids.astype(np.int64), columns[class_ids, position]


def _passing(scores: Tensor, floor: float, name: str) -> NDArray[np.bool_]:
    """Which points of a (nc, points) map have a score above `floor`."""
    if isinstance(scores, Quantised):
        # Steps keep the order of what they stand for: the best is found, and compared, in integers.
        return Quantised(scores.stored.max(axis=0), scores.scale, scores.zero_point).above(floor)
    passing: NDArray[np.bool_] = _finite(scores.max(axis=0), name) > floor
    return passing


def _columns(outputs: Outputs, name: str, index: int, points: NDArray[np.intp]) -> Floats:
    """(channels, K) of one tensor of one picture at K points."""
    tensor = outputs[name][index]
    return _finite(real(tensor.reshape(len(tensor), -1)[:, points]), name)


def _finite(values: Floats, name: str) -> Floats:
    # A NaN compares as False everywhere: unnoticed, it would drop objects, or suppress none of their doubles.
    broken = values.size - np.count_nonzero(np.isfinite(values))
    if broken:
        raise ContractError(
            f"{name}: {broken} values that count are not finite",
            hint="the network overflows, or its weights are damaged: verify the artifact against its weights",
        )
    return values


def _kept(
    outputs: Outputs, index: int, level: str, stride: int, floor: float, selection: Selection
) -> tuple[Floats, NDArray[np.int64], Floats, Floats, Floats] | None:
    """Of one level: logits (K,), class ids (K,), `_grid` (3, K), box (64, K), coefficients (32, K); None if K is 0."""
    logits = outputs[f"{level}_cls"][index]
    width = logits.shape[2]
    points, class_ids, found = _select(logits.reshape(len(logits), -1), floor, selection, f"{level}_cls")
    if not points.size:
        return None
    box, coefficients = (_columns(outputs, f"{level}_{kind}", index, points) for kind in ("box", "coef"))
    return found, class_ids, _grid(points, width, stride), box, coefficients


def _grid(points: NDArray[np.intp], width: int, stride: int) -> Floats:
    """(3, K) float32: x and y of the cells' centres in strides, and the stride in pixels."""
    grid = np.empty((3, points.size), np.float32)
    grid[1], grid[0] = np.divmod(points, width)
    grid[:2] += np.float32(0.5)
    grid[2] = stride
    return grid


def _boxes(box_logits: Floats, x: Floats, y: Floats, stride: Floats) -> Floats:
    left, top, right, bottom = expected_distances(box_logits)
    xyxy: Floats = np.stack([x - left, y - top, x + right, y + bottom], axis=1) * stride[:, None]
    return xyxy


def _best_first(candidates: Candidates, limit: int) -> Candidates:
    # A stable order: equal scores keep their place, so that two backends suppress in the same order.
    return candidates.take(np.argsort(-candidates.scores, kind="stable")[:limit])


def _logit(probability: float) -> float:
    if probability <= 0:
        return -np.inf
    return float(np.log(probability / (1 - probability))) if probability < 1 else np.inf


def decode_all(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every point of the raw outputs in the decoded layout, to compare artifacts of either layout.

    Args:
        outputs: the ten raw tensors.

    Returns:
        output0 (B, 4 + nc + 32, N) of cxcywh px, probabilities, coefficients; output1 the prototypes.
    """
    pictures = [
        np.concatenate([_all_points(outputs, index, level, stride) for level, stride in LEVELS], axis=1)
        for index in range(len(outputs["proto"]))
    ]
    return {"output0": np.stack(pictures), "output1": outputs["proto"]}


def _all_points(outputs: Mapping[str, Array], index: int, level: str, stride: int) -> Floats:
    logits = outputs[f"{level}_cls"][index]
    count, rows, columns = logits.shape
    box = outputs[f"{level}_box"][index].reshape(4 * REG_MAX, -1)
    xyxy = _boxes(box, *_grid(np.arange(rows * columns), columns, stride))
    cxcywh = np.concatenate([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], axis=1).T
    coefficients = outputs[f"{level}_coef"][index].reshape(NUM_COEFFICIENTS, -1)
    points: Floats = np.concatenate([cxcywh, sigmoid(logits.reshape(count, -1)), coefficients])
    return points
