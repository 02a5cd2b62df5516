"""The synthetic data set: exact masks, the same bytes every time, nothing left half done."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from edgeseg.data import synthetic
from edgeseg.data.new_set import UNFINISHED
from edgeseg.data.picture import read_picture
from edgeseg.data.synthetic import synthesize
from edgeseg.data.synthetic_options import SyntheticOptions
from edgeseg.data.synthetic_scene import SIZE_PARTS, VISIBLE_PART, draw_scene
from edgeseg.data.synthetic_shapes import SHAPES, coverage
from edgeseg.errors import OutputError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools

SMALL = SyntheticOptions(images=6, val=3, size=96, classes=tuple(SHAPES), pictures="png")


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def coco(path: Path, capsys: pytest.CaptureFixture[str]) -> COCO:
    api = COCO(str(path))
    capsys.readouterr()
    return api


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth") / "small"
    synthesize(folder, SMALL, workers=1)
    return folder


def test_shape_areas_equal_geometry() -> None:
    rng = np.random.default_rng(0)
    expected = {
        "circle": np.pi * 100**2,
        "square": 2 * 100**2,
        # A regular pentagram has notches at 0.382 of its radius; ours lie between 0.38 and 0.52.
        "star": 5 * 100**2 * np.sin(np.pi / 5) * 0.45,
    }
    for name, area in expected.items():
        covered = coverage(SHAPES[name](rng), (150, 150), 100)
        assert covered.share.sum() == pytest.approx(area, rel=0.16 if name == "star" else 0.006)


@pytest.mark.parametrize("name", ["ring", "crescent"])
def test_ring_and_crescent_are_empty_in_the_middle(name: str) -> None:
    for seed in range(20):
        covered = coverage(SHAPES[name](np.random.default_rng(seed)), (200, 200), 100)
        row = covered.share[200 - covered.top]
        assert row[200 - covered.left] == 0
        assert row.max() == 1


def test_coverage_centre_of_mass_is_the_centre() -> None:
    for x, y in ((40.0, 30.0), (40.5, 30.25)):
        covered = coverage(SHAPES["circle"](np.random.default_rng(0)), (x, y), 10.3)
        rows, columns = np.indices(covered.share.shape) + 0.5
        total = covered.share.sum()
        assert (rows * covered.share).sum() / total + covered.top == pytest.approx(y, abs=0.13)
        assert (columns * covered.share).sum() / total + covered.left == pytest.approx(x, abs=0.13)


def test_scene_masks_share_no_pixel_and_lie_in_the_picture() -> None:
    hidden = 0
    for seed in range(20):
        scene = draw_scene(np.random.default_rng(seed), 128, ("circle", "square"), 6)
        total = np.zeros((128, 128), int)
        for mask in scene.masks:
            total[mask.window] += mask.bitmap
            height, width = mask.bitmap.shape
            for edge in (mask.bitmap[0], mask.bitmap[-1], mask.bitmap[:, 0], mask.bitmap[:, -1]):
                assert edge.any()
            assert max(height, width) <= SIZE_PARTS[1] * 128 + 2
            smallest = np.pi / 4 * (SIZE_PARTS[0] * 128) ** 2 * VISIBLE_PART
            assert mask.bitmap.sum() > smallest * 0.6  # a square has 64 % of its circle
            hidden += not mask.bitmap.mean() > 0.7
        assert total.max() == 1
        assert 1 <= len(scene.masks) <= 6
        assert scene.picture.shape == (128, 128, 3)
    assert hidden > 5, "no object hides another: the scenes are too simple"


def test_scene_mask_follows_the_painted_object() -> None:
    """Along the mask's edge the picture changes: mask and paint are in the same place."""
    steps, inner = [], []
    for seed in range(30):
        scene = draw_scene(np.random.default_rng(seed), 128, ("square",), 1)
        full = np.zeros((128, 128), np.uint8)
        full[scene.masks[0].window] = scene.masks[0].bitmap
        picture = cv2.GaussianBlur(scene.picture.astype(np.float32), (0, 0), 0.7)
        slope = sum(np.hypot(*np.gradient(picture[..., channel])) for channel in range(3))
        kernel = np.ones((3, 3), np.uint8)
        edge = (cv2.dilate(full, kernel) - cv2.erode(full, kernel, borderValue=0)).astype(bool)
        steps.append(float(slope[edge].mean()))
        inner.append(float(slope[~edge].mean()))
    assert np.median(np.array(steps) / np.array(inner)) > 3


def test_coco_masks_boxes_and_areas_are_exact_to_pycocotools(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = set()
    for part, index in (("train", 0), ("val", 1)):
        api = coco(small / "annotations" / f"{part}.json", capsys)
        for image in api.dataset["images"]:
            picture = read_picture(small / "images" / part / image["file_name"])
            assert picture.shape == (image["height"], image["width"], 3) == (96, 96, 3)
            rng = np.random.default_rng([SMALL.seed, index, image["id"] - 1])
            scene = draw_scene(rng, 96, SMALL.classes, SMALL.max_objects)
            assert np.array_equal(picture, scene.picture)
            rows = api.loadAnns(api.getAnnIds(image["id"]))
            for row, class_id, mask in zip(rows, scene.class_ids, scene.masks, strict=True):
                full = np.zeros((96, 96), np.uint8)
                full[mask.window] = mask.bitmap
                assert np.array_equal(api.annToMask(row), full)
                assert row["area"] == full.sum()
                assert row["bbox"] == list(cv2.boundingRect(full))
                assert api.loadCats(row["category_id"])[0]["name"] == SMALL.classes[class_id]
                kinds.add(type(row["segmentation"]))
    assert kinds == {list, dict}


def test_yolo_lines_rasterise_to_the_same_masks(tmp_path: Path) -> None:
    options = SyntheticOptions(images=8, val=0, size=128, max_objects=4, format="yolo-seg", seed=3)
    made = synthesize(tmp_path / "set", options, workers=1)
    assert made.sources == {"train": tmp_path / "set" / "data.yaml"}
    for index in range(8):
        scene = draw_scene(np.random.default_rng([3, 0, index]), 128, options.classes, 4)
        lines = (tmp_path / "set" / "labels" / "train" / f"{index:06d}.txt").read_text().splitlines()
        for line, class_id, mask in zip(lines, scene.class_ids, scene.masks, strict=True):
            words = line.split()
            full = np.zeros((128, 128), bool)
            full[mask.window] = mask.bitmap
            ring = [float(word) * 128 for word in words[1:]]
            assert int(words[0]) == class_id
            assert np.array_equal(coco_mask.decode(coco_mask.frPyObjects([ring], 128, 128))[..., 0], full)


def test_bytes_are_the_same_for_any_number_of_processes(small: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "again", SMALL, workers=2)
    assert files_of(tmp_path / "again") == files_of(small)


def test_pictures_keep_when_more_are_asked_for_and_change_with_the_seed(small: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "more", replace(SMALL, images=7, val=0), workers=1)
    synthesize(tmp_path / "other", replace(SMALL, images=6, val=0, seed=1), workers=1)
    before, more, other = (
        files_of(folder / "images" / "train") for folder in (small, tmp_path / "more", tmp_path / "other")
    )
    assert {name: more[name] for name in before} == before
    assert not set(before.values()) & set(other.values())
    val = files_of(small / "images" / "val")
    assert not set(before.values()) & set(val.values())


def test_killed_run_leaves_no_annotations_and_is_started_over(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "set"
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(folder, SyntheticOptions(images=8, val=2, size=96), workers=1, advance=stop)
    assert (folder / UNFINISHED).is_file()
    assert not (folder / "annotations").exists()
    synthesize(folder, SMALL, workers=1)
    assert files_of(folder) == files_of(small)


def test_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not empty"):
        synthesize(tmp_path, SMALL)
    assert files_of(tmp_path) == {"thesis.txt": b"years of work"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"classes": ("cirle",)}, "did you mean 'circle'", id="class"),
        pytest.param({"classes": ("star", "star")}, "each once", id="twice"),
        pytest.param({"classes": ()}, "at least one", id="none"),
        pytest.param({"format": "coc"}, "did you mean 'coco'", id="format"),
        pytest.param({"pictures": "gif"}, "one of: jpg, png", id="pictures"),
        pytest.param({"size": 32}, "expected 64..4096", id="size"),
        pytest.param({"images": 0}, "expected 1..", id="images"),
        pytest.param({"max_objects": 0}, "expected 1..100", id="objects"),
        pytest.param({"seed": -1}, "seed is -1", id="seed"),
    ],
)
def test_options_that_cannot_be_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        SyntheticOptions(**changes)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_tally_counts_the_annotations(tmp_path: Path) -> None:
    made = synthetic.synthesize(tmp_path / "set", SyntheticOptions(images=5, val=2, size=64), workers=1)
    for part, path in made.sources.items():
        content = json.loads(path.read_text())
        assert sum(made.objects[part].values()) == len(content["annotations"])
        assert made.pictures[part] == len(content["images"])
