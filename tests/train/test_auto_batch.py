"""`batch: auto` against counts done by hand."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from edgeseg.card.train import Train
from edgeseg.errors import StageError, UsageError
from edgeseg.train.auto_batch import free_bytes, largest_batch

CPU = torch.device("cpu")
SIZE = (1024, 2048)
# The convolution keeps its input of 3 channels, SiLU its input of 8; a step takes 1.5 times what is kept.
PER_PICTURE = (3 + 8) * SIZE[0] * SIZE[1] * 4 * 1.5


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU())


@pytest.mark.parametrize(("pictures", "batch"), [(1.4, 1), (3, 2), (6, 4), (11, 8)], ids=str)
def test_the_batch_is_the_power_of_two_that_fits(pictures: float, batch: int) -> None:
    share = pictures * PER_PICTURE / free_bytes(CPU)

    assert largest_batch(network(), SIZE, CPU, share=share) == batch


def test_the_batch_has_an_upper_limit() -> None:
    assert largest_batch(network(), (64, 64), CPU, share=0.5, most=24) == 16
    assert largest_batch(network(), (64, 64), CPU, share=0.5) == 64


def test_mixed_precision_keeps_less() -> None:
    share = 3 * PER_PICTURE / free_bytes(CPU)
    mixed = largest_batch(network(), SIZE, CPU, share=share, autocast=lambda: torch.autocast("cpu", torch.bfloat16))

    assert mixed == 4


def test_the_network_is_left_as_it_is() -> None:
    given = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).eval()
    before = {name: value.clone() for name, value in given.state_dict().items()}

    largest_batch(given, (64, 64), CPU)

    assert not given.training
    assert all(parameter.grad is None for parameter in given.parameters())
    for name, value in given.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_too_little_memory_for_one_picture_says_how_much_it_needs() -> None:
    with pytest.raises(StageError, match="one picture of 1024 x 2048 needs") as caught:
        largest_batch(network(), SIZE, CPU, share=1e-6)

    assert caught.value.outcome == "train_failed"
    assert "model.image_size" in caught.value.hint


def test_a_device_that_does_not_tell_its_free_memory_is_refused() -> None:
    with pytest.raises(UsageError, match="does not tell the free memory of mps"):
        free_bytes(torch.device("mps"))


@pytest.mark.parametrize("value", [1, 16, "auto"])
def test_a_card_takes_a_number_or_auto(value: object) -> None:
    assert Train.model_validate({"batch": value}).batch == value


@pytest.mark.parametrize("value", [0, 4097, 2.0, True, "big", "16", None])
def test_a_card_refuses_any_other_batch(value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        Train.model_validate({"batch": value})

    assert caught.value.error_count() == 1
