"""Losses that are no numbers and memory that is not enough, met for real where a test can."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeseg.errors import StageError
from edgeseg.train.batch import Batch
from edgeseg.train.guards import check_finite, memory_guard


def a_batch(pictures: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(
        images=torch.randint(0, 256, (pictures, 3, 32, 64), dtype=torch.uint8, generator=generator),
        label_maps=torch.randint(0, 3, (pictures, 8, 16), dtype=torch.int16, generator=generator),
        picture_of=torch.tensor([0, 0, 1]),
        number=torch.tensor([0, 1, 0]),
        class_ids=torch.tensor([2, 0, 1]),
        boxes=torch.rand(3, 4, generator=generator),
        names=tuple(f"street/{at}.jpg" for at in range(pictures)),
    )


@pytest.mark.parametrize("values", [torch.ones(4), torch.tensor(3.5)], ids=["losses", "norm"])
def test_finite_values_pass_and_nothing_is_written(values: torch.Tensor, tmp_path: Path) -> None:
    check_finite(values, a_batch(), tmp_path, 1, 1)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param(torch.tensor([1.5, float("nan"), 0.25, 1.0]), "box 1.5, cls nan, dfl 0.25, mask 1", id="nan"),
        pytest.param(torch.tensor([1.5, 1.0, 0.25, float("-inf")]), "mask -inf", id="infinite"),
        pytest.param(torch.tensor(float("inf")), "gradient norm inf", id="norm"),
    ],
)
def test_a_value_that_is_not_finite_stops_the_training_and_keeps_the_batch(
    values: torch.Tensor, words: str, tmp_path: Path
) -> None:
    batch = a_batch()
    with pytest.raises(StageError) as caught:
        check_finite(values, batch, tmp_path / "run", 3, 17)

    error = caught.value
    written = tmp_path / "run" / "not-finite-epoch-3-step-17.npz"
    assert (error.outcome, error.exit_code) == ("train_failed", 4)
    assert error.message.startswith("epoch 3, step 17: not finite: ")
    assert words in error.message
    assert "street/0.jpg, street/1.jpg" in error.message
    assert all(word in error.hint for word in ("train.lr0", "train.amp=false", str(written)))
    with np.load(written) as found:
        assert set(found) == {"images", "label_maps", "picture_of", "number", "class_ids", "boxes", "names"}
        np.testing.assert_array_equal(found["images"], batch.images.numpy())
        np.testing.assert_array_equal(found["boxes"], batch.boxes.numpy())
        assert found["names"].tolist() == list(batch.names)


def test_masks_of_the_objects_are_kept_with_the_batch(tmp_path: Path) -> None:
    own = torch.rand(3, 8, 16, generator=torch.Generator().manual_seed(1)) > 0.5
    with pytest.raises(StageError):
        check_finite(torch.tensor(float("nan")), dataclasses.replace(a_batch(), object_maps=own), tmp_path, 1, 1)

    with np.load(tmp_path / "not-finite-epoch-1-step-1.npz") as found:
        np.testing.assert_array_equal(found["object_maps"], own.numpy())


def test_a_large_batchs_message_stays_short(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"street/3\.jpg and 60 more\n"):
        check_finite(torch.tensor(float("nan")), a_batch(64), tmp_path, 1, 1)


def test_a_refused_allocation_names_half_the_batch() -> None:
    with pytest.raises(StageError, match="out of memory at batch 16") as caught, memory_guard(16):
        # 4 PB: more than a 64-bit processor addresses.
        torch.empty(1 << 50)

    assert caught.value.outcome == "train_failed"
    assert "train.batch=8" in caught.value.hint


@pytest.mark.parametrize(
    "error",
    [torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), MemoryError()],
    ids=["cuda", "python"],
)
def test_other_kinds_of_lacking_memory_are_known(error: Exception) -> None:
    with pytest.raises(StageError, match="out of memory at batch 1:") as caught, memory_guard(1):
        raise error

    assert "model.image_size" in caught.value.hint
    assert "train.batch" not in caught.value.hint


def test_another_error_passes_unchanged() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), memory_guard(16):
        torch.zeros(2, 3) @ torch.zeros(2, 3)
