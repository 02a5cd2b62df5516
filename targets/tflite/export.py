"""The network to TensorFlow Lite: converted, brought to the precision, written atomically."""

from __future__ import annotations

from collections.abc import Mapping

from edgeseg.data.calibration import calibration_inputs, require_pictures
from edgeseg.files import write_atomically
from edgeseg.metadata import METADATA_KEY, ArtifactMetadata
from edgeseg.model.describe import describe
from edgeseg.model.reference import load_network
from edgeseg.target import Artifact, ExportRequest

from .container import with_files
from .convert import converted
from .options import CALIBRATED, RangeMethod, TfliteOptions
from .ranges import ranges_of
from .rewrite import dumped, loaded, set_metadata, unsign_edges

TOOLS = ("torch", "litert-torch", "litert-converter")
QUANTISERS = ("ai-edge-quantizer", "ai-edge-litert")

RANGES: Mapping[str, RangeMethod] = {"int8": "mean_minmax", "w8a16": "minmax"}
"""Where nobody asked: with 65,536 steps nothing is won by cutting ends off."""


def export(request: ExportRequest) -> Artifact:
    """Write ``output_dir/stem.tflite``.

    Raises:
        UsageError: an option of another precision; too few calibration pictures.
        OutputError: it cannot be written whole.
    """
    options = TfliteOptions.of(request.options)
    options.require_fitting(request.precision)
    if request.precision in CALIBRATED:
        require_pictures(request.calibration, f"tflite {request.precision}")
    network, weights = load_network(request.weights)
    metadata = describe(
        request,
        weights,
        file_format="tflite",
        head="raw",
        tools=TOOLS if request.precision == "fp32" else (*TOOLS, *QUANTISERS),
        batch=options.batch,
    )
    data = converted(network, options.batch, request.image_size)
    if request.precision != "fp32":
        data = _narrowed(data, request, options)
    path = request.output_dir / f"{request.stem}.tflite"
    write_atomically(path, packed(data, metadata, unsigned=options.edges == "uint8"))
    return Artifact(path, metadata)


def packed(data: bytes, metadata: ArtifactMetadata, *, unsigned: bool = False) -> bytes:
    """A file as it is written.

    Args:
        data: a flatbuffer.
        metadata: to go inside.
        unsigned: whether its int8 inputs and outputs become uint8.
    """
    model = loaded(data)
    if unsigned:
        unsign_edges(model)
    model.description = b"edgeseg"
    set_metadata(model, METADATA_KEY, metadata.to_json())
    return with_files(dumped(model), metadata.names)


def _narrowed(data: bytes, request: ExportRequest, options: TfliteOptions) -> bytes:
    from .quantise import with_half_weights, with_ranges

    if request.precision == "fp16":
        return with_half_weights(data)
    inputs = calibration_inputs(request.calibration, request.image_size)
    ranges = ranges_of(data, inputs, options.ranges or RANGES[request.precision])
    return with_ranges(data, request.precision, ranges)
