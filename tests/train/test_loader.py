"""Batches from the main process and from workers: the same bytes, from any step on, and errors as they were raised."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeseg.card.train import Augmentation, Train
from edgeseg.data.labelled import Labelled
from edgeseg.errors import SourceError, StageError
from edgeseg.report.train_pictures import CELL_PX, GAP_PX, drawn_batch
from edgeseg.train.batch import Batch
from edgeseg.train.loader import Loader
from edgeseg.train.sampler import BatchOrder

SIZE = (64, 96)
STILL = Augmentation(
    mosaic=0, scale=0, translate=0, hsv_h=0, hsv_s=0, hsv_v=0, flip_lr=0, close_mosaic=0
)  # nothing changes but the size


@dataclass(frozen=True)
class Squares:
    """Grey pictures, number i with i % 3 squares of class 1 - i % 2; one may be broken, one may kill its reader."""

    count: int
    broken: int = -1
    deadly: int = -1

    def __len__(self) -> int:
        return self.count

    def path(self, index: int) -> Path:
        return Path(f"{index}.png")

    def load(self, index: int) -> Labelled:
        if index == self.broken:
            raise SourceError(f"{index}.png: cut off", hint="copy it again")
        if index == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        picture = np.full((*SIZE, 3), index * 10, np.uint8)
        corners = [(8 + 32 * at, 16) for at in range(index % 3)]
        objects = tuple(
            (np.array([(x, y), (x + 24, y), (x + 24, y + 24), (x, y + 24)], np.float32),) for x, y in corners
        )
        for x, y in corners:
            picture[y : y + 24, x : x + 24] = 255
        return Labelled(picture, np.full(len(objects), 1 - index % 2, np.int64), objects)


class Nested(Squares):
    """Grey pictures with a square of 32 px, and one of 16 px in its middle; without where the number is even."""

    def load(self, index: int) -> Labelled:
        plain = super().load(index)
        corners = [(16, 16, 32), (24, 24, 16)] if index % 2 else []
        objects = tuple(
            (np.array([(x, y), (x + s, y), (x + s, y + s), (x, y + s)], np.float32),) for x, y, s in corners
        )
        return Labelled(plain.picture, np.zeros(len(objects), np.int64), objects)


def settings(workers: int, augmentation: Augmentation | None = None, *, separate: bool = False) -> Train:
    return Train(
        epochs=2,
        workers=workers,
        seed=5,
        augmentation=augmentation or Augmentation(close_mosaic=1),
        overlap_masks="separate" if separate else "merged",
    )


def loader(pictures: Squares, chosen: Train, batch: int = 2) -> Loader:
    return Loader(
        pictures,
        BatchOrder(len(pictures), batch, chosen.seed),
        chosen,
        SIZE,
        class_map=(4, 7),
        workers=int(chosen.workers),
    )


def content(batches: Iterator[Batch]) -> list[dict[str, object]]:
    return [{"names": b.names, **{name: tensor.clone() for name, tensor in b.tensors.items()}} for b in batches]


def assert_same(found: list[dict[str, object]], expected: list[dict[str, object]]) -> None:
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one["names"] == other["names"]
        assert one.keys() == other.keys()
        for name in one.keys() - {"names"}:
            torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)


def test_a_batch_holds_pictures_and_objects_as_declared() -> None:
    pictures = Squares(5)
    (batch,) = content(loader(pictures, settings(0, STILL), batch=5).epoch(1))
    shown = [int(str(name).partition(".")[0]) for name in np.atleast_1d(np.array(batch["names"]))]
    images, maps, boxes = (batch[name] for name in ("images", "label_maps", "boxes"))
    assert isinstance(images, torch.Tensor)
    assert isinstance(maps, torch.Tensor)
    assert isinstance(boxes, torch.Tensor)

    assert sorted(shown) == [0, 1, 2, 3, 4]
    assert (images.dtype, tuple(images.shape)) == (torch.uint8, (5, 3, *SIZE))
    assert (maps.dtype, tuple(maps.shape)) == (torch.int16, (5, SIZE[0] // 4, SIZE[1] // 4))
    assert batch["picture_of"].tolist() == [at for at, index in enumerate(shown) for _ in range(index % 3)]  # type: ignore[attr-defined]
    assert batch["number"].tolist() == [number for index in shown for number in range(index % 3)]  # type: ignore[attr-defined]
    # The card's ids of the set's classes 0 and 1 are 4 and 7.
    assert batch["class_ids"].tolist() == [(4, 7)[1 - index % 2] for index in shown for _ in range(index % 3)]  # type: ignore[attr-defined]
    for at, index in enumerate(shown):
        expected = pictures.load(index)
        np.testing.assert_array_equal(images[at].permute(1, 2, 0).numpy(), expected.picture)
        for number in range(index % 3):
            x = 8 + 32 * number
            assert (maps[at] == number + 1).nonzero().amin(0).tolist() == [4, x // 4]
            assert int((maps[at] == number + 1).sum()) == 36
    first_objects = [8 + 32 * number for index in shown for number in range(index % 3)]
    assert boxes.tolist() == [[x, 16, x + 24, 40] for x in first_objects]


def test_separate_masks_are_whole_and_merged_ones_are_not_there() -> None:
    pictures = Nested(4)
    (merged,) = loader(pictures, settings(0, STILL), batch=4).epoch(1)
    (separate,) = loader(pictures, settings(0, STILL, separate=True), batch=4).epoch(1)
    own = separate.object_maps

    assert merged.object_maps is None
    assert set(merged.tensors) == {"images", "label_maps", "picture_of", "number", "class_ids", "boxes"}
    assert set(separate.tensors) - set(merged.tensors) == {"object_maps"}
    assert own is not None
    assert (own.dtype, tuple(own.shape)) == (torch.bool, (4, SIZE[0] // 4, SIZE[1] // 4))
    # 8 x 8 and 4 x 4 cells, in each of the two pictures that have any.
    assert own.sum((1, 2)).tolist() == [64, 16, 64, 16]
    assert own[::2, 4:12, 4:12].all()
    assert own[1::2, 6:10, 6:10].all()
    hidden = [int((separate.label_maps == number).sum()) for number in (1, 2)]
    assert hidden == [2 * 48, 2 * 16]
    for name, tensor in merged.tensors.items():
        torch.testing.assert_close(tensor, separate.tensors[name], rtol=0, atol=0)


def test_separate_masks_of_pictures_without_objects_are_none() -> None:
    (batch,) = loader(Nested(1), settings(0, STILL, separate=True), batch=1).epoch(1)

    assert batch.object_maps is not None
    assert tuple(batch.object_maps.shape) == (0, SIZE[0] // 4, SIZE[1] // 4)


def test_separate_masks_go_along_to_another_device() -> None:
    (batch,) = loader(Nested(2), settings(0, STILL, separate=True)).epoch(1)

    moved = batch.to(torch.device("meta"))

    assert set(moved.tensors) == set(batch.tensors)
    assert {tensor.device.type for tensor in moved.tensors.values()} == {"meta"}


def test_pictures_of_the_page_show_separate_masks() -> None:
    batches = [next(loader(Nested(2), settings(0, STILL, separate=own)).epoch(1)) for own in (False, True)]
    merged, separate = (drawn_batch(batch, ("part",) * 8).astype(int) for batch in batches)

    # Only cells that the smaller square covers differ: there the larger one's colour lies below the smaller one's.
    differs = np.argwhere((merged != separate).any(axis=2))
    column, factor = differs[:, 1] % (CELL_PX + GAP_PX), CELL_PX / SIZE[1]
    assert len(differs) > 0.8 * (16 * factor) ** 2
    for places in (differs[:, 0], column):
        assert places.min() >= 24 * factor - 2
        assert places.max() <= 40 * factor + 2


@pytest.mark.parametrize("separate", [False, True], ids=["merged", "separate"])
def test_workers_give_the_bytes_of_the_main_process_and_read_through_epochs(separate: bool) -> None:
    pictures = Squares(5)
    alone, helped = (loader(pictures, settings(workers, separate=separate)) for workers in (0, 2))
    expected = [content(alone.epoch(epoch)) for epoch in (1, 2)]

    first = content(helped.epoch(1))
    workers = set(torch.multiprocessing.active_children())
    second = content(helped.epoch(2))
    helped.close()

    assert_same(first, expected[0])
    assert_same(second, expected[1])
    assert len(workers) == 2
    # Mosaics end after the first epoch, whose pictures therefore show other objects.
    assert not any(torch.equal(a["images"], b["images"]) for a, b in zip(first, second, strict=True))  # type: ignore[arg-type]
    assert set(torch.multiprocessing.active_children()).isdisjoint(workers)


def test_a_resume_within_an_epoch_gives_the_batches_that_were_left() -> None:
    whole = loader(Squares(7), settings(0))
    expected = [content(whole.epoch(1)), content(whole.epoch(2))]

    resumed = loader(Squares(7), settings(0))

    assert_same(content(resumed.epoch(1, 3)), expected[0][3:])
    assert_same(content(resumed.epoch(2)), expected[1])
    assert_same(content(resumed.epoch(2, 1)), expected[1][1:])


def test_reading_leaves_the_random_numbers_of_the_training_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)

    content(loader(Squares(4), settings(0)).epoch(1))

    assert torch.equal(torch.rand(4), expected)


def test_multi_scale_changes_the_size_of_whole_batches() -> None:
    chosen = Train(epochs=1, workers=0, augmentation=Augmentation(multi_scale=0.5))
    batches = list(loader(Squares(24), chosen).epoch(1))
    sizes = {tuple(batch.images.shape[2:]) for batch in batches}

    assert len(sizes) > 1
    for batch in batches:
        height, width = batch.images.shape[2:]
        assert tuple(batch.label_maps.shape[1:]) == (height // 4, width // 4)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_raises_its_own_error_with_its_hint(workers: int) -> None:
    broken = loader(Squares(4, broken=2), settings(workers, STILL), batch=4)
    with pytest.raises(SourceError) as caught:
        list(broken.epoch(1))
    broken.close()

    assert (caught.value.message, caught.value.hint) == ("2.png: cut off", "copy it again")


def test_a_worker_that_is_killed_is_a_failed_training_with_a_hint() -> None:
    with pytest.raises(StageError, match="a process that reads pictures died") as caught:
        list(loader(Squares(4, deadly=2), settings(1, STILL), batch=4).epoch(1))

    assert caught.value.outcome == "train_failed"
    assert "train.workers" in caught.value.hint
