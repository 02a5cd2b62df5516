"""The network to a float32 `.tflite` file: traced by torch, converted by LiteRT Torch, named after the contract."""

from __future__ import annotations

import contextlib
import io
import warnings

import torch

from edgeseg.model.graph import OUTPUT_NAMES, ExportGraph
from edgeseg.model.network import SegmentationNetwork

from .native_output import to_log
from .rewrite import dumped, loaded, name_ends


def converted(network: SegmentationNetwork, batch: int, image_size: tuple[int, int]) -> bytes:
    """The flatbuffer, with pictures and maps channels-last at its ends; the same arguments give the same bytes.

    Args:
        network: fused.
        batch: pictures per run.
        image_size: (height, width) in pixels.
    """
    names = OUTPUT_NAMES["raw"]
    # The converter writes its progress to stdout, which belongs to the caller, and warns about packages that only
    # its language models need.
    with to_log(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import litert_torch

        module = litert_torch.to_channel_last_io(
            ExportGraph(network, "raw").eval(), args=[0], outputs=list(range(len(names)))
        )
        found = litert_torch.convert(module.eval(), (torch.zeros(batch, *image_size, 3),))
        model = loaded(found.model_content())
    name_ends(model, names)
    return dumped(model)
