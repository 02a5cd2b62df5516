"""The metadata of a fresh export: what every target's artifact says about itself."""

from __future__ import annotations

from importlib.metadata import version

from edgeseg.files import sha256_of
from edgeseg.metadata import ArtifactMetadata, Head
from edgeseg.model.weights import Weights
from edgeseg.target import ExportRequest
from edgeseg.tensors import Dimension, decoded_output_specs, input_spec, raw_output_specs


def describe(  # noqa: PLR0913 - what differs between targets
    request: ExportRequest,
    weights: Weights,
    *,
    file_format: str,
    head: Head,
    tools: tuple[str, ...],
    dynamic: tuple[str, ...] = (),
    batch: int = 1,
) -> ArtifactMetadata:
    """Metadata for an artifact that is about to be written.

    Args:
        request: what was asked.
        weights: what it is made from.
        file_format: the target's name.
        head: layout of the outputs.
        tools: packages whose versions made it.
        dynamic: which of ``batch`` and ``size`` stay open.
        batch: pictures per run where the batch is fixed.
    """
    batches: Dimension = "batch" if "batch" in dynamic else batch
    size: tuple[Dimension, Dimension] = ("height", "width") if "size" in dynamic else request.image_size
    specs = raw_output_specs if head == "raw" else decoded_output_specs
    return ArtifactMetadata(
        format=file_format,
        precision=request.precision,
        head=head,
        names=weights.metadata.names,
        image_size=request.image_size,
        dynamic=dynamic,
        batch=batch,
        inputs=(input_spec(size, batches),),
        outputs=specs(weights.config.num_classes, size, batches),
        name=request.stem,
        scale=weights.metadata.scale,
        license=weights.metadata.license,
        weights_sha256=sha256_of(request.weights),
        card_sha256=request.card_sha256,
        data=weights.metadata.data,
        images=weights.metadata.images,
        options=request.options.model_dump(),
        tool_versions={name: version(name) for name in tools},
    )
