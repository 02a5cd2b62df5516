"""Numbers of a report as text."""

from __future__ import annotations

import pytest

from edgeseg.report import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(7.867813110351562e-06, "7.868e-06", id="small"),
        pytest.param(0.9814323607, "0.981432", id="share"),
        pytest.param(-0.5, "−0.5", id="negative"),
        pytest.param(-1e-7, "−1e-07", id="negative-exponent"),
        pytest.param(0.0, "0", id="zero"),
        pytest.param(None, "not a number", id="null"),
    ],
)
def test_number_keeps_the_digits_that_matter(value: float | None, text: str) -> None:
    assert numbers.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(1.0, "1.0000", id="perfect"),
        pytest.param(0.98143, "0.9814", id="good"),
        pytest.param(0.99996, "0.999960", id="rounds-up-at-four"),
        pytest.param(0.9999999, "> 0.999999", id="rounds-up-at-six"),
        pytest.param(0.0, "0.0000", id="none"),
        pytest.param(None, "not a number", id="null"),
    ],
)
def test_overlap_shows_one_only_for_one(value: float | None, text: str) -> None:
    assert numbers.overlap(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(0.00875, "+0.00875", id="met"),
        pytest.param(-0.0185, "−0.0185", id="missed"),
        pytest.param(0.0, "0", id="just"),
        pytest.param(None, "not a number", id="null"),
    ],
)
def test_margin_always_has_its_sign(value: float | None, text: str) -> None:
    assert numbers.margin(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(1.0, "1", id="one"),
        pytest.param(1.0000000000000002, "1", id="above-one-by-rounding"),
        pytest.param(1 - 9.1e-13, "1 − 9.1e-13", id="near"),
        pytest.param(0.93, "0.9300", id="far"),
        pytest.param(-0.2, "−0.2000", id="opposite"),
        pytest.param(None, "undefined", id="null"),
    ],
)
def test_cosine_near_one_shows_its_distance(value: float | None, text: str) -> None:
    assert numbers.cosine(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [pytest.param(117.39, "117.4", id="high"), pytest.param(-3.0, "−3.0", id="low"), (None, "infinite")],
)
def test_decibels_of_no_noise_are_infinite(value: float | None, text: str) -> None:
    assert numbers.decibels(value) == text


@pytest.mark.parametrize(
    ("count", "text"), [(13_700_123, "13.7 MB"), (100_000, "0.1 MB"), (2_049, "2.0 kB"), (0, "0.0 kB")]
)
def test_megabytes_count_by_a_million(count: int, text: str) -> None:
    assert numbers.megabytes(count) == text
