"""Where a training starts: fresh weights, a checkpoint, a detector's, or another class list's."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgeseg.errors import UsageError
from edgeseg.model.config import NetworkConfig, network_config
from edgeseg.model.network import SegmentationNetwork
from edgeseg.model.weights import FLAT_NAMES, Weights
from edgeseg.tensors import STRIDES

logger = logging.getLogger(__name__)

OBJECTS_EXPECTED = 5
"""In a picture, per level: sets how likely a point is an object's before anything is learned. Without such a prior
the loss of all the empty points drowns the rest at first (RetinaNet, arXiv 1708.02002, section 3.3)."""

_CLASS_BRANCH = "head.cls."

_SIZES_OF_CLASSES = {"num_classes", "cls_hidden"}
"""What may differ between weights and network: the class list, and with it the width of a foreign class branch."""


def fresh_network(scale: str, num_classes: int, image_size: tuple[int, int]) -> SegmentationNetwork:
    """A network with random weights from torch's generator.

    Args:
        scale: n, s, m, l or x.
        num_classes: of the head.
        image_size: (height, width) px that it will be trained at.
    """
    network = SegmentationNetwork(network_config(scale, num_classes))
    for stride, last in zip(STRIDES, _last_layers(network.head.cls), strict=True):
        points = image_size[0] * image_size[1] / stride**2
        # A small picture has fewer points on its coarsest level than objects are expected.
        probability = min(OBJECTS_EXPECTED / points, 0.5) / num_classes
        nn.init.constant_(last.get_parameter("bias"), math.log(probability / (1 - probability)))
    for last in _last_layers(network.head.box):
        # All bins alike at first: every side is expected in the middle, 7.5 cells away.
        nn.init.zeros_(last.get_parameter("bias"))
    return network


def start_network(
    scale: str, names: Sequence[str], image_size: tuple[int, int], weights: Weights | None
) -> SegmentationNetwork:
    """The network to train.

    Args:
        scale: of the card.
        names: class names of the card, by id.
        image_size: (height, width) px.
        weights: what to start from; None for fresh weights.

    Raises:
        UsageError: weights of another scale, or of other sizes than the published ones.
    """
    network = fresh_network(scale, len(names), image_size)
    if weights is None:
        return network
    _check_sizes(scale, network.config, weights)
    own = network.state_dict()
    taken = {name: torch.from_numpy(array) for name, array in weights.tensors.items()}
    if weights.config.cls_hidden != network.config.cls_hidden:
        # A foreign checkpoint of few classes has one. None of it is taken: a bias alone would tell of classes that
        # the fresh layers before it do not know.
        logger.warning(
            "the weights' class branch is %d channels wide, this network's %d: all of it starts fresh",
            weights.config.cls_hidden,
            network.config.cls_hidden,
        )
        taken = {name: tensor for name, tensor in taken.items() if not name.startswith(_CLASS_BRANCH)}
    elif tuple(names) != weights.metadata.names:
        for name in filter(_is_class_layer, taken):
            taken[name] = _by_name(own[name], taken[name], names, weights.metadata.names)
        _tell(names, weights)
    # Not strict: a detector lacks the mask branches, and no weights count the batches of their normalisations.
    network.load_state_dict(taken, strict=False)
    if weights.metadata.missing:
        logger.info("the weights are a detector's: mask coefficients and prototypes start fresh")
    return network


def freeze(network: SegmentationNetwork, count: int) -> None:
    """Take the leading `count` modules out of training, in the published numbering (22 is all but the head)."""
    for prefix in _frozen_prefixes(count):
        module = network.get_submodule(prefix)
        module.requires_grad_(requires_grad=False)


def train_mode(network: SegmentationNetwork, count: int) -> None:
    """Training mode, but for the frozen modules: their running statistics must not move either."""
    network.train()
    for prefix in _frozen_prefixes(count):
        network.get_submodule(prefix).eval()


def _frozen_prefixes(count: int) -> list[str]:
    return [path for number, path in FLAT_NAMES.items() if "." not in number and int(number) < count]


def _last_layers(branches: nn.ModuleList) -> list[nn.Module]:
    return [list(branch.children())[-1] for branch in branches]


def _check_sizes(scale: str, config: NetworkConfig, weights: Weights) -> None:
    """Refuse weights of which more differs than the class branch."""
    found = weights.metadata.scale
    if found != scale:
        raise UsageError(
            f"weights of {f'scale {found!r}' if found else 'no published scale'} cannot start a training of scale "
            f"{scale!r}",
            hint=f"--set model.scale={found}, or give other weights" if found else f"give weights of scale {scale!r}",
        )
    sizes, expected = vars(weights.config), vars(config)
    other = [
        f"{name} {sizes[name]}, expected {expected[name]}"
        for name in sizes.keys() - _SIZES_OF_CLASSES
        if sizes[name] != expected[name]
    ]
    if other:
        raise UsageError(
            f"weights that say scale {scale!r} have other sizes: {'; '.join(sorted(other))}",
            hint=f"give weights of the published scale {scale!r}",
        )


def _is_class_layer(name: str) -> bool:
    return name.startswith(_CLASS_BRANCH) and name.split(".")[3] == "2"


def _by_name(own: Tensor, found: Tensor, names: Sequence[str], found_names: Sequence[str]) -> Tensor:
    """A class layer whose rows of classes that both lists have come from `found`; the others are fresh."""
    rows = own.clone()
    for index, name in enumerate(names):
        if name in found_names:
            rows[index] = found[found_names.index(name)]
    return rows


def _tell(names: Sequence[str], weights: Weights) -> None:
    known = [name for name in names if name in weights.metadata.names]
    if len(known) < len(names):
        logger.info(
            "%d of %d classes start from the weights' %d classes; the rows of the others start fresh",
            len(known),
            len(names),
            len(weights.metadata.names),
        )
