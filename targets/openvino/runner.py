"""A compiled OpenVINO network behind the runner contract; also reads folders exported by the peer."""

from __future__ import annotations

import functools
import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgeseg.errors import ArtifactError, EnvironmentMissingError, UsageError, needs_extra
from edgeseg.files import make_folder, sha256_of
from edgeseg.foreign import from_peer_keys, read_peer_keys
from edgeseg.metadata import METADATA_KEY, ArtifactMetadata
from edgeseg.target import Artifact, Options, Runner
from edgeseg.tensors import INPUT_NAME, Array, TensorSpec

from .options import OpenVinoRunOptions
from .signal_stack import keeping_signal_stack

XML_FILE = "model.xml"
BIN_FILE = "model.bin"
PEER_FILE = "metadata.yaml"
WEIGHTS_KEY = "edgeseg_bin_sha256"
"""Key of the hash of `BIN_FILE`: the runtime itself takes any bytes of the right length for weights."""

PRECISION = "INFERENCE_PRECISION_HINT"
DTYPES = {"f32": "float32", "f16": "float16", "u8": "uint8"}
CONVOLUTIONS = ("Convolution", "Deconvolution")


class OpenVinoRunner(Runner):
    """One compiled network. Its infer requests are made as they are needed and kept: one for each run under way."""

    def __init__(self, artifact: Artifact, options: Options) -> None:
        super().__init__(artifact.metadata)
        options = OpenVinoRunOptions.of(options)
        model = load_model(artifact.path)
        self._names = [spec.name for spec in self.outputs]
        if (len(model.inputs), len(model.outputs)) != (1, len(self._names)):
            raise ArtifactError(
                f"{artifact.path}: {len(model.inputs)} inputs and {len(model.outputs)} outputs, "
                f"expected one and {self._names}",
                hint="export it again",
            )
        self._compiled: Any = compiled_network(model, options, artifact.path)
        new = import_openvino(f"running {artifact.path.name}").Tensor
        # An open dimension is written as its least: the runtime makes it what the run needs.
        self._make_outputs = [
            functools.partial(new, port.element_type, port.partial_shape.get_min_shape())
            for port in self._compiled.outputs
        ]
        self._free: deque[Any] = deque()
        self._mode = options.mode
        self._in_flight = options.requests or _suggested(self._compiled, options.mode)

    @property
    def in_flight(self) -> int:
        """As asked by `requests`; else 1 in the latency mode, and what the runtime suggests in the other."""
        return self._in_flight

    @property
    def execution(self) -> Mapping[str, str]:
        """Device, precision and threads as the compiled network reports them; of convolutions, what each runs in."""
        devices = _property(self._compiled, "EXECUTION_DEVICES")
        found = {
            "device": ", ".join(devices) if isinstance(devices, list) else str(devices or "unknown"),
            "precision": _precision(self._compiled) or "unknown",
            "threads": str(_property(self._compiled, "INFERENCE_NUM_THREADS") or "runtime's choice"),
            "mode": self._mode,
            "requests": str(self._in_flight),
        }
        types = _convolution_types(self._compiled)
        return found | ({"convolutions": types} if types else {})

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return self._start(arrays)()

    def _start(self, arrays: Mapping[str, Array]) -> Callable[[], dict[str, Array]]:
        request = self._taken()
        # Tensors of this run's own, which the runtime shapes and writes to: nothing is copied afterwards.
        tensors = [make() for make in self._make_outputs]
        for index, tensor in enumerate(tensors):
            request.set_output_tensor(index, tensor)
        # The request reads the caller's memory, so that is held until it has ended.
        held = [arrays[INPUT_NAME]]
        request.start_async(held, share_inputs=True)

        def wait() -> dict[str, Array]:
            request.wait()
            held.clear()
            self._free.append(request)
            return dict(zip(self._names, (tensor.data for tensor in tensors), strict=True))

        return wait

    def _taken(self) -> Any:
        """A request that nothing runs on; appending to `_free` gives it back. Threads may do both at once."""
        try:
            return self._free.pop()
        except IndexError:
            return self._compiled.create_infer_request()

    def _close(self) -> None:
        self._free.clear()
        self._compiled = None


def looks_like_openvino(path: Path) -> bool:
    """A folder with one XML file that describes a network, and its weights."""
    try:
        descriptions = list(path.glob("*.xml")) if path.is_dir() else []
        if len(descriptions) != 1 or not descriptions[0].with_suffix(".bin").is_file():
            return False
        with descriptions[0].open("rb") as file:
            return b"<net name=" in file.read(256)
    except OSError:
        return False


def read_metadata(path: Path) -> ArtifactMetadata:
    """Our metadata from the description; for a foreign folder what its `metadata.yaml` and tensors tell."""
    model = load_model(path)
    outputs = tuple(_spec(port) for port in model.outputs)
    text = _rt_text(model, METADATA_KEY)
    if text:
        metadata = ArtifactMetadata.from_json(text, str(path))
        found, wanted = [spec.name for spec in outputs], [spec.name for spec in metadata.outputs]
        if found != wanted:
            raise ArtifactError(f"{path}: gives {found}, expected {wanted}", hint="export it again")
        return metadata
    return from_peer_keys(
        read_peer_keys(path / PEER_FILE), tuple(_spec(port) for port in model.inputs), outputs, "openvino", str(path)
    )


def load_model(path: Path) -> Any:
    """The network of a folder, its weights checked against their hash.

    Raises:
        ArtifactError: the folder holds no whole network.
        EnvironmentMissingError: the runtime is not installed here.
    """
    if not looks_like_openvino(path):
        raise ArtifactError(
            f"{path}: no OpenVINO network, expected a folder with one .xml file and the .bin of the same name",
            hint="export it again",
        )
    (description,) = path.glob("*.xml")
    weights = description.with_suffix(".bin")
    core = import_openvino(f"running {path.name}").Core()
    # A mapped file that something overwrites in place would end the process.
    core.set_property({"ENABLE_MMAP": False})
    try:
        model = core.read_model(str(description))
    except RuntimeError as error:
        raise ArtifactError(f"{path}: OpenVINO cannot read it: {_last(error)}", hint="export it again") from error
    written = _rt_text(model, WEIGHTS_KEY)
    if written and sha256_of(weights) != written:
        raise ArtifactError(f"{path}: {weights.name} is not the one that was written here", hint="export it again")
    return model


def import_openvino(purpose: str) -> Any:
    """The SDK, without its telemetry.

    Raises:
        EnvironmentMissingError: it is not installed here.
    """
    # The SDK reports its import and its conversions to a server unless the package that sends is absent; a name
    # without a module counts as absent. Where the user's own program has it, that is left as it is.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise needs_extra("openvino", "openvino", purpose) from error
    return openvino


@keeping_signal_stack()
def compiled_network(model: Any, options: OpenVinoRunOptions, path: Path) -> Any:
    """A network compiled for the device that `options` name.

    Raises:
        EnvironmentMissingError: no such device, or one that computes in another precision.
        ArtifactError: it cannot be compiled.
    """
    core = import_openvino(f"running {path.name}").Core()
    here = core.available_devices
    # Several devices of a kind are listed as GPU.0, GPU.1.
    if options.device != "AUTO" and options.device not in {name.partition(".")[0] for name in here}:
        raise EnvironmentMissingError(
            f"OpenVINO sees no {options.device} here, only {', '.join(here)}",
            hint="install the device's driver, or run with --option device=" + here[0],
        )
    settings: dict[str, Any] = {PRECISION: options.hint, "PERFORMANCE_HINT": options.mode.upper()}
    if options.threads is not None:
        if options.device != "CPU":
            raise UsageError(f"threads={options.threads} with device={options.device}", hint="threads are of the CPU")
        settings["INFERENCE_NUM_THREADS"] = options.threads
    if options.requests is not None:
        settings["PERFORMANCE_HINT_NUM_REQUESTS"] = options.requests
    if options.cache is not None:
        settings["CACHE_DIR"] = str(make_folder(Path(options.cache)))
    try:
        compiled = core.compile_model(model, options.device, settings)
    except RuntimeError as error:
        raise ArtifactError(
            f"{path}: OpenVINO cannot compile it for {options.device} with hint={options.hint}: {_last(error)}",
            hint="supported by the device: " + ", ".join(_property(core, "OPTIMIZATION_CAPABILITIES", options.device)),
        ) from error
    runs = _precision(compiled)
    if runs and runs != options.hint:
        # The runtime takes a near precision without a word.
        raise EnvironmentMissingError(
            f"{options.device} here cannot compute in {options.hint}, it would in {runs}",
            hint=f"run with --option hint={runs}",
        )
    return compiled


def _suggested(compiled: Any, mode: str) -> int:
    """Runs to keep under way where nobody said how many."""
    return int(_property(compiled, "OPTIMAL_NUMBER_OF_INFER_REQUESTS") or 1) if mode == "throughput" else 1


def _precision(compiled: Any) -> str:
    """Of what is not quantised, such as f32; empty where the device does not tell."""
    found = _property(compiled, PRECISION)
    return str(found.get_type_name()) if hasattr(found, "get_type_name") else ""


def _property(owner: Any, name: str, *device: str) -> Any:
    """A property of a compiled network, or of a device; empty where it has none of that name."""
    try:
        return owner.get_property(*device, name)
    except RuntimeError:
        return ""


def _convolution_types(compiled: Any) -> str:
    """Of the graph that really runs: how many convolutions compute in which type, such as ``u8 70, f32 2``."""
    try:
        operations = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ops()]
    except RuntimeError:
        return ""
    counts = Counter(
        info["runtimePrecision"].astype(str)
        for info in operations
        if "layerType" in info and info["layerType"].astype(str) in CONVOLUTIONS
    )
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def _spec(port: Any) -> TensorSpec:
    shape = tuple(
        axis.get_length() if axis.is_static else f"axis{index}" for index, axis in enumerate(port.partial_shape)
    )
    dtype = port.element_type.get_type_name()
    return TensorSpec(port.any_name if port.names else "", shape, DTYPES.get(dtype, dtype))


def _rt_text(model: Any, key: str) -> str:
    return str(model.get_rt_info(key).value) if model.has_rt_info(key) else ""


def _last(error: Exception) -> str:
    """The SDK's own sentence; the lines above it are places in its source."""
    return str(error).strip().splitlines()[-1]
