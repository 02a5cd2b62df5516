"""Which precision a device gets, and the types that the network then really computes in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edgeseg.train.precision import Precision, choose_precision, has_fast_bf16

PLAIN = "fpu sse sse2 avx2 avx512f"
MACHINES = {
    "amx": (f"flags\t\t: {PLAIN} amx_bf16 amx_tile", True),
    "avx512": (f"flags\t\t: {PLAIN} avx512_bf16", True),
    "older-intel": (f"flags\t\t: {PLAIN} amx_tile avx512_vnni", False),
    "longer-word": (f"flags\t\t: {PLAIN} avx512_bf16x not_amx_bf16", False),
    "only-in-virtual-machines": (f"flags\t\t: {PLAIN}\nvmx flags\t: amx_bf16", False),
    "in-the-name": (f"model name\t: amx_bf16\nflags\t\t: {PLAIN}", False),
    "arm": ("Features\t: fp asimd bf16", False),
    "nothing": ("", False),
}


@pytest.fixture(params=list(MACHINES.values()), ids=list(MACHINES))
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, bool]:
    text, fast = request.param
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text(f"processor\t: 0\n{text}\n\nprocessor\t: 1\n")
    return tmp_path, fast


def test_a_cpu_computes_in_bf16_where_it_has_instructions_for_it(machine: tuple[Path, bool]) -> None:
    root, fast = machine
    assert has_fast_bf16(root) is fast
    assert choose_precision("cpu", amp=True, root=root) == Precision("bf16" if fast else "fp32", "cpu")
    assert choose_precision("cpu", amp=False, root=root) == Precision("fp32", "cpu")


def test_a_system_without_proc_computes_in_fp32(tmp_path: Path) -> None:
    assert choose_precision("cpu", amp=True, root=tmp_path).name == "fp32"


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_without_amp_everything_is_fp32(device: str) -> None:
    assert choose_precision(device, amp=False) == Precision("fp32", device)


def test_mps_has_no_mixed_precision() -> None:
    assert choose_precision("mps", amp=True).name == "fp32"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_computes_in_bf16_from_ampere_on_and_in_fp16_before() -> None:
    ampere = torch.cuda.get_device_capability() >= (8, 0)
    assert choose_precision("cuda", amp=True).name == ("bf16" if ampere else "fp16")


@pytest.mark.parametrize(
    ("name", "computed", "scaled"),
    [("fp32", torch.float32, False), ("bf16", torch.bfloat16, False), ("fp16", torch.float16, True)],
)
def test_layers_compute_in_the_type_while_weights_and_gradients_stay_fp32(
    name: str, computed: torch.dtype, scaled: bool
) -> None:
    precision = Precision(name, "cpu")
    layer = nn.Conv2d(3, 4, 3)
    with precision.autocast():
        out = layer(torch.rand(1, 3, 8, 8))
    assert out.dtype == computed
    out.float().sum().backward()

    assert layer.weight.dtype == torch.float32
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32
    assert layer(torch.rand(1, 3, 8, 8)).dtype == torch.float32
    assert precision.scaler().is_enabled() is scaled


def test_the_loss_is_scaled_for_fp16_only() -> None:
    loss = torch.tensor(2.0)
    scaled = {name: float(Precision(name, "cpu").scaler().scale(loss)) for name in ("fp32", "bf16", "fp16")}
    # torch.amp.GradScaler starts at 2^16.
    assert scaled == {"fp32": 2.0, "bf16": 2.0, "fp16": 2.0 * 65536}
