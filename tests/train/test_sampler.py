"""The order of training pictures: all of them, dealt out evenly, from any step on."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from edgeseg.train.sampler import BatchKeys, BatchOrder, InputSizes, Key

SQUARE = InputSizes((640, 640), 0.0, seed=0)


def keys(order: BatchOrder, epochs: int = 1, start: tuple[int, int] = (1, 0)) -> list[list[Key]]:
    sizes = InputSizes((256, 384), 0.5, seed=order.seed)
    return list(BatchKeys(order, sizes, epochs, close_mosaic=1, start=start))


def test_an_epoch_has_every_picture_once_when_batches_divide_it() -> None:
    batches = keys(BatchOrder(24, 4, seed=3))

    assert len(batches) == 6
    assert sorted(key.picture for batch in batches for key in batch) == list(range(24))


def test_the_last_batch_goes_on_from_the_start_of_the_permutation() -> None:
    order = BatchOrder(10, 4, seed=3)
    batches = keys(order)
    permutation = order.permutation(1).tolist()

    assert [key.picture for key in batches[-1]] == permutation[8:] + permutation[:2]
    assert [key.position for key in batches[-1]] == [8, 9, 10, 11]


@pytest.mark.parametrize("count", [16, 19, 3, 33], ids=lambda count: f"{count}-pictures")
@pytest.mark.parametrize("processes", [2, 3, 4])
def test_several_processes_get_the_parts_of_one_processs_batches(count: int, processes: int) -> None:
    whole = keys(BatchOrder(count, 4 * processes, seed=5), epochs=2)
    parts = [keys(BatchOrder(count, 4, 5, processes, rank), epochs=2) for rank in range(processes)]

    assert all(len(part) == len(whole) for part in parts)
    for step, batch in enumerate(whole):
        assert [key for part in parts for key in part[step]] == batch


@pytest.mark.parametrize("start", [(1, 0), (1, 3), (2, 0), (3, 4)], ids=str)
def test_a_resume_gives_the_keys_of_the_uninterrupted_run(start: tuple[int, int]) -> None:
    order = BatchOrder(19, 2, 7, 2, 1)
    skipped = (start[0] - 1) * order.steps_per_epoch + start[1]

    resumed = BatchKeys(order, SQUARE, 3, 1, start)
    whole = list(BatchKeys(order, SQUARE, 3, 1))

    assert list(resumed) == whole[skipped:]
    assert len(resumed) == len(whole) - skipped > 0


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [BatchOrder(50, 5, seed).permutation(epoch).tolist() for seed in (0, 1) for epoch in (1, 2)]

    assert len({tuple(order) for order in orders}) == 4
    assert orders[0] == BatchOrder(50, 5, 0).permutation(1).tolist()


def test_no_two_pictures_of_an_epoch_share_a_seed() -> None:
    parts = [keys(BatchOrder(7, 4, 0, 2, rank)) for rank in (0, 1)]
    positions = [key.position for part in parts for batch in part for key in batch]

    assert len(set(positions)) == len(positions) == 8


def test_order_and_augmentation_draw_from_different_streams() -> None:
    first = np.random.default_rng([0, 1, 0]).permutation(50)

    assert BatchOrder(50, 5, 0).permutation(1).tolist() != first.tolist()


def test_sizes_are_multiples_of_32_within_the_range_and_vary() -> None:
    sizes = InputSizes((256, 384), 0.5, seed=1)
    drawn = {sizes.at(epoch, step) for epoch in range(1, 5) for step in range(50)}

    assert len(drawn) > 5
    for height, width in drawn:
        assert height % 32 == width % 32 == 0
        assert 128 <= height <= 384
        assert 192 <= width <= 576
        assert abs(height / 256 - width / 384) <= 16 / 256 + 16 / 384


def test_sizes_stay_when_multi_scale_is_off() -> None:
    assert {key[3:5] for batch in islice(BatchKeys(BatchOrder(9, 2, 0), SQUARE, 1, 0), 5) for key in batch} == {
        (640, 640)
    }


def test_the_smallest_size_is_one_cell_of_the_coarsest_level() -> None:
    assert min(InputSizes((32, 32), 0.99, seed=0).at(1, step) for step in range(50)) == (32, 32)


def test_mosaic_is_off_in_the_last_epochs() -> None:
    allowed = {key.epoch: key.mosaic for batch in BatchKeys(BatchOrder(4, 2, 0), SQUARE, 5, 2) for key in batch}

    assert allowed == {1: True, 2: True, 3: True, 4: False, 5: False}
