"""The network to a full-integer `.tflite` file that the Edge TPU compiler of 2021 reads."""

from __future__ import annotations

from edgeseg.data.calibration import calibration_inputs, require_pictures
from edgeseg.files import write_atomically
from edgeseg.model.describe import describe
from edgeseg.model.reference import load_network
from edgeseg.target import Artifact, ExportRequest

from ..tflite.convert import converted
from ..tflite.export import QUANTISERS, TOOLS, packed
from ..tflite.quantise import with_ranges
from ..tflite.ranges import ranges_of
from ..tflite.rewrite import dumped, loaded, unsign_edges
from .era import of_its_time
from .options import EdgeTpuOptions

FORMAT = "edgetpu"


def export(request: ExportRequest) -> Artifact:
    """Write ``output_dir/stem.tflite``, which `finish` compiles.

    Raises:
        UsageError: too few calibration pictures.
        StageError: the converter gives what the compiler would not read.
        OutputError: it cannot be written whole.
    """
    options = EdgeTpuOptions.of(request.options)
    require_pictures(request.calibration, f"{FORMAT} {request.precision}")
    network, weights = load_network(request.weights)
    metadata = describe(request, weights, file_format=FORMAT, head="raw", tools=(*TOOLS, *QUANTISERS))
    data = converted(network, 1, request.image_size)
    ranges = ranges_of(data, calibration_inputs(request.calibration, request.image_size), options.ranges)
    model = loaded(with_ranges(data, request.precision, ranges))
    if options.edges == "uint8":
        unsign_edges(model)
    of_its_time(model)
    path = request.output_dir / f"{request.stem}.tflite"
    write_atomically(path, packed(dumped(model), metadata))
    return Artifact(path, metadata)
