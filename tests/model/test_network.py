"""The network against published counts, its declared shapes, and itself with folded normalisation."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from edgeseg.model.blocks import C2f, ConvBlock, Halves
from edgeseg.model.config import SCALES, NetworkConfig, network_config
from edgeseg.model.fuse import fused
from edgeseg.model.network import SegmentationNetwork
from edgeseg.model.reference import expected_shapes
from edgeseg.tensors import RAW_OUTPUT_NAMES, raw_output_specs

# Published with the 16 fixed bins of the box distribution, which our head does not carry.
FIXED_BINS = 16
PUBLISHED_UNFUSED = {"n": 3_409_968, "s": 11_821_056, "m": 27_285_968, "l": 45_997_728, "x": 71_827_888}
PUBLISHED_FUSED = {"n": 3_404_320, "s": 11_810_560, "m": 27_268_704, "l": 45_973_568, "x": 71_797_696}


def perturbed(network: SegmentationNetwork, seed: int = 0) -> SegmentationNetwork:
    """The same network with normalisations that do something: fresh ones are all but the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.5, generator=generator)
            module.running_mean.normal_(0, 0.5, generator=generator)
            module.running_var.uniform_(0.2, 2.0, generator=generator)
    return network


@pytest.fixture(scope="module")
def nano() -> SegmentationNetwork:
    torch.manual_seed(0)
    return perturbed(SegmentationNetwork(network_config("n", 3))).eval()


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("scale", SCALES)
def test_parameter_counts_equal_the_published_ones_unfused_and_fused(scale: str) -> None:
    with torch.device("meta"):
        network = SegmentationNetwork(network_config(scale))
        folded = fused(network)

    assert _count(network) + FIXED_BINS == PUBLISHED_UNFUSED[scale]
    assert _count(folded) + FIXED_BINS == PUBLISHED_FUSED[scale]


@pytest.mark.parametrize("scale", SCALES)
def test_expected_shapes_hold_every_parameter_and_two_statistics_for_each_normalisation(scale: str) -> None:
    config = network_config(scale)
    with torch.device("meta"):
        norms = [m for m in SegmentationNetwork(config).modules() if isinstance(m, nn.BatchNorm2d)]
    statistics = sum(2 * norm.num_features for norm in norms)

    total = sum(torch.Size(shape).numel() for shape in expected_shapes(config).values())

    assert total + FIXED_BINS == PUBLISHED_UNFUSED[scale] + statistics


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (160, 32)], ids=str)
@pytest.mark.parametrize("classes", [1, 3, 80, 300])
def test_outputs_have_the_names_and_shapes_of_the_contract(size: tuple[int, int], classes: int) -> None:
    with torch.device("meta"):
        outputs = SegmentationNetwork(network_config("n", classes)).eval()(torch.empty(2, 3, *size))

    specs = raw_output_specs(classes, size, 2)
    assert tuple(spec.name for spec in specs) == RAW_OUTPUT_NAMES
    assert [tuple(output.shape) for output in outputs] == [spec.shape for spec in specs]


def test_outputs_at_640_are_8400_points_and_prototypes_of_160_cells() -> None:
    with torch.device("meta"):
        *points, prototypes = SegmentationNetwork(network_config("n"))(torch.empty(1, 3, 640, 640))

    assert sum(output.shape[2] * output.shape[3] for output in points[::3]) == 8400
    assert tuple(prototypes.shape) == (1, 32, 160, 160)


@torch.inference_mode()
def test_fused_network_equals_the_unfused_one_with_strong_normalisations(nano: SegmentationNetwork) -> None:
    images = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(1))

    for want, have in zip(nano(images), fused(nano)(images), strict=True):
        scale = max(1.0, float(want.abs().max()))
        assert float((want - have).abs().max()) < 1e-4 * scale
        assert float(want.std()) > 1e-3, "a dead output would equal anything"


def test_fused_network_has_no_normalisation_left_and_is_in_evaluation_mode() -> None:
    folded = fused(SegmentationNetwork(network_config("n", 1)).train())

    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert not any(module.training for module in folded.modules())


@torch.inference_mode()
def test_halves_of_a_fused_network_are_the_whole(nano: SegmentationNetwork) -> None:
    blocks = [(name, module) for name, module in nano.named_modules() if isinstance(module, C2f)]
    folded = fused(nano)

    assert len(blocks) == 8
    for name, block in blocks:
        halves = folded.get_submodule(f"{name}.cv1")
        assert isinstance(halves, Halves) and isinstance(block.cv1, ConvBlock)
        assert block.cv1.conv.bias is None
        images = torch.rand(1, block.cv1.conv.in_channels, 8, 8)
        whole = torch.cat([half.conv(images) for half in (halves.first, halves.second)], dim=1)
        assert torch.allclose(whole, block.cv1.bn(block.cv1.conv(images)), atol=1e-5)
        for half in (halves.first, halves.second):
            assert half.conv.out_channels == half.conv.weight.shape[0] == block.cv1.conv.out_channels // 2
    whole_network = fused(nano, halves=False)
    assert not any(isinstance(module, Halves) for module in whole_network.modules())
    images = torch.rand(1, 3, 64, 64)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(folded(images), whole_network(images), strict=True))


def test_fused_leaves_the_original_as_it_was() -> None:
    network = perturbed(SegmentationNetwork(network_config("n", 1))).train()
    before = copy.deepcopy(network.state_dict())

    folded = fused(network)
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()

    assert network.training
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_fused_of_a_fused_network_changes_nothing(nano: SegmentationNetwork) -> None:
    once = fused(nano)
    twice = fused(once)

    assert all(torch.equal(a, b) for a, b in zip(once.parameters(), twice.parameters(), strict=True))


@pytest.mark.parametrize("scale", ["n", "m"])
def test_gradient_of_all_outputs_reaches_every_parameter(scale: str) -> None:
    torch.manual_seed(0)
    network = SegmentationNetwork(_narrow(network_config(scale, 2))).train()
    total: Tensor = torch.stack([out.square().mean() for out in network(torch.rand(2, 3, 64, 64))]).sum()
    total.backward()  # type: ignore[no-untyped-call]

    untouched = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert untouched == []


def test_each_output_takes_its_gradient_from_its_own_branch_only() -> None:
    network = SegmentationNetwork(_narrow(network_config("n", 2))).train()
    branches = [f"{kind}.{level}." for level in range(3) for kind in ("box", "cls", "coef")] + ["proto."]

    for output, own in zip(network(torch.rand(2, 3, 64, 64)), branches, strict=True):
        network.zero_grad()
        output.square().mean().backward(retain_graph=True)
        reached = {n for n, p in network.head.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        assert reached
        assert all(name.startswith(own) for name in reached)


def test_a_point_sees_only_its_own_picture_of_a_batch(nano: SegmentationNetwork) -> None:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        together, alone = nano(images), nano(images[:1])

    for both, one in zip(together, alone, strict=True):
        torch.testing.assert_close(both[:1], one, atol=1e-5, rtol=1e-4)


def _narrow(config: NetworkConfig) -> NetworkConfig:
    """The same depths with few channels: as good for a gradient, ten times as fast."""
    return replace(config, channels=(4, 8, 8, 12, 16), box_hidden=8, cls_hidden=8, coef_hidden=8, proto_hidden=8)
