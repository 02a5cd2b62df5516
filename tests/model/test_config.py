"""The table of sizes against the rule that made it: published base widths times width, capped, depths rounded."""

from __future__ import annotations

import pytest

from edgeseg.errors import UsageError
from edgeseg.model.config import SCALES, check_image_size, network_config, scale_of

# depth, width, largest channel count (facts.md, section 1)
RULES = {
    "n": (0.33, 0.25, 1024),
    "s": (0.33, 0.50, 1024),
    "m": (0.67, 0.75, 768),
    "l": (1.00, 1.00, 512),
    "x": (1.00, 1.25, 512),
}
BASE_CHANNELS = (64, 128, 256, 512, 1024)


@pytest.mark.parametrize("scale", SCALES)
def test_network_config_follows_the_published_scaling_rule(scale: str) -> None:
    depth, width, largest = RULES[scale]

    config = network_config(scale)

    assert config.channels == tuple(int(min(base, largest) * width) for base in BASE_CHANNELS)
    assert (config.outer_repeats, config.inner_repeats) == (max(round(3 * depth), 1), max(round(6 * depth), 1))
    assert config.num_classes == 80


@pytest.mark.parametrize("scale", SCALES)
def test_scale_of_tells_a_scale_from_two_of_its_sizes(scale: str) -> None:
    config = network_config(scale)

    assert scale_of(config.channels[0], config.inner_repeats) == scale


@pytest.mark.parametrize("sizes", [(16, 6), (17, 2), (0, 0), (64, 2)], ids=str)
def test_scale_of_is_none_for_sizes_of_no_scale(sizes: tuple[int, int]) -> None:
    assert scale_of(*sizes) is None


@pytest.mark.parametrize("scale", ["N", "", "xl", "yolov8n"])
def test_network_config_refuses_an_unknown_scale_with_the_list(scale: str) -> None:
    with pytest.raises(UsageError, match=r"n, s, m, l, x") as caught:
        network_config(scale)
    assert repr(scale) in caught.value.message


@pytest.mark.parametrize("classes", [0, -1])
def test_network_config_refuses_no_classes(classes: int) -> None:
    with pytest.raises(UsageError, match="at least one class"):
        network_config("n", classes)


def test_hidden_sizes_do_not_depend_on_the_class_count() -> None:
    # Weights of one class list must fit the network of another.
    assert network_config("n", 1).cls_hidden == network_config("n", 300).cls_hidden == 80


@pytest.mark.parametrize("size", [(32, 32), (640, 640), (32, 4096), (384, 672)], ids=str)
def test_check_image_size_returns_multiples_of_32(size: tuple[int, int]) -> None:
    assert check_image_size(size) == size


@pytest.mark.parametrize(
    ("size", "nearest"),
    [((640, 650), "640 640"), ((1, 640), "32 640"), ((0, 0), "32 32"), ((-32, 95), "32 96"), ((100, 31), "96 32")],
    ids=str,
)
def test_check_image_size_refuses_others_and_names_the_nearest(size: tuple[int, int], nearest: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_image_size(size)
    assert caught.value.hint.endswith(nearest)
