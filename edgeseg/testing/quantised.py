"""How near a quantised artifact of the tiny network must come to the reference.

Scores of a random network lie evenly around any threshold, so that rounding decides which instance passes it: the
default gates, made for trained networks, do not hold for any quantiser. What is judged instead does: tensors that go
up and down with the reference's, and scores on the same points. Channels in another order, a wrong channel order of
the input and ranges of black pictures each break these limits (tests/conformance/test_quantised.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgeseg.data.letterbox import letterbox, to_input
from edgeseg.gates import Gates
from edgeseg.postprocess.decode import decode_all
from edgeseg.predict import Model
from edgeseg.target import Runner
from edgeseg.tensors import INPUT_NAME, NUM_COEFFICIENTS, Array
from edgeseg.testing.tiny import IMAGE_SIZE, tiny_frames

QUANTISED_GATES = Gates(matched_fraction_min=0.4, mask_iou_median_min=0.9)
"""Of `edgeseg verify` at `QUANTISED_SCORE`."""

QUANTISED_SCORE = 0.1
"""Score threshold of the compared instances: ten times as many as at the usual 0.25."""

POINT_SCORE = 0.1
"""Scores count where the reference's is above this."""

CORRELATION_MIN = 0.75
"""Of every output with the reference's, the mean of each channel taken away."""

SCORE_MAE_MAX = 0.07
"""Mean absolute error of the scores that count."""


def outputs_on_tiny_frames(runner: Runner) -> list[dict[str, Array]]:
    """Raw outputs for each of the tiny pictures."""
    batch = 1 if "batch" in runner.metadata.dynamic else runner.metadata.batch
    pictures = [to_input([letterbox(frame.picture, IMAGE_SIZE)[0]]) for frame in tiny_frames()]
    found = [runner.run({INPUT_NAME: np.repeat(picture, batch, axis=0)}) for picture in pictures]
    return [{name: array[:1].copy() for name, array in outputs.items()} for outputs in found]


def quantised_problems(reference: Model, found: Sequence[Mapping[str, Array]]) -> list[str]:
    """What is outside the limits, a sentence each.

    Args:
        reference: the tiny weights, open.
        found: of the artifact, `outputs_on_tiny_frames`.
    """
    wanted = outputs_on_tiny_frames(reference.runner)
    correlations = {name: _correlation(wanted, found, name) for name in wanted[0]}
    # Written so that a NaN is a problem too.
    problems = [
        f"{name}: correlation {value:.3f} with the reference's, limit {CORRELATION_MIN}"
        for name, value in correlations.items()
        if not value >= CORRELATION_MIN
    ]
    error = _score_error(wanted, found)
    if not error <= SCORE_MAE_MAX:
        problems.append(f"score MAE {error:.3f}, limit {SCORE_MAE_MAX}")
    return problems


def _correlation(wanted: Sequence[Mapping[str, Array]], found: Sequence[Mapping[str, Array]], name: str) -> float:
    a, b = (_centred([outputs[name] for outputs in side]) for side in (wanted, found))
    norms = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norms if norms else float("nan")


def _centred(arrays: Sequence[Array]) -> Array:
    together: Array = np.concatenate(arrays)
    together -= together.mean(axis=(0, 2, 3), keepdims=True)
    return together


def _score_error(wanted: Sequence[Mapping[str, Array]], found: Sequence[Mapping[str, Array]]) -> float:
    a, b = (np.concatenate([_scores(outputs) for outputs in side]) for side in (wanted, found))
    return float(np.abs(a - b)[a > POINT_SCORE].mean())


def _scores(outputs: Mapping[str, Array]) -> Array:
    return decode_all(outputs)["output0"][0, 4:-NUM_COEFFICIENTS].ravel()
