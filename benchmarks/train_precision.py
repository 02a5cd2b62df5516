"""One training step of the network in fp32 and in bf16 on this CPU: forward and backward, without the loss.

    python benchmarks/train_precision.py [SIZE] [BATCH]

Says by how much `train.amp` is faster where the processor has bf16 instructions.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch

from edgeseg.model.config import network_config
from edgeseg.model.network import SegmentationNetwork
from edgeseg.train.precision import Precision, has_fast_bf16

TURNS = 5


def main() -> None:
    """Measure both by turns, print the medians and their ratio."""
    size, batch = (int(word) for word in (*sys.argv[1:3], *("320", "8")[len(sys.argv[1:3]) :]))
    network = SegmentationNetwork(network_config("n")).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    images = torch.rand(batch, 3, size, size).to(memory_format=torch.channels_last)
    seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for turn in range(TURNS + 1):
        for name, found in seconds.items():
            start = time.perf_counter()
            with Precision(name, "cpu").autocast():
                outputs = network(images)
            sum(output.float().mean() for output in outputs).backward()
            if turn:
                found.append(time.perf_counter() - start)
    median = {name: statistics.median(found) for name, found in seconds.items()}
    flags = "has" if has_fast_bf16() else "lacks"
    print(f"this CPU {flags} bf16 instructions; {batch} pictures of {size} px, {torch.get_num_threads()} threads:")
    print(
        f"fp32 {median['fp32']:.3f} s, bf16 {median['bf16']:.3f} s: {median['fp32'] / median['bf16']:.2f} times faster"
    )


if __name__ == "__main__":
    main()
