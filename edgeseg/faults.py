"""What goes wrong around a network, as changes to the reference that have the same effect.

A fault is confirmed where the changed reference gives what the artifact gives. `verify` names them in its diagnosis,
`verify --blame` takes them as the step's explanation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeseg.data.letterbox import Geometry
from edgeseg.postprocess.decode import sigmoid
from edgeseg.tensors import LEVELS, NUM_COEFFICIENTS, PROTO_STRIDE, Array

EXPLAINED = 0.1
"""A fault explains a difference when it leaves less than this share of it."""

DIFFERS = 1e-3
"""Relative error above which a part of the outputs differs at all."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pictures by channel, R G B in 0..1: the usual normalisation of classifiers (torchvision.models)."""

Outputs = Mapping[str, Array]


@dataclass(frozen=True)
class InputFault:
    """A wrong preparation of the picture.

    Attributes:
        sentence: what the artifact does.
        change: of the reference's input, (B, 3, H, W) in 0..1, that has the same effect.
        cure: of the artifact's input, that takes the effect back; None where nothing does.
    """

    sentence: str
    change: Callable[[Array, Geometry], Array]
    cure: Callable[[Array, Geometry], Array] | None


@dataclass(frozen=True)
class OutputFault:
    """A wrong reading of what the network computed.

    Attributes:
        part: which of `PARTS` it is in.
        sentence: what the artifact does.
        change: of that part of the reference, given the stride of each point, (N,); None where it cannot be so.
    """

    part: str
    sentence: str
    change: Callable[[Array, NDArray[np.float32]], Array | None]


def _black_padding(images: Array, place: Geometry) -> Array:
    black = np.zeros_like(images)
    rows = slice(place.top, place.top + place.resized[0])
    columns = slice(place.left, place.left + place.resized[1])
    black[:, :, rows, columns] = images[:, :, rows, columns]
    return black


def _by_channel(values: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(values, np.float32)[None, :, None, None]


def _reversed(images: Array, _: Geometry) -> Array:
    return np.ascontiguousarray(images[:, ::-1])


def _mirrored(images: Array, _: Geometry) -> Array:
    return np.ascontiguousarray(images[..., ::-1])


def _divided(images: Array, _: Geometry) -> Array:
    return images / np.float32(255)


def _multiplied(images: Array, _: Geometry) -> Array:
    return images * np.float32(255)


def _normalised(images: Array, _: Geometry) -> Array:
    return (images - _by_channel(MEAN)) / _by_channel(DEVIATION)


def _denormalised(images: Array, _: Geometry) -> Array:
    return images * _by_channel(DEVIATION) + _by_channel(MEAN)


def _halved(images: Array, _: Geometry) -> Array:
    return (images + 1) / np.float32(2)


def _doubled(images: Array, _: Geometry) -> Array:
    return images * np.float32(2) - 1


INPUT_FAULTS = (
    InputFault("the artifact reads the channels as BGR, expected RGB", _reversed, _reversed),
    InputFault("the artifact sees padding of 0, expected 114", _black_padding, None),
    InputFault("the artifact expects 0..255 and is given 0..1 (divides by 255 once more)", _divided, _multiplied),
    InputFault("the artifact does not divide by 255", _multiplied, _divided),
    InputFault("the artifact subtracts ImageNet's mean and divides by its deviation", _normalised, _denormalised),
    InputFault(
        "the artifact expects input normalised with ImageNet's mean and deviation, and is given 0..1",
        _denormalised,
        _normalised,
    ),
    InputFault("the artifact expects -1..1 and is given 0..1", _halved, _doubled),
    InputFault("the artifact mirrors the picture", _mirrored, _mirrored),
)
"""What is wrong before the network, and the change to the reference's input that has the same effect."""

PARTS: Mapping[str, Callable[[Outputs], Array]] = {
    "boxes": lambda outputs: outputs["output0"][:1, :4],
    "scores": lambda outputs: outputs["output0"][:1, 4:-NUM_COEFFICIENTS],
    "coefficients": lambda outputs: outputs["output0"][:1, -NUM_COEFFICIENTS:],
    "prototypes": lambda outputs: outputs["output1"][:1],
}
"""Of the decoded layout."""


def _corners(boxes: Array, _: Array) -> Array:
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)


def _from_corner(boxes: Array, _: Array) -> Array:
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)


def _off_centre(boxes: Array, strides: Array) -> Array:
    return np.concatenate([boxes[:, :2] - strides / 2, boxes[:, 2:]], axis=1)


def _logits(scores: Array, _: Array) -> Array:
    clipped = np.clip(scores.astype(np.float64), 1e-12, 1 - 1e-7)
    return np.log(clipped / (1 - clipped))


OUTPUT_FAULTS = (
    OutputFault("boxes", "boxes are corners (x1 y1 x2 y2), expected centre and size", _corners),
    OutputFault("boxes", "boxes are corner and size, expected centre and size", _from_corner),
    OutputFault("boxes", "points lie at the cells' corners, expected their centres (0.5)", _off_centre),
    OutputFault("boxes", "boxes are in cells: not multiplied by the strides", lambda b, s: b / s),
    OutputFault("boxes", "x and y are swapped in the boxes", lambda b, _: b[:, [1, 0, 3, 2]]),
    OutputFault("scores", "scores are logits: the sigmoid is missing", _logits),
    OutputFault("scores", "scores went through the sigmoid twice", lambda scores, _: sigmoid(scores)),
    OutputFault("prototypes", "prototypes are transposed", lambda p, _: p.transpose(0, 1, 3, 2)),
    OutputFault("prototypes", "prototypes are mirrored left to right", lambda p, _: p[..., ::-1]),
    OutputFault("prototypes", "prototypes are upside down", lambda p, _: p[:, :, ::-1]),
    OutputFault("prototypes", "prototypes have the wrong sign", lambda p, _: -p),
    OutputFault("prototypes", "prototypes went through a sigmoid", lambda p, _: sigmoid(p)),
    OutputFault("coefficients", "coefficients have the wrong sign", lambda c, _: -c),
    OutputFault("coefficients", "coefficients went through tanh", lambda c, _: np.tanh(c)),
    OutputFault("coefficients", "coefficients went through a sigmoid", lambda c, _: sigmoid(c)),
)
"""What is wrong behind the network, and the change to that part of the reference that has the same effect."""

STEPS: Mapping[str, str] = {"boxes": "decode", "scores": "decode", "coefficients": "masks", "prototypes": "masks"}
"""Part to the step that makes it of what the network gives."""


def explained_outputs(want: Outputs, have: Outputs) -> list[tuple[str, str]]:
    """Faults behind the network that explain an artifact's outputs.

    Args:
        want: the reference's, in the decoded layout.
        have: the artifact's, in the decoded layout.

    Returns:
        Steps and sentences; those of one part that explain it best, first.
    """
    strides = _strides(want["output1"].shape)
    found = []
    for part, of in PARTS.items():
        right, wrong = of(want).astype(np.float64), of(have).astype(np.float64)
        scale = np.abs(right).mean()
        before = _distance(right, wrong)
        if not before > DIFFERS * scale:
            continue
        tried = []
        for fault in (fault for fault in OUTPUT_FAULTS if fault.part == part):
            changed = fault.change(right.astype(np.float32), strides)
            tried.append((_distance(changed, wrong), STEPS[part], fault.sentence))
        if STEPS[part] == "masks" and right.shape == wrong.shape:
            order = _order(right, wrong)
            if order is not None:
                moved = np.flatnonzero(order != np.arange(len(order)))
                first = f"{moved[0]} holds the reference's {order[moved[0]]}" if moved.size else ""
                sentence = f"{moved.size} channels of the {part} are in another order: {first}"
                tried.append((_distance(right[:, order], wrong), STEPS[part], sentence))
        if right.shape != wrong.shape:
            sentence = f"the {part} have the shape {wrong.shape[1:]}, expected {right.shape[1:]}"
            tried.append((EXPLAINED * scale / 2, STEPS[part], sentence))
        best = min(tried, key=lambda row: row[0])
        if best[0] < EXPLAINED * min(before, 1e6 * scale):
            found.append(best[1:])
    return found


def _strides(prototypes: tuple[int, ...]) -> NDArray[np.float32]:
    """Input pixels per cell of each point, (N,), from the prototypes' shape."""
    height, width = (side * PROTO_STRIDE for side in prototypes[2:])
    return np.concatenate([np.full((height // stride) * (width // stride), stride, np.float32) for _, stride in LEVELS])


def _order(right: Array, wrong: Array) -> NDArray[np.intp] | None:
    """For each channel of `wrong` the nearest one of `right`; None where that is no permutation, or nothing moved."""
    a, b = (array[0].reshape(array.shape[1], -1) for array in (right, wrong))
    squares = np.square(a).sum(axis=1)[None] + np.square(b).sum(axis=1)[:, None] - 2 * b @ a.T
    order: NDArray[np.intp] = squares.argmin(axis=1)
    return order if len(set(order.tolist())) == len(order) and (order != np.arange(len(order))).any() else None


def _distance(a: Array | None, b: Array) -> float:
    if a is None or a.shape != b.shape:
        return float("inf")
    return float(np.abs(a - b).mean())
