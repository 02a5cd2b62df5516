"""A recorded reference gives what the live one gives, wherever a gate looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeseg.data.letterbox import letterbox
from edgeseg.data.picture import read_picture
from edgeseg.errors import ArtifactError, UsageError
from edgeseg.export import export
from edgeseg.model.weights import load_weights, save_weights
from edgeseg.postprocess.decode import sigmoid
from edgeseg.predict import load
from edgeseg.recording.compact import KNOWN_SCORE, read_compact, write_compact
from edgeseg.recording.contract import LiveReference, thresholds
from edgeseg.recording.playback import Recording
from edgeseg.recording.record import record
from edgeseg.sources import Frame
from edgeseg.tensors import LEVELS
from edgeseg.testing.tiny import IMAGE_SIZE, NAMES, tiny_frames, tiny_picture
from edgeseg.verify import POINT_SCORE, VerifyOptions, VerifyReport, verify


@pytest.fixture(scope="module")
def tiny_recording(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recording")
    with load(tiny_weights) as model:
        record(model, tiny_frames(), folder, IMAGE_SIZE)
    return folder


def both(weights: Path, artifact: Path, folder: Path) -> tuple[VerifyReport, VerifyReport]:
    """Live and recorded verification of an artifact on the recorded pictures."""
    recording = Recording(folder)
    with load(weights) as reference, load(artifact) as model:
        return verify(reference, model, recording.frames()), verify(recording, model, recording.frames())


def assert_alike(live: VerifyReport, recorded: VerifyReport) -> None:
    assert recorded.passed == live.passed
    assert recorded.points["score_error_max"] == pytest.approx(live.points["score_error_max"], abs=2e-6)
    assert recorded.points["box_error_px_max"] == live.points["box_error_px_max"]
    assert recorded.masks == live.masks


def test_recorded_verification_of_the_official_network_is_the_live_one(shared: Path, tmp_path: Path) -> None:
    weights = tmp_path / "n.safetensors"
    save_weights(load_weights(shared / "weights/yolov8n-seg.pt"), weights)
    artifact = export(weights, "onnx", output_dir=tmp_path, image_size=(320, 320)).path
    pictures = [frame_of(path) for path in (shared / "media/bus.jpg", shared / "media/zidane.jpg")]
    with load(weights) as model:
        found = record(model, pictures, tmp_path / "golden", (320, 320))
    live, recorded = both(weights, artifact, tmp_path / "golden")
    assert live.passed
    assert live.masks["matched"] == found > 5
    assert_alike(live, recorded)


@pytest.mark.parametrize("head", ["raw", "decoded"])
def test_recorded_verification_is_the_live_one_in_either_layout(
    head: str, tiny_weights: Path, tiny_recording: Path, tmp_path: Path
) -> None:
    artifact = export(tiny_weights, "onnx", output_dir=tmp_path, outputs=head).path
    live, recorded = both(tiny_weights, artifact, tiny_recording)
    assert live.passed
    assert_alike(live, recorded)
    # The tiny network has no unlikely points: every point is known, so the statistics are the same too.
    exact = [row for row in recorded.tensors if row["name"] not in ("proto", "output1")]
    assert exact == [row for row in live.tensors if row["name"] not in ("proto", "output1")]


def test_masks_of_another_network_lose_as_much_against_a_recording(
    tiny_weights: Path, tiny_recording: Path, tmp_path: Path
) -> None:
    weights = load_weights(tiny_weights)
    weights.tensors["head.proto.cv1.conv.weight"] *= np.float32(1.3)
    save_weights(weights, tmp_path / "other.safetensors")
    artifact = export(tmp_path / "other.safetensors", "onnx", output_dir=tmp_path).path
    live, recorded = both(tiny_weights, artifact, tiny_recording)
    assert not live.passed
    assert live.masks["mask_iou_min"] < 0.99
    assert_alike(live, recorded)


def test_frame_of_a_picture_of_the_input_size_is_the_identity() -> None:
    picture = tiny_picture()
    boxed, place = letterbox(picture, IMAGE_SIZE)
    assert np.array_equal(boxed, picture)
    assert (place.scale_yx, place.top, place.left) == ((1.0, 1.0), 0, 0)
    boxes = np.array([[1.25, 2.5, 30.125, 90.0]], np.float32)
    assert np.array_equal(place.to_picture(boxes), boxes)


def test_known_points_are_exact_and_the_others_near(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    raw = {}
    for level, stride in LEVELS:
        rows, columns = IMAGE_SIZE[0] // stride, IMAGE_SIZE[1] // stride
        # From a logit of -80 000, which fp16 does not hold, to 20.
        logits = random.uniform(-16, 4, (1, 3, rows, columns)).astype(np.float32)
        logits[:, :, 0, 0] = (-80_000, -30, 20)
        raw[f"{level}_cls"] = logits
        raw[f"{level}_box"] = random.normal(size=(1, 64, rows, columns)).astype(np.float32)
        raw[f"{level}_coef"] = random.normal(size=(1, 32, rows, columns)).astype(np.float32)
    raw["proto"] = random.normal(size=(1, 32, IMAGE_SIZE[0] // 4, IMAGE_SIZE[1] // 4)).astype(np.float32)
    write_compact(raw, tmp_path / "x.npz")
    found = read_compact(tmp_path / "x.npz", 3, IMAGE_SIZE)
    assert found.known is not None
    assert 0 < found.known.sum() < found.known.size
    for name, array in raw.items():
        assert found.raw[name].shape == array.shape
        assert found.raw[name].dtype == np.float32
        if name == "proto":
            assert np.array_equal(found.raw[name], array.astype(np.float16))
            continue
        assert np.array_equal(found.compared(name, found.raw[name]), found.compared(name, array))
        if name.endswith("cls"):
            assert np.abs(sigmoid(found.raw[name]) - sigmoid(array)).max() < 2e-6
            assert sigmoid(found.left_out(name, array)).max() <= KNOWN_SCORE < POINT_SCORE


def test_the_same_pictures_give_the_same_bytes(tiny_weights: Path, tiny_recording: Path, tmp_path: Path) -> None:
    with load(tiny_weights) as model:
        record(model, tiny_frames(), tmp_path / "again", IMAGE_SIZE)
    first, second = (
        {p.name: p.read_bytes() for p in folder.iterdir()} for folder in (tiny_recording, tmp_path / "again")
    )
    assert first == second


def test_recorded_instances_are_those_that_were_found(tiny_weights: Path, tiny_recording: Path) -> None:
    recording = Recording(tiny_recording)
    with load(tiny_weights) as model:
        live = LiveReference(model)
        for frame in recording.frames():
            boxed, place = letterbox(frame.picture, IMAGE_SIZE)
            outputs = live.outputs(boxed)
            options = thresholds(recording.score, recording.iou)
            want = live.instances(boxed, outputs, place, options)
            have = recording.instances(boxed, recording.outputs(boxed), place, options)
            assert np.array_equal(have.xyxy, want.xyxy)
            assert np.array_equal(have.scores, want.scores)
            assert np.array_equal(have.class_ids, want.class_ids)
            assert np.array_equal(have.full_masks(), want.full_masks())
            assert have.names == NAMES


def test_a_recording_refuses_other_thresholds_and_other_pictures(tiny_onnx: Path, tiny_recording: Path) -> None:
    recording = Recording(tiny_recording)
    with load(tiny_onnx) as model:
        with pytest.raises(UsageError, match=r"recorded at score 0\.25"):
            verify(recording, model, recording.frames(), VerifyOptions(score=0.5))
        with pytest.raises(UsageError, match="a picture that was not recorded"):
            verify(recording, model, [Frame(tiny_picture(seed=99), "other")])


def test_recording_refuses_pictures_in_which_nothing_is_found(tiny_weights: Path, tmp_path: Path) -> None:
    grey = Frame(np.full((*IMAGE_SIZE, 3), 114, np.uint8), "grey")
    with load(tiny_weights) as model, pytest.raises(UsageError, match="finds nothing in"):
        record(model, [grey], tmp_path, IMAGE_SIZE)


def test_a_damaged_recording_is_refused(tiny_recording: Path, tmp_path: Path) -> None:
    data = (tiny_recording / "000.npz").read_bytes()
    for name, damaged in {"half": data[: len(data) // 2], "other": b"text", "flipped": flipped(data)}.items():
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ArtifactError, match="no recorded outputs"):
            read_compact(tmp_path / name, len(NAMES), IMAGE_SIZE)
    with pytest.raises(ArtifactError, match="of 4 classes"):
        read_compact(tiny_recording / "000.npz", 4, IMAGE_SIZE)
    with pytest.raises(ArtifactError, match="at 64x64"):
        read_compact(tiny_recording / "000.npz", len(NAMES), (64, 64))


def test_a_file_that_unpacks_to_too_much_is_refused_unread(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", points=np.zeros(10_000_000, np.int64))
    with pytest.raises(ArtifactError, match="unpacks to 80000128 bytes"):
        read_compact(tmp_path / "bomb.npz", len(NAMES), IMAGE_SIZE)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", points=np.array([{}], dtype=object))
    with pytest.raises(ArtifactError, match="allow_pickle=False"):
        read_compact(tmp_path / "evil.npz", len(NAMES), IMAGE_SIZE)


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


def frame_of(path: Path) -> Frame:
    return Frame(read_picture(path), str(path))
