"""`edgeseg predict`: what each option writes and prints."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from edgeseg.card.classes import COCO80
from edgeseg.testing.tiny import NAMES
from tests.cli.running import files_in, run
from tests.media import read_video, write_picture, write_video

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools

LOW = ("--score", "0.1")
"""More instances for the tests that count them."""


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three pictures."""
    folder = tmp_path_factory.mktemp("street")
    for seed, name in enumerate(("one.png", "two.jpg", "30.png")):
        write_picture(folder / name, seed, (120, 90 + 50 * seed))
    return folder


@pytest.fixture(scope="module")
def rows(tiny_onnx: Path, street: Path) -> list[dict[str, Any]]:
    """The JSON results of that folder."""
    found: list[dict[str, Any]] = json.loads(run("predict", tiny_onnx, street, *LOW, "--json", "-").out)
    assert len(found) > 10
    return found


def results(model: Path, *arguments: object) -> list[dict[str, Any]]:
    outcome = run("predict", model, *arguments, "--json", "-")
    assert outcome.code == 0, outcome.err
    found: list[dict[str, Any]] = json.loads(outcome.out)
    return found


def test_prints_one_line_a_picture_to_stdout_and_the_summary_to_stderr(
    tiny_onnx: Path, street: Path, rows: list[dict[str, Any]]
) -> None:
    outcome = run("predict", tiny_onnx, street, *LOW)
    lines = outcome.out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        str(street / name) for name in ("30.png", "one.png", "two.jpg")
    ]
    for line in lines:
        source, _, words = line.partition(": ")
        wanted = [row["class_id"] for row in rows if row["file_name"] == Path(source).name]
        counts = {NAMES[i]: wanted.count(i) for i in set(wanted)}
        assert {name: int(count) for count, name in (word.split(" ", 1) for word in words.split(", "))} == counts
    assert outcome.err == f"3 done, {len(rows)} masks\n"


def test_a_picture_without_instances_says_nothing_was_found(tiny_onnx: Path, street: Path) -> None:
    outcome = run("predict", tiny_onnx, street / "one.png", "--score", "1")
    assert outcome.out == f"{street / 'one.png'}: nothing\n"
    assert outcome.err == "1 done, 0 masks\n"


def test_json_gives_pictures_their_number_or_their_place_in_the_run(rows: list[dict[str, Any]]) -> None:
    assert {(row["file_name"], row["image_id"]) for row in rows} == {("30.png", 30), ("one.png", 1), ("two.jpg", 2)}
    # Classes of our own: no official ids to translate to.
    assert all(row["category_id"] == row["class_id"] for row in rows)
    assert "frame_index" not in rows[0]


def test_json_gives_frames_of_a_numbered_video_their_own_ids(tiny_onnx: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "0007.avi", 3)
    found = results(tiny_onnx, write_picture(tmp_path / "a.png"), video, *LOW)
    ids = {(row["image_id"], row.get("frame_index")) for row in found}
    assert ids == {(0, None), (1, 0), (2, 1), (3, 2)}


def test_json_of_coco_photos_is_loadable_results_with_official_categories(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "coco-val128"
    photos = sorted((folder / "images").glob("*.jpg"))[:4]
    path = tmp_path / "new" / "results.json"
    weights = shared / "weights" / "yolov8n-seg.pt"
    outcome = run("predict", weights, *photos, "--json", path, "--image-size", 320, 320)
    assert outcome.code == 0
    truth = COCO(str(folder / "instances.json"))
    found = truth.loadRes(str(path))
    assert set(found.getImgIds()) >= {int(photo.stem) for photo in photos[:2]}
    for row in found.dataset["annotations"]:
        assert truth.loadCats(row["category_id"])[0]["name"] == COCO80[row["class_id"]]
        picture = truth.loadImgs(row["image_id"])[0]
        assert row["file_name"] == picture["file_name"]
        assert row["segmentation"]["size"] == [picture["height"], picture["width"]]
    # The first photo's one sandwich, found where COCO's annotators drew it.
    right = [row for row in truth.imgToAnns[1425] if row["category_id"] == 54]
    ours = [row for row in found.imgToAnns[1425] if row["category_id"] == 54]
    overlap = coco_mask.iou([ours[0]["segmentation"]], [truth.annToRLE(row) for row in right], [False] * len(right))
    assert overlap.max() > 0.8


def test_json_without_instances_is_an_empty_list(tiny_onnx: Path, street: Path, tmp_path: Path) -> None:
    run("predict", tiny_onnx, street, "--score", "1", "--json", tmp_path / "none.json")
    assert json.loads((tmp_path / "none.json").read_text()) == []


def test_json_to_stdout_is_all_that_stdout_holds(tiny_onnx: Path, street: Path) -> None:
    outcome = run("predict", tiny_onnx, street, *LOW, "--json", "-", "--frames-per-second")
    assert len(json.loads(outcome.out)) > 10
    assert "frames per second" in outcome.err
    assert "3 done" in outcome.err


def test_json_is_refused_the_name_of_a_picture(tiny_onnx: Path, street: Path) -> None:
    before = (street / "one.png").read_bytes()
    outcome = run("predict", tiny_onnx, "--json", street / "one.png", street / "two.jpg")
    assert outcome.code == 2
    assert "ends in .json" in outcome.err
    assert (street / "one.png").read_bytes() == before


def test_save_draws_every_picture_at_its_own_size(tiny_onnx: Path, street: Path, tmp_path: Path) -> None:
    assert run("predict", tiny_onnx, street, *LOW, "--save", tmp_path / "drawn").code == 0
    assert files_in(tmp_path / "drawn") == {"one.jpg", "two.jpg", "30.jpg"}
    drawn = cv2.imread(str(tmp_path / "drawn" / "30.jpg"))
    original = cv2.imread(str(street / "30.png"))
    assert drawn is not None and original is not None
    assert drawn.shape == original.shape
    assert np.mean(np.abs(drawn.astype(int) - original) > 40) > 0.01


@pytest.mark.parametrize("size", [(96, 160), (77, 101)], ids=["even sides", "odd sides"])
def test_save_draws_a_video_with_all_its_frames(tiny_onnx: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    clip = write_video(tmp_path / "clip.avi", 7, size, rate=12.0)
    assert run("predict", tiny_onnx, clip, "--save", tmp_path / "drawn").code == 0
    assert files_in(tmp_path / "drawn") == {"clip.mp4"}
    frames, rate = read_video(tmp_path / "drawn" / "clip.mp4")
    assert len(frames) == 7
    assert rate == 12.0
    # MP4 has even sides only: an odd one is made longer, and never cut.
    assert frames[0].shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)


def test_txt_holds_a_line_an_instance_and_scores_only_if_asked(
    tiny_onnx: Path, street: Path, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    run("predict", tiny_onnx, street, *LOW, "--txt", tmp_path / "plain")
    run("predict", tiny_onnx, street, *LOW, "--txt", tmp_path / "scored", "--txt-scores")
    assert files_in(tmp_path / "plain") == {"one.txt", "two.txt", "30.txt"}
    wanted = [row for row in rows if row["file_name"] == "two.jpg" and coco_mask.area(row["segmentation"])]
    plain = (tmp_path / "plain" / "two.txt").read_text().splitlines()
    scored = (tmp_path / "scored" / "two.txt").read_text().splitlines()
    assert [int(line.split()[0]) for line in plain] == [row["class_id"] for row in wanted]
    assert all(len(line.split()) % 2 == 1 for line in plain)
    assert [line.rpartition(" ")[0] for line in scored] == plain
    assert [float(line.split()[-1]) for line in scored] == pytest.approx([row["score"] for row in wanted], abs=1e-6)


def test_masks_are_16_bit_and_hold_the_same_pixels_as_the_json(
    tiny_onnx: Path, street: Path, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    run("predict", tiny_onnx, street, *LOW, "--masks", tmp_path)
    labels = cv2.imread(str(tmp_path / "two.png"), cv2.IMREAD_UNCHANGED)
    assert labels is not None
    assert labels.dtype == np.uint16
    masks = [coco_mask.decode(row["segmentation"]) for row in rows if row["file_name"] == "two.jpg"]
    assert ((labels > 0) == np.any(masks, axis=0)).all()
    for index, mask in enumerate(masks, 1):
        assert (mask[labels == index] == 1).all()
    # Best score first, and the best is on top.
    assert ((labels == 1) == (masks[0] == 1)).all()


def test_sources_of_one_name_get_files_of_their_own(tiny_onnx: Path, street: Path, tmp_path: Path) -> None:
    other = write_picture(tmp_path / "other" / "one.jpg", 5)
    outputs = tmp_path / "out"
    arguments = ("--save", outputs / "drawn", "--txt", outputs / "txt", "--masks", outputs / "masks")
    assert run("predict", tiny_onnx, street / "one.png", other, *arguments).code == 0
    assert files_in(outputs) == {
        f"{folder}/{stem}.{suffix}"
        for folder, suffix in (("drawn", "jpg"), ("txt", "txt"), ("masks", "png"))
        for stem in ("one", "one-2")
    }


def test_frames_of_a_video_go_to_a_folder_of_its_name(tiny_onnx: Path, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.avi", 2)
    still = write_picture(tmp_path / "clip_000001.png")
    assert run("predict", tiny_onnx, clip, still, "--masks", tmp_path / "masks").code == 0
    assert files_in(tmp_path / "masks") == {"clip/000000.png", "clip/000001.png", "clip_000001.png"}


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (("--classes", "disc"), {1}),
        (("--classes", "1"), {1}),
        (("--classes", "square, disc"), {0, 1}),
        (("--classes", "square", "--classes", NAMES[2]), {0, 2}),
    ],
    ids=["name", "id", "comma", "repeated"],
)
def test_classes_keeps_only_those(
    tiny_onnx: Path, street: Path, rows: list[dict[str, Any]], arguments: tuple[str, ...], kept: set[int]
) -> None:
    found = results(tiny_onnx, street, *LOW, *arguments)
    assert {row["class_id"] for row in found} <= kept
    # Suppression is by class, so that the others' absence changes nothing.
    assert found == [row for row in rows if row["class_id"] in kept]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("disk", "the model has no class 'disk'\n  hint: did you mean 'disc'?"),
        ("3", "class id 3: the model has classes 0 to 2"),
        ("-1", "the model has no class '-1'"),
        ("", "the model has no class ''"),
    ],
)
def test_classes_refuses_what_the_model_has_not(tiny_onnx: Path, street: Path, word: str, message: str) -> None:
    outcome = run("predict", tiny_onnx, street, "--classes", word)
    assert outcome.code == 2
    assert f"error: {message}" in outcome.err


def test_no_masks_leaves_boxes(tiny_onnx: Path, street: Path, rows: list[dict[str, Any]]) -> None:
    found = results(tiny_onnx, street, *LOW, "--no-masks")
    assert found == [{k: v for k, v in row.items() if k != "segmentation"} for row in rows]
    assert run("predict", tiny_onnx, street, "--no-masks").err.endswith(("boxes\n", " 1 box\n"))


@pytest.mark.parametrize(
    "arguments", [("--no-masks", "--txt", "x"), ("--no-masks", "--masks", "x"), ("--txt-scores",)], ids=" ".join
)
def test_options_that_contradict_each_other_are_refused(
    tiny_onnx: Path, street: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("predict", tiny_onnx, street, *arguments).code == 2
    assert not list(tmp_path.iterdir())


def test_max_detections_keeps_the_best(tiny_onnx: Path, tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "a.png")
    every = results(tiny_onnx, picture, *LOW)
    assert len(every) > 2
    best = sorted(every, key=lambda row: float(row["score"]))[-2:]
    assert results(tiny_onnx, picture, *LOW, "--max-detections", 2) == best[::-1]


def test_class_agnostic_suppresses_across_classes(tiny_weights: Path, tmp_path: Path) -> None:
    def overlapping(found: list[dict[str, Any]]) -> int:
        # Suppression comes before boxes are cut at the picture's edge: only those that were not are compared.
        whole = [row for row in found if _inside(row["bbox"], 320)]
        pairs = [(a, b) for a, b in itertools.combinations(whole, 2) if a["image_id"] == b["image_id"]]
        return sum(coco_mask.iou([a["bbox"]], [b["bbox"]], [0]).item() > 0.31 for a, b in pairs)

    for seed in range(2):
        write_picture(tmp_path / f"{seed}.png", seed, (320, 320))
    arguments = (tmp_path, "--image-size", 320, 320, "--score", 0.02, "--iou", 0.3, "--no-masks")
    assert overlapping(results(tiny_weights, *arguments)) > 0
    assert overlapping(results(tiny_weights, *arguments, "--class-agnostic")) == 0


def _inside(xywh: list[float], side: int) -> bool:
    x, y, w, h = xywh
    return x > 0.5 and y > 0.5 and x + w < side - 0.5 and y + h < side - 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--image-size", "64", "64"), "takes 96 160 (height width) only, asked was 64 64"),
        (("--image-size", "100", "160"), "the nearest is 96 160"),
        (("--batch", "2"), "runs batches of 1 only, asked was 2"),
        (("--batch", "0"), "batch 0: expected at least 1"),
        (("--score", "1.5"), "score 1.5: expected 0 to 1"),
        (("--iou", "nan"), "iou nan: expected 0 to 1"),
        (("--max-detections", "0"), "expected at least 1"),
        (("--option", "thread=1"), "unknown run option of onnx: 'thread'\n  hint: did you mean 'threads'?"),
        (("--option", "path=1"), "unknown run option of onnx: 'path'"),
        (("--option", "threads=many"), "got 'many'"),
        (("--option", "threads=0"), "got 0"),
        (("--option", "threads"), "expected KEY=VALUE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_option_that_cannot_be_met_is_refused(
    tiny_onnx: Path, street: Path, arguments: tuple[str, ...], message: str
) -> None:
    outcome = run("predict", tiny_onnx, street, *arguments)
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert message in outcome.err
    assert outcome.out == ""


def test_weights_take_any_size_batch_and_thread_count(tiny_weights: Path, street: Path) -> None:
    arguments = ("--image-size", 128, 192, *LOW)
    single = results(tiny_weights, street, *arguments, "--option", "threads=1")
    batched = results(tiny_weights, street, *arguments, "--batch", 2)
    assert len(single) > 10
    assert [row["class_id"] for row in batched] == [row["class_id"] for row in single]
    assert np.allclose([row["bbox"] for row in batched], [row["bbox"] for row in single], atol=0.02)
    assert single != results(tiny_weights, street, *LOW)


@pytest.mark.parametrize("option", ["threads=0", "device=tpu"])
def test_weights_refuse_a_wrong_run_option(tiny_weights: Path, street: Path, option: str) -> None:
    assert run("predict", tiny_weights, street, "--option", option).code == 2


def test_frames_per_second_names_the_time_of_each_step(tiny_onnx: Path, street: Path) -> None:
    outcome = run("predict", tiny_onnx, street, "--frames-per-second")
    assert len(outcome.out.splitlines()) == 3
    line = outcome.err.splitlines()[0]
    assert "frames per second" in line
    assert all(f"{step} " in line for step in ("letterbox", "network", "decode", "masks"))


def test_quiet_prints_nothing_and_writes_everything(tiny_onnx: Path, street: Path, tmp_path: Path) -> None:
    outcome = run("predict", tiny_onnx, street, "-q", "--json", tmp_path / "r.json", "--save", tmp_path / "drawn")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert files_in(tmp_path) == {"r.json", "drawn/one.jpg", "drawn/two.jpg", "drawn/30.jpg"}


def test_quiet_still_prints_json_asked_for_on_stdout(tiny_onnx: Path, street: Path) -> None:
    outcome = run("predict", tiny_onnx, street, "-q", "--json", "-")
    assert isinstance(json.loads(outcome.out), list)
    assert outcome.err == ""
