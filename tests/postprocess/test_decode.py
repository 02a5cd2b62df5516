"""Decoding by hand, and against a slow reading of the published layout in float64."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch

from edgeseg.errors import ContractError
from edgeseg.model.graph import DecodedOutputs
from edgeseg.postprocess.decode import (
    Candidates,
    Selection,
    decode_all,
    decode_decoded,
    decode_raw,
    expected_distances,
    sigmoid,
)
from edgeseg.tensors import RAW_OUTPUT_NAMES, Array, decoded_output_specs
from tests.postprocess.heads import SIZE, noisy, silent

Decoder = Callable[[Mapping[str, Array], int, Selection], Candidates]
STRIDES = {"p3": 8, "p4": 16, "p5": 32}


def _decoded(outputs: Mapping[str, Array], index: int, selection: Selection) -> Candidates:
    return decode_decoded(decode_all(outputs), index, selection)


BOTH_LAYOUTS = pytest.mark.parametrize("decode", [decode_raw, _decoded], ids=["raw", "decoded"])


def by_definition(outputs: Mapping[str, Array], index: int) -> list[tuple[float, int, list[float], list[float]]]:
    """Every point and class of a picture: probability, class, xyxy in input pixels, coefficients; one at a time."""
    rows = []
    for level, stride in STRIDES.items():
        box, cls, coef = (outputs[f"{level}_{kind}"][index].astype(np.float64) for kind in ("box", "cls", "coef"))
        for y in range(cls.shape[1]):
            for x in range(cls.shape[2]):
                sides = []
                for side in range(4):
                    weights = [math.exp(value) for value in box[16 * side : 16 * side + 16, y, x]]
                    sides.append(sum(bin_ * weight for bin_, weight in enumerate(weights)) / sum(weights))
                centre = ((x + 0.5), (y + 0.5))
                xyxy = [centre[0] - sides[0], centre[1] - sides[1], centre[0] + sides[2], centre[1] + sides[3]]
                scaled = [stride * value for value in xyxy]
                for class_id, logit in enumerate(cls[:, y, x]):
                    rows.append((1 / (1 + math.exp(-logit)), class_id, scaled, coef[:, y, x].tolist()))
    return rows


# By hand


def test_a_bin_that_stands_alone_is_the_distance() -> None:
    for bin_ in range(16):
        logits = np.full((4, 16, 1), -100, np.float32)
        logits[:, bin_] = 100
        assert expected_distances(logits.reshape(64, 1)).ravel().tolist() == [bin_] * 4


def test_a_uniform_distribution_is_its_middle() -> None:
    np.testing.assert_allclose(expected_distances(np.full((64, 2), 3.25, np.float32)), 7.5, rtol=1e-6)


def test_two_equal_bins_are_halfway_and_sides_do_not_mix() -> None:
    logits = np.full((4, 16, 1), -100, np.float32)
    for side, (low, high) in enumerate([(0, 1), (2, 4), (0, 15), (14, 15)]):
        logits[side, [low, high]] = 5
    np.testing.assert_allclose(expected_distances(logits.reshape(64, 1)).ravel(), [0.5, 3, 7.5, 14.5], rtol=1e-6)


def test_large_logits_do_not_overflow() -> None:
    logits = np.full((64, 1), 1e4, np.float32)
    np.testing.assert_allclose(expected_distances(logits), 7.5, rtol=1e-6)


@pytest.mark.parametrize("x", [-1e30, -90.0, -5.0, -1e-3, 0.0, 1e-3, 5.0, 90.0, 1e30])
def test_sigmoid_equals_the_definition_without_overflow(x: float) -> None:
    expected = 0.0 if x < -700 else 1 / (1 + math.exp(-x))

    assert float(sigmoid(np.array([x], np.float32))[0]) == pytest.approx(expected, abs=6e-8)


@pytest.mark.parametrize(
    ("level", "cell", "expected"),
    [
        # xyxy of a point whose four distances are 0, 1, 2 and 3 cells: left, top, right, bottom of its centre
        ("p3", (0, 0), (4, -4, 20, 28)),
        ("p3", (7, 11), (92, 52, 108, 84)),
        ("p4", (2, 3), (56, 24, 88, 88)),
        ("p5", (1, 0), (16, 16, 80, 144)),
    ],
    ids=str,
)
@BOTH_LAYOUTS
def test_one_point_lies_at_its_cells_centre(
    decode: Decoder, level: str, cell: tuple[int, int], expected: tuple[float, ...]
) -> None:
    outputs = silent()
    outputs[f"{level}_cls"][0, 1, cell[0], cell[1]] = 2.0
    for side in range(4):
        outputs[f"{level}_box"][0, 16 * side + side, cell[0], cell[1]] = 100
    outputs[f"{level}_coef"][0, :, cell[0], cell[1]] = np.arange(32)

    found = decode(outputs, 0, Selection())

    np.testing.assert_allclose(found.xyxy, [expected], atol=1e-4)
    np.testing.assert_allclose(found.scores, [1 / (1 + math.exp(-2))], rtol=1e-6)
    assert found.class_ids.tolist() == [1]
    assert found.coefficients.tolist() == [list(range(32))]


@pytest.mark.parametrize("threshold", [0.001, 0.25, 0.5, 0.9])
@BOTH_LAYOUTS
def test_a_score_above_the_threshold_counts_and_one_below_does_not(decode: Decoder, threshold: float) -> None:
    outputs = silent()
    at = math.log(threshold / (1 - threshold))
    outputs["p4_cls"][0, 0, 0, 0] = at + 1e-4
    outputs["p4_cls"][0, 0, 1, 1] = at - 1e-4

    found = decode(outputs, 0, Selection(score=threshold))

    assert len(found.scores) == 1
    assert found.scores[0] == pytest.approx(threshold, abs=1e-4)


@BOTH_LAYOUTS
def test_a_score_equal_to_the_threshold_does_not_count(decode: Decoder) -> None:
    outputs = silent()
    outputs["p4_cls"][0, 0, 0, 0] = 0.0

    assert len(decode(outputs, 0, Selection(score=0.5)).scores) == 0


@BOTH_LAYOUTS
def test_nothing_is_above_a_threshold_of_1(decode: Decoder) -> None:
    outputs = silent()
    outputs["p3_cls"][:] = 80

    assert len(decode(outputs, 0, Selection(score=1.0)).scores) == 0


def test_every_point_is_above_a_threshold_of_0() -> None:
    assert len(decode_raw(silent(), 0, Selection(score=0.0)).scores) == 8 * 12 + 4 * 6 + 2 * 3


@BOTH_LAYOUTS
def test_an_empty_picture_gives_no_candidates_of_the_right_shapes(decode: Decoder) -> None:
    found = decode(silent(), 0, Selection())

    assert [a.shape for a in (found.xyxy, found.scores, found.class_ids, found.coefficients)] == [
        (0, 4), (0,), (0,), (0, 32),
    ]  # fmt: skip
    assert [str(a.dtype) for a in (found.xyxy, found.scores, found.class_ids)] == ["float32", "float32", "int64"]


# What is kept


@BOTH_LAYOUTS
def test_a_point_has_its_best_class_only_unless_several_are_asked(decode: Decoder) -> None:
    outputs = silent()
    outputs["p3_cls"][0, :, 2, 2] = [1.0, -1.0, 2.0]

    single = decode(outputs, 0, Selection(score=0.25))
    several = decode(outputs, 0, Selection(score=0.25, multi_label=True))

    assert single.class_ids.tolist() == [2]
    assert several.class_ids.tolist() == [2, 0, 1]
    assert np.array_equal(several.xyxy, np.repeat(single.xyxy, 3, axis=0))


@BOTH_LAYOUTS
@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("classes", [(), (1,), (4, 0), (0, 1, 2, 3, 4)], ids=str)
def test_a_class_filter_keeps_a_part_of_what_is_found_without_it(
    decode: Decoder, multi_label: bool, classes: tuple[int, ...]
) -> None:
    # A truck that is a bit like a car must not become a car because only cars are asked.
    outputs = noisy(3, classes=5)
    everything = decode(outputs, 0, Selection(0.05, multi_label))
    wanted = everything.take(np.flatnonzero(np.isin(everything.class_ids, classes)))

    found = decode(outputs, 0, Selection(0.05, multi_label, classes))

    assert len(everything.scores) > 20
    for name in ("xyxy", "scores", "class_ids", "coefficients"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


@BOTH_LAYOUTS
def test_the_limit_keeps_the_best(decode: Decoder) -> None:
    outputs = noisy(1)
    everything = decode(outputs, 0, Selection(0.01))

    found = decode(outputs, 0, Selection(0.01, limit=7))

    assert len(everything.scores) > 7
    assert (np.diff(everything.scores) <= 0).all()
    np.testing.assert_array_equal(found.scores, everything.scores[:7])


def test_equal_scores_keep_the_order_of_levels_and_points() -> None:
    outputs = silent(size=(256, 256))
    rng = np.random.default_rng(0)
    count = 0
    for level in STRIDES:
        cls, coef = outputs[f"{level}_cls"][0, 0], outputs[f"{level}_coef"][0, 0]
        cls[:] = rng.integers(1, 4, cls.shape)
        coef[:] = count + np.arange(coef.size).reshape(coef.shape)
        count += coef.size

    found = decode_raw(outputs, 0, Selection())

    assert len(found.scores) == count
    for score in np.unique(found.scores):
        assert (np.diff(found.coefficients[found.scores == score, 0]) > 0).all()


# Against the definition


@BOTH_LAYOUTS
@pytest.mark.parametrize("multi_label", [False, True], ids=["single", "multi"])
@pytest.mark.parametrize("index", [0, 1], ids=["first of batch", "second of batch"])
def test_decoding_equals_the_definition_in_float64(decode: Decoder, multi_label: bool, index: int) -> None:
    outputs = noisy(7, classes=4, batch=2)
    rows = by_definition(outputs, index)
    if not multi_label:
        rows = [max(rows[i : i + 4], key=lambda row: row[0]) for i in range(0, len(rows), 4)]
    wanted = sorted((row for row in rows if row[0] > 0.02), key=lambda row: -row[0])

    found = decode(outputs, index, Selection(0.02, multi_label))

    assert len(wanted) > 30
    assert found.class_ids.tolist() == [row[1] for row in wanted]
    np.testing.assert_allclose(found.scores, [row[0] for row in wanted], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.xyxy, [row[2] for row in wanted], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.coefficients, [row[3] for row in wanted], rtol=0, atol=1e-6)


def test_decode_all_equals_the_definition_at_every_point() -> None:
    outputs = noisy(9, classes=2, batch=2)
    table = decode_all(outputs)

    assert {name: array.shape for name, array in table.items()} == {
        spec.name: spec.shape for spec in decoded_output_specs(2, SIZE, 2)
    }
    np.testing.assert_array_equal(table["output1"], outputs["proto"])
    for index in range(2):
        rows = by_definition(outputs, index)[::2]
        boxes = np.array([row[2] for row in rows]).T
        centres, sides = (boxes[:2] + boxes[2:]) / 2, boxes[2:] - boxes[:2]
        np.testing.assert_allclose(table["output0"][index, :4], np.concatenate([centres, sides]), atol=1e-3)
        np.testing.assert_allclose(table["output0"][index, 6:], np.array([row[3] for row in rows]).T, atol=1e-6)


def test_decode_all_equals_the_graph_that_is_exported() -> None:
    outputs = noisy(11, classes=6, batch=2)
    with torch.inference_mode():
        points, prototypes = DecodedOutputs()(tuple(torch.from_numpy(outputs[name]) for name in RAW_OUTPUT_NAMES))

    table = decode_all(outputs)

    np.testing.assert_allclose(table["output0"][:, :4], points[:, :4].numpy(), atol=1e-3)
    np.testing.assert_allclose(table["output0"][:, 4:], points[:, 4:].numpy(), atol=1e-6)
    np.testing.assert_array_equal(table["output1"], prototypes.numpy())


# What is no number


@BOTH_LAYOUTS
@pytest.mark.parametrize("kind", ["cls", "box", "coef"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_refused_where_it_counts(decode: Decoder, kind: str, value: float) -> None:
    if decode is _decoded and kind == "cls" and value == np.inf:
        value = np.nan  # decoding an infinite logit gives the finite probability 1
    outputs = silent()
    outputs["p4_cls"][0, 1, 2, 2] = 3.0
    outputs[f"p4_{kind}"][0, 1, 2, 2] = value

    with warnings.catch_warnings(), pytest.raises(ContractError, match="not finite") as caught:
        warnings.simplefilter("error")
        decode(outputs, 0, Selection())
    assert ("output0" if decode is _decoded else f"p4_{kind}") in caught.value.message


@pytest.mark.parametrize("kind", ["box", "coef"])
def test_a_nan_at_a_point_that_nobody_reads_does_no_harm(kind: str) -> None:
    outputs = silent()
    outputs["p4_cls"][0, 1, 2, 2] = 3.0
    outputs[f"p4_{kind}"][0, 1, 0, 0] = np.nan

    assert len(decode_raw(outputs, 0, Selection()).scores) == 1


def test_a_nan_of_one_class_is_refused_though_another_is_asked() -> None:
    outputs = silent()
    outputs["p5_cls"][0, 2, 0, 0] = np.nan

    with pytest.raises(ContractError, match="p5_cls"):
        decode_raw(outputs, 0, Selection(classes=(0,)))


def test_a_nan_of_another_picture_of_the_batch_does_no_harm() -> None:
    outputs = silent(batch=2)
    outputs["p5_cls"][1, 0, 0, 0] = np.nan

    assert len(decode_raw(outputs, 0, Selection()).scores) == 0
    with pytest.raises(ContractError):
        decode_raw(outputs, 1, Selection())
