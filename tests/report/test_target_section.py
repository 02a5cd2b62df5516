"""What the page says of one target: measured, skipped, broken, taken from an earlier build, found by its device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeseg.report import numbers
from edgeseg.report.html import render
from edgeseg.report.words import OUTCOMES
from tests.report.example import (
    GATE_LIMITS,
    REFERENCE,
    Page,
    build,
    device_result,
    older,
    target,
    timed,
    validated,
    verified,
)


def page(*targets: dict[str, Any], **changes: Any) -> Page:
    return Page(render(build(*targets, **changes), Path()))


def folded(found: Page, title: str) -> str:
    """The text of the one folded part with this title."""
    (text,) = [element.text for element in found.all("details") if element.text.startswith(title)]
    return text


def deferred() -> dict[str, Any]:
    """A target that waits for its device, with its bundle."""
    stages = {"export": {}, "gates": {"gates": []}, "bundle": {"pictures": 8}}
    bundle = {"path": "ml/n.bundle.tar", "bytes": 18_400_000, "sha256": "b0" * 32}
    words = {"message": "needs macOS", "hint": "copy the bundle"}
    return target("ml", "deferred", stages=stages, bundle=bundle, seconds={"bundle": 12.25}, **words)


def merged() -> dict[str, Any]:
    """The same after its device has verified it: as `edgeseg report --merge` writes it."""
    own = {"outcome": "deferred", "message": "needs macOS", "hint": "copy the bundle"}
    result = {**device_result(), "replaced": own}
    return {**deferred(), "outcome": "passed", "message": "", "hint": "", "device_result": result}


def test_log_of_a_broken_stage_is_shown_as_it_was_printed_but_for_colours() -> None:
    log = "\x1b[31mloading <plugin>\x1b[0m\n  at line 7\x00\nSegmentation fault"
    found = page(target(outcome="run_failed", log=log, stages={"export": {}}, skipped=["verify", "benchmark"]))
    pieces = ["".join(element.pieces) for element in found.all("pre")]
    assert "loading <plugin>\n  at line 7\nSegmentation fault" in pieces
    assert "Not run, since a stage before failed: verify, benchmark." in found.text


def test_stages_have_their_time_or_why_they_have_none() -> None:
    found = page(target(skipped=["benchmark"]))
    assert folded(found, "Stages").startswith("Stages 1 min 21 s in this build")
    for row in (
        "export 5.47 s",
        "inspect unchanged since an earlier build",
        "verify 1 min 15 s",
        "gates < 0.01 s",
        "benchmark not run: a stage before it failed",
    ):
        assert row in found.rows


def test_build_that_ran_nothing_says_so() -> None:
    assert folded(page(target(seconds={})), "Stages").startswith("Stages unchanged since an earlier build Stage Took")


def test_ap_stands_beside_the_references_with_what_is_kept_and_its_interval() -> None:
    stages = {**target()["stages"], "validate": validated()}
    found = page(target(stages=stages), reference=REFERENCE)
    assert "Mask AP 0.3048 0.3000 99.75 % 99.35 to 100.05 %" in found.rows
    assert "Mask AP50 – 0.4900" in found.rows
    assert "Box AP 0.3671 0.3600 99.75 % 99.35 to 100.05 %" in found.rows
    assert "3600 objects in 500 pictures, judged by faster-coco-eval 1.6.8" in found.text
    assert "Mask AP of the reference 0.3048 Mask AP50 of the reference – Box AP of the reference 0.3671" in found.text


def test_ap_that_is_no_number_is_said_to_be_none() -> None:
    found = page(target(stages={"validate": validated(mask_ap=None, ap_retention=None, retention=[])}))
    assert "Mask AP – –" in found.rows
    assert "onnx-fp32 differs not a number 13.7 MB" in found.rows


def test_latency_has_its_steps_its_memory_and_its_machine() -> None:
    found = page(target(stages={"benchmark": timed()}))
    assert "Latency and memory Raspberry Pi 5, Cortex-A76, 4 cores, Linux aarch64" in found.text
    for words in (
        "Median 36.1 ms 95th percentile 41.5 ms Mean 37.2 ms Fastest 30.5 ms",
        "Peak memory 209 MB To open the model 198 ms",
        "Timed 30 runs over 3 pictures Load in the minute before 0.25",
        "How it ran when it was timed threads 3 timed threads",
    ):
        assert words in found.text
    steps = ("letterbox 1.50 ms", "network 30.0 ms", "decode 0.50 ms", "masks 4.00 ms")
    assert [row for row in found.rows if row in steps] == list(steps)
    # 36 ms together.
    assert [bar.attributes["width"] for bar in found.all("rect")] == ["4.17", "83.33", "1.39", "11.11"]


def test_timing_that_knows_little_shows_what_it_knows() -> None:
    less = timed(steps_p50_ms={}, machine={}, peak_rss_mb=None, load_before=None)
    text = page(target(stages={"benchmark": less})).text
    assert "The machine is not known." in text
    assert "Peak memory" not in text
    assert "Load in the minute" not in text
    assert "Median of each step" not in text


def test_overview_has_a_column_for_what_was_measured_and_none_for_what_was_not() -> None:
    fast = target("fast", "passed", stages={**target()["stages"], "validate": validated(0.99998), "benchmark": timed()})
    heads = [element.text for element in page(fast, target("slow")).all("th")]
    assert [head for head in heads if head in ("Mask AP kept", "Latency, median", "Size")] == [
        "Mask AP kept",
        "Latency, median",
        "Size",
    ]
    found = page(fast, target("slow"))
    assert "fast passed 0.9812 0.999960 7.868e-06 0.00125 99.9980 % 36.1 ms 13.7 MB" in found.rows
    assert "slow differs 0.9812 0.999960 7.868e-06 0.00125 13.7 MB" in found.rows
    untimed = {element.text for element in page(target()).all("th")}
    assert not untimed & {"Mask AP kept", "Latency, median"}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        pytest.param("process", "the Python that ran the build", id="process"),
        pytest.param("venv", "a venv of the target's own", id="venv"),
        pytest.param("docker", "a container image", id="docker"),
        pytest.param("microvm", "microvm", id="of-a-later-version"),
    ],
)
def test_environment_is_named_with_its_versions(kind: str, words: str) -> None:
    where = {"kind": kind, "description": "/somewhere", "versions": {"onnx": "1.23.2"}}
    text = folded(page(target(environment=where)), "Environment")
    assert text == f"Environment {words} Where /somewhere onnx 1.23.2"


def test_hashes_of_all_that_went_in_are_listed_once() -> None:
    found = page(target())
    for row in (
        f"Card with overrides, as content {'cd' * 32}",
        f"Card, the file as given {'ce' * 32}",
        f"Weights as given {'01' * 32}",
        f"Reference, weights.safetensors {'ef' * 32}",
        f"3 pictures, listed in data/verify.json {'d3' * 32}",
        f"Annotations, /d/val.json {'d1' * 32}",
        f"500 pictures, listed in data/val.json {'d2' * 32}",
    ):
        assert found.rows.count(row) == 1
    assert found.text.count("01" * 32) == 1
    assert "Pictures validated on 500 pictures of /d/val.json" in found.text


def test_bundle_has_size_path_and_hash() -> None:
    found = page(deferred())
    text = folded(found, "Bundle for its device")
    assert text.startswith("Bundle for its device 18.4 MB, ml/n.bundle.tar")
    assert f"sha256, 18400000 bytes {'b0' * 32}" in text
    assert f"ml {OUTCOMES['deferred'].label}" in [element.text for element in found.all("h2")]
    assert "needs macOS copy the bundle" in found.text


def test_target_finished_by_its_device_shows_what_it_waited_for_and_what_came() -> None:
    found = page(merged())
    assert "1 of 1 target passed" in found.text
    assert "ml to finish on its device 13.7 MB" in found.rows
    assert "on its device passed 0.9812 0.999960 7.868e-06 0.00125 8.50 ms" in found.rows
    assert "copy the bundle" not in found.text, "it was done"
    assert "On its device passed edgeseg 0.1.0 coremltools 9.0 finished 2026-07-02 08:00:00 UTC" in found.text
    assert "smallest mask IoU on its device mask_iou_min met 0.9925 ≥ 0.99 +0.0025" in found.rows
    assert "Apple M2, 8 cores, Darwin arm64" in found.text
    assert folded(found, "Tensors, on its device")
    assert "How it ran when it was timed, on its device compute ALL" in found.text


def test_gate_that_only_the_device_judged_is_not_called_unjudged() -> None:
    rows = page(merged()).rows
    judged = [row for row in rows if "latency_p50_ms_max" in row]
    assert judged == ["median latency on its device latency_p50_ms_max met 8.5 ms ≤ 30 ms +21.5"]
    assert sum("not judged" in row for row in rows) == len(GATE_LIMITS) - 2


def test_devices_finding_stands_beside_the_builds_own() -> None:
    missed = {"name": "mask_iou_min", "limit": 0.99, "value": 0.5, "margin": -0.49, "met": False}
    words = {"outcome": "parity_failed", "message": "it is off", "hint": "update it", "gates": [missed]}
    stages = {**target()["stages"], "benchmark": timed()}
    found = page(target("both", "passed", message="", hint="", stages=stages, device_result=device_result(**words)))
    both = [row for row in found.rows if "mask_iou_min" in row]
    assert both == [
        "smallest mask IoU mask_iou_min not met 0.98125 ≥ 0.99 −0.00875",
        "smallest mask IoU on its device mask_iou_min not met 0.5 ≥ 0.99 −0.49",
    ]
    assert [element.text for element in found.all("h4")][:4] == ["In this build", "On its device"] * 2
    assert "On its device differs it is off update it" in found.text
    assert "36.1 ms" in found.text
    assert "8.50 ms" in found.text


def test_device_without_pictures_lists_its_worst_instances() -> None:
    worst = [{"source": "/phone/a.jpg", "mask_iou": 0.5, "what": "cat 0.4", "picture": ""}]
    found = page(target(device_result=device_result(verify=verified(worst=worst))))
    assert "cat 0.4 in a.jpg" in [element.text for element in found.all("li")]
    assert not found.all("img", "figure")


def test_problem_that_is_already_the_message_is_said_once() -> None:
    found = page(target(message="the contract is broken", stages={"verify": verified(diagnosis=[])}))
    assert found.text.count("the contract is broken") == 1


def test_each_target_of_several_has_the_command_that_repeats_it_alone() -> None:
    command = ["edgeseg", "build", "c.yaml", "--only", "a", "--set", "--only", "--only", "b", "--output", "/r"]
    found = page(target("a"), target("b"), command=command)
    alone = [element.text for element in found.all("pre")]
    assert alone[0] == "edgeseg build c.yaml \\ --set \\ --only \\ --output /r \\ --only a"
    assert alone[1].endswith("--only b")
    assert len(page(target("a"), command=command).all("pre")) == 1


def test_build_of_an_older_version_still_has_its_page() -> None:
    found = Page(render(older(build(target(), target("left", "skipped", stages={}, artifact=None))), Path()))
    assert "smallest mask IoU mask_iou_min not met 0.98125 ≥ 0.99 −0.00875" in found.rows
    titles = [element.text.split()[0] for element in found.all("summary")]
    assert "Tensors" in titles
    assert not {"Stages", "Environment", "Bundle"} & set(titles)
    assert "unchanged" not in found.text, "it does not know"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(1.0, "100.00 %", id="all"),
        pytest.param(0.99996, "99.9960 %", id="rounds-up-at-two-decimals"),
        pytest.param(0.9999999, "> 99.9999 %", id="rounds-up-at-four"),
        pytest.param(1.0312, "103.12 %", id="more-than-all"),
        pytest.param(None, "not a number", id="null"),
    ],
)
def test_share_kept_is_all_of_it_only_where_it_is(value: float | None, text: str) -> None:
    assert numbers.percent(value) == text.replace(" %", "\N{NO-BREAK SPACE}%")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        pytest.param(0.0, "< 0.01 s", id="nothing"),
        pytest.param(0.08, "0.08 s", id="short"),
        pytest.param(9.996, "10.0 s", id="ten"),
        pytest.param(59.96, "1 min 0 s", id="a-minute"),
        pytest.param(3599.7, "1 h 0 min", id="an-hour"),
        pytest.param(3725.0, "1 h 2 min", id="hours"),
    ],
)
def test_duration_is_in_the_units_of_its_size(seconds: float, text: str) -> None:
    assert " ".join(numbers.duration(seconds).split()) == text
