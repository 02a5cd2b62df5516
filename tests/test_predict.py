"""The Python API: load, predict, export."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import edgeseg
from edgeseg import ContractError, Model, SourceError, UsageError
from edgeseg.export import export
from edgeseg.postprocess.pipeline import PostprocessOptions
from edgeseg.predict import Failure, PredictOptions
from edgeseg.sources import open_sources
from edgeseg.testing.tiny import IMAGE_SIZE, NAMES, tiny_picture
from tests.media import write_picture, write_video

LOW = 0.1
"""A score that gives every tiny picture some instances."""


@pytest.fixture(scope="module")
def model(tiny_onnx: Path) -> Iterator[Model]:
    with edgeseg.load(tiny_onnx) as opened:
        yield opened


def found(model: Model, source: Any, **options: Any) -> list[tuple[str, list[list[float]], list[int]]]:
    """What was found, in numbers that can be compared."""
    results = model.predict(source, **{"score": LOW, **options})
    return [(r.source, r.instances.xyxy.round(2).tolist(), r.instances.class_ids.tolist()) for r in results]


@pytest.mark.parametrize("kind", ["tiny_weights", "tiny_onnx", "tiny_torchscript"])
def test_load_tells_the_kind_from_the_bytes_and_all_kinds_agree(
    request: pytest.FixtureRequest, model: Model, tmp_path: Path, kind: str
) -> None:
    path: Path = request.getfixturevalue(kind)
    # A name that says nothing, as text.
    renamed = tmp_path / "model"
    renamed.write_bytes(path.read_bytes())
    picture = tiny_picture()
    with edgeseg.load(str(renamed)) as other:
        assert other.names == NAMES
        assert other.metadata.image_size == IMAGE_SIZE
        (ours,), (theirs,) = model.predict(picture, score=LOW), other.predict(picture, score=LOW)
    assert len(ours.instances) > 2
    assert ours.instances.class_ids.tolist() == theirs.instances.class_ids.tolist()
    np.testing.assert_allclose(ours.instances.xyxy, theirs.instances.xyxy, atol=0.02)


def test_load_reads_a_foreign_checkpoint(shared: Path) -> None:
    with edgeseg.load(shared / "weights" / "yolov8n-seg.pt", threads=1) as model:
        (result,) = model.predict(shared / "media" / "zidane.jpg", image_size=320)
    words = [model.names[i] for i in result.instances.class_ids]
    assert words.count("person") == 2
    assert result.instances.masks is not None
    # Two men fill much of the picture.
    assert result.instances.full_masks().any(axis=0).mean() > 0.3


def test_load_refuses_what_is_no_model_and_options_of_no_runtime(tiny_onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(edgeseg.ArtifactError, match="no such file"):
        edgeseg.load(tmp_path / "none.onnx")
    with pytest.raises(UsageError, match="did you mean 'threads'"):
        edgeseg.load(tiny_onnx, thread=4)
    with pytest.raises(UsageError, match="unknown run option of onnx: 'path'"):
        edgeseg.load(tiny_onnx, path="x")


def test_a_result_holds_the_picture_what_was_found_and_a_drawing(model: Model) -> None:
    picture = tiny_picture(120, 90)
    before = picture.copy()
    (result,) = model(picture, score=LOW)
    assert result.source == "array:0"
    assert (result.picture == before).all()
    assert result.instances.image_size == (120, 90)
    assert result.instances.names == NAMES
    drawn = result.draw()
    assert drawn.shape == picture.shape
    assert drawn.dtype == np.uint8
    assert (drawn != before).any()
    assert (picture == before).all()
    assert result.times.network > 0


def test_arrays_are_rgb_as_files_and_pillow_images_are(model: Model, tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png")
    picture = tiny_picture()
    boxes = [boxes for _, boxes, _ in found(model, [path, str(path), picture, Image.open(path)])]
    assert boxes[0] == boxes[1] == boxes[2] == boxes[3] != []
    assert found(model, picture[..., ::-1])[0][1] != boxes[0]


def test_mixed_sources_keep_their_order_and_names(model: Model, tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png")
    clip = write_video(tmp_path / "clip.avi", 2)
    results = list(model.predict([tiny_picture(), clip, path, Image.open(path)]))
    assert [(result.source, result.frame.frame_index) for result in results] == [
        ("array:0", None),
        (str(clip), 0),
        (str(clip), 1),
        (str(path), None),
        ("array:1", None),
    ]
    assert [result.frame.index for result in results] == [0, 1, 2, 3, 4]


def test_a_video_is_read_as_it_is_asked_for_and_its_frames_are_let_go(model: Model, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.avi", 40)
    alive: list[weakref.ref[NDArray[np.uint8]]] = []
    most = 0
    for result in model.predict(clip):
        alive.append(weakref.ref(result.picture))
        most = max(most, sum(reference() is not None for reference in alive))
    assert len(alive) == 40
    assert most <= 2


def test_an_endless_iterator_is_read_only_a_little_ahead(model: Model) -> None:
    asked = 0

    def endless() -> Iterator[NDArray[np.uint8]]:
        nonlocal asked
        while True:
            asked += 1
            yield tiny_picture(seed=asked)

    results = model.predict(endless())
    assert asked == 0
    for _ in range(5):
        next(results)
    assert asked <= 5 + 4
    results.close()  # type: ignore[attr-defined]
    assert "edgeseg-read-ahead" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conf": 0.4}, "predict has no option 'conf'"),
        ({"scores": 0.4}, "did you mean 'score'"),
        ({"classes": ["disk"]}, "did you mean 'disc'"),
        ({"classes": 3}, "classes 0 to 2"),
        ({"classes": [-1]}, "classes 0 to 2"),
        ({"image_size": 640}, "takes 96 160 .height width. only, asked was 640 640"),
        ({"image_size": (64, 64, 3)}, "expected .height, width."),
        ({"batch": 0}, "expected at least 1"),
        ({"batch": 8}, "runs batches of 1 only"),
        ({"score": -0.1}, "expected 0 to 1"),
    ],
    ids=str,
)
def test_predict_refuses_an_option_at_once(model: Model, options: dict[str, Any], message: str) -> None:
    # Not only when the first result is asked for.
    with pytest.raises(UsageError, match=message):
        model.predict(tiny_picture(), **options)


def test_predict_refuses_a_missing_source_at_once(model: Model, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        model.predict(tmp_path / "none.png")


@pytest.mark.parametrize("classes", [1, "disc", [1], ["disc"], ("disc", 1), np.array([1]), "disc,1"], ids=repr)
def test_classes_may_be_names_or_ids(model: Model, classes: Any) -> None:
    pictures = [tiny_picture(seed=seed) for seed in range(6)]
    every = [ids for _, _, ids in found(model, pictures, score=0.05)]
    assert set(itertools.chain(*every)) > {1}
    ones = [[i for i in ids if i == 1] for ids in every]
    assert [ids for _, _, ids in found(model, pictures, score=0.05, classes=classes)] == ones


def test_image_size_may_be_one_number_or_two(tiny_weights: Path) -> None:
    picture = tiny_picture(200, 200)
    with edgeseg.load(tiny_weights) as model:
        assert found(model, picture, image_size=128) == found(model, picture, image_size=[128, 128])
        assert found(model, picture, image_size=128) != found(model, picture)


def test_a_fixed_batch_is_filled_up(tiny_weights: Path, model: Model, tmp_path: Path) -> None:
    pictures = [tiny_picture(seed=seed) for seed in range(6)]
    artifact = export(tiny_weights, "onnx", output_dir=tmp_path, batch=4)
    with edgeseg.load(artifact.path) as batched:
        ours = [classes for _, _, classes in found(batched, pictures)]
    assert ours == [classes for _, _, classes in found(model, pictures)]
    assert sum(map(len, ours)) > 6


def test_a_broken_picture_raises_in_predict_and_is_passed_over_in_predict_frames(model: Model, tmp_path: Path) -> None:
    good = write_picture(tmp_path / "a.png")
    bad = tmp_path / "b.png"
    bad.write_bytes(b"no picture")
    results = model.predict([good, bad, good])
    assert next(results).source == str(good)
    with pytest.raises(SourceError, match=r"b\.png"):
        next(results)
    options = PredictOptions(PostprocessOptions())
    kinds = [type(result).__name__ for result in model.predict_frames(open_sources([good, bad, good]), options)]
    assert kinds == ["Result", Failure.__name__, "Result"]


def test_a_closed_model_says_so(tiny_onnx: Path) -> None:
    with edgeseg.load(tiny_onnx) as model:
        pass
    model.close()
    with pytest.raises(ContractError, match="closed"):
        next(model.predict(tiny_picture()))


def test_two_models_run_side_by_side(model: Model, tiny_weights: Path) -> None:
    pictures = [tiny_picture(seed=seed) for seed in range(4)]
    with edgeseg.load(tiny_weights) as other:
        pairs = list(zip(model.predict(pictures, score=LOW), other.predict(pictures, score=LOW), strict=True))
    assert len(pairs) == 4
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours.instances.xyxy, theirs.instances.xyxy, atol=0.02)


@pytest.mark.parametrize("kind", ["tiny_weights", "tiny_onnx", "tiny_torchscript"])
def test_one_model_serves_several_threads(request: pytest.FixtureRequest, kind: str) -> None:
    lots = [[tiny_picture(seed=10 * lot + seed) for seed in range(8)] for lot in range(4)]
    with edgeseg.load(request.getfixturevalue(kind)) as model:
        alone = [found(model, lot) for lot in lots]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda lot: found(model, lot), lots))
    assert together == alone
    assert len({str(lot) for lot in alone}) == 4


def test_export_gives_an_artifact_that_loads(tiny_weights: Path, tmp_path: Path) -> None:
    with edgeseg.load(tiny_weights) as model:
        artifact = model.export("onnx", output=tmp_path, precision="fp16", opset=18)
        assert artifact.path == tmp_path / "tiny-onnx-fp16.onnx"
        assert artifact.metadata.precision == "fp16"
        with pytest.raises(UsageError, match="supported: fp32, fp16"):
            model.export("onnx", output=tmp_path, precision="int4")
    with edgeseg.load(artifact.path) as exported:
        assert len(list(exported.predict(tiny_picture()))) == 1
        with pytest.raises(UsageError, match="only weights can be exported"):
            exported.export("torchscript", output=tmp_path)
