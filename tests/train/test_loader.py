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


def settings(workers: int, augmentation: Augmentation | None = None) -> Train:
    return Train(epochs=2, workers=workers, seed=5, augmentation=augmentation or Augmentation(close_mosaic=1))


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
    tensors = ("images", "label_maps", "picture_of", "number", "class_ids", "boxes")
    return [{"names": b.names, **{name: getattr(b, name).clone() for name in tensors}} for b in batches]


def assert_same(found: list[dict[str, object]], expected: list[dict[str, object]]) -> None:
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one["names"] == other["names"]
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


def test_workers_give_the_bytes_of_the_main_process_and_read_through_epochs() -> None:
    pictures = Squares(5)
    alone, helped = loader(pictures, settings(0)), loader(pictures, settings(2))
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
