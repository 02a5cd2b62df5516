"""Pareto fronts by hand, and a picture that is whole."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from edgeseg.report.pareto import Point, front, panels_of, pareto_svg, ticks
from tests.speeds import result_of, speed_of

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("points", "y_up", "names"),
    [
        pytest.param({"a": (1, 1), "b": (2, 2), "c": (3, 3)}, True, "abc", id="each-step-buys-something"),
        pytest.param({"a": (1, 3), "b": (2, 2), "c": (3, 1)}, True, "a", id="fastest-is-best"),
        pytest.param({"a": (1, 3), "b": (2, 2), "c": (3, 1)}, False, "abc", id="smaller-y-is-better"),
        pytest.param({"a": (1, 1), "b": (2, 2), "c": (3, 3)}, False, "a", id="smaller-y-fastest-is-best"),
        pytest.param({"d": (9, 5), "b": (4, 4), "c": (5, 4), "a": (1, 2)}, True, "abd", id="slower-at-the-same-ap"),
        pytest.param({"a": (1, 2), "b": (1, 3)}, True, "b", id="worse-at-the-same-time"),
        pytest.param({"a": (1, 2), "b": (1, 2)}, True, "ab", id="equal-points-are-both-on-it"),
        pytest.param({}, True, "", id="no-points"),
    ],
)
def test_front_holds_the_points_that_none_beats(points: dict[str, tuple[float, float]], y_up: bool, names: str) -> None:
    found = front([Point(name, x, y) for name, (x, y) in points.items()], y_up=y_up)
    assert "".join(point.name for point in found) == names


def test_front_leaves_out_a_model_whose_gates_are_not_met() -> None:
    broken, sound = Point("broken", 1, 0.9, eligible=False), Point("sound", 2, 0.5)
    assert front([broken, sound], y_up=True) == [sound]


def test_panels_show_ap_where_some_model_has_one() -> None:
    panels = panels_of(result_of(speed_of("a", 10, 5, 0.3), speed_of("b", 20, 4)))
    assert [(panel.key, [point.name for point in panel.points]) for panel in panels] == [
        ("ap_ms", ["a"]),
        ("ap_mb", ["a"]),
    ]
    assert [(point.x, point.y) for panel in panels for point in panel.points] == [(10, 0.3), (5, 0.3)]


def test_panels_show_size_against_time_where_no_model_has_an_ap() -> None:
    (panel,) = panels_of(result_of(speed_of("a", 10, 5), speed_of("b", 20, 4)))
    assert (panel.key, panel.y_up, [(p.x, p.y) for p in panel.points]) == ("ms_mb", False, [(10, 5), (20, 4)])


def test_picture_names_the_front_the_unknown_and_the_failed() -> None:
    models = (
        speed_of("fast", 10, 5, 0.3),
        speed_of("exact", 30, 9, 0.4),
        speed_of("beaten", 40, 9, 0.35),
        speed_of("unjudged", 1, 1),
        speed_of("wrong", 2, 2, 0.1, outcome="parity_failed"),
    )
    texts = texts_of(pareto_svg(result_of(*models)))
    assert "Pareto front, mask AP against time: fast, exact" in texts
    assert "Pareto front, mask AP against size: fast, exact" in texts
    assert "No AP known: unjudged" in texts
    assert "Dashed, never on the front: wrong (parity_failed)" in texts


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["a"], id="one"),
        pytest.param(["a<b>&c", 'd"e'], id="markup-in-names"),
        pytest.param([f"model-{i}" for i in range(12)], id="all-at-one-place"),
        pytest.param([], id="none"),
    ],
)
def test_picture_is_xml_with_a_background_and_a_label_of_every_model(names: list[str]) -> None:
    svg = pareto_svg(result_of(*(speed_of(name, 10, 5, 0.3) for name in names)))
    root = ElementTree.fromstring(svg)
    assert set(names) <= set(texts_of(svg))
    background = root.find(f"{SVG}rect")
    assert background is not None
    assert background.get("width") == root.get("width")
    # No number that a browser cannot place.
    assert not re.search(r"\b(nan|inf)\b", svg)


def test_labels_of_models_at_one_place_do_not_cover_each_other() -> None:
    names = [f"model-{i}" for i in range(6)]
    root = ElementTree.fromstring(pareto_svg(result_of(*(speed_of(name, 10, 5, 0.3) for name in names))))
    panel = next(root.iter(f"{SVG}g"))
    places = [(text.get("class"), text.get("x"), text.get("y")) for text in panel if text.text in names]
    assert len(set(places)) == len(names)


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        pytest.param(0, 100, [0, 20, 40, 60, 80, 100], id="whole"),
        pytest.param(0.35, 0.38, [0.35, 0.36, 0.37, 0.38], id="narrow"),
        pytest.param(0, 7, [0, 2, 4, 6], id="end-between-ticks"),
    ],
)
def test_ticks_are_round_numbers_within_the_axis(low: float, high: float, found: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(found)


def texts_of(svg: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
