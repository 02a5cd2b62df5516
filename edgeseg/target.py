"""The contract of a target: everything that core knows about a format.

A target is a small object with class attributes and four methods. Importing and constructing one never
imports its SDK; opening an artifact may be costly. Post-processing sits above a runner, never inside it.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict

from edgeseg.errors import ContractError, UsageError
from edgeseg.metadata import ArtifactMetadata
from edgeseg.model.config import check_image_size
from edgeseg.quantised import Outputs
from edgeseg.tensors import INPUT_NAME, Array, TensorSpec, check_tensors

if TYPE_CHECKING:
    from typing_extensions import Self

    from edgeseg.probe import Probe


class Options(BaseModel):
    """Base of what a card may say under a target's `options`, and of what `--option` sets when running."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @classmethod
    def of(cls, options: Options) -> Self:
        """`options` as this type, which it is unless a target was handed another target's options."""
        if not isinstance(options, cls):
            raise TypeError(f"options of type {type(options).__name__}, expected {cls.__name__}")
        return options


@dataclass(frozen=True)
class Capabilities:
    """What a target can do, as data, so that core never asks for its name.

    Attributes:
        precisions: supported precisions, the default first.
        suffix: of the artifact, with its dot; empty where it is a folder without one.
        dynamic_shapes: whether batch and size may be left open.
        compile_hardware: hardware without which the artifact cannot be finished; empty for none.
        run_hardware: hardware or system without which it cannot run; empty for none.
        extra: the pip extra that installs the SDK; empty where that needs an environment of its own.
        calibrated: precisions whose export needs calibration pictures.
        folder: whether an artifact with a suffix is a folder too.
        environment: name of the target, of the same package, whose venv, image and `requirements.txt` serve this one
            too; empty where it has its own.
        portable: whether what `export` makes opens on any machine, where only `finish` needs the device: a build then
            verifies and validates it before it defers the rest.
        intermediate: whether `Target.probe` shows the tensors between an artifact's layers.
    """

    precisions: tuple[str, ...]
    suffix: str
    dynamic_shapes: bool = False
    compile_hardware: str = ""
    run_hardware: str = ""
    extra: str = ""
    calibrated: tuple[str, ...] = ()
    folder: bool = False
    environment: str = ""
    portable: bool = False
    intermediate: bool = False

    @property
    def is_file(self) -> bool:
        """Whether the artifact is one file."""
        return bool(self.suffix) and not self.folder


@dataclass(frozen=True)
class EnvReport:
    """Whether a target can work in this interpreter.

    Attributes:
        problems: what is missing, a sentence each; empty where all is there.
        remedy: a command or a step that mends it.
        versions: package name to version, of what is there.
        optional: names in `versions` without which the target works all the same, or elsewhere.
    """

    problems: tuple[str, ...] = ()
    remedy: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    optional: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """True where nothing is missing."""
        return not self.problems


@dataclass(frozen=True)
class ExportRequest:
    """What to export. Files and plain values only, so that a stage can run in another environment.

    Attributes:
        weights: the reference's safetensors file.
        output_dir: an existing folder; the artifact goes to ``output_dir / (stem + suffix)``.
        stem: file name without suffix.
        precision: one of the target's.
        image_size: (height, width) in pixels, multiples of 32.
        options: of the target's `options_type`.
        card_sha256: goes into the metadata; empty for a plain export.
        calibration: pictures that set the ranges of quantised tensors, at least
            `edgeseg.data.calibration.LEAST_PICTURES`; empty for precisions that need none.
    """

    weights: Path
    output_dir: Path
    stem: str
    precision: str
    image_size: tuple[int, int]
    options: Options
    card_sha256: str = ""
    calibration: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Artifact:
    """An exported file or folder and what it says about itself."""

    path: Path
    metadata: ArtifactMetadata


@dataclass(frozen=True)
class Findings:
    """Static findings about an artifact, made without running it.

    Attributes:
        facts: name to value, for the report: node counts, sizes, dtypes.
        problems: what is not as asked: wrong precision, lost names; empty where all is.
    """

    facts: Mapping[str, str | int | float]
    problems: tuple[str, ...] = ()


class Runner(abc.ABC):
    """An open artifact: named arrays in, named arrays out. A context manager.

    `run` checks names, shapes and dtypes, then calls `_run`, the one method that a target must write. One whose SDK
    runs on its own while Python goes on also writes `in_flight` and `_start`.
    """

    channels_last: ClassVar[bool] = False
    """Whether `predict` lays out the input with the channels last in memory, as a view of the declared shape: for a
    runtime that wants pixels, which then copies nothing. A runner takes either."""

    def __init__(self, metadata: ArtifactMetadata) -> None:
        self.metadata = metadata
        self._open = True

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""
        return self.metadata.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""
        return self.metadata.outputs

    @property
    def execution(self) -> Mapping[str, str]:
        """How it really runs (device, threads, execution precision), for reports."""
        return {}

    @property
    def in_flight(self) -> int:
        """How many runs `predict` and `val` keep under way at once by `start`; 1: each ends before the next begins."""
        return 1

    @property
    def device_ms(self) -> float | None:
        """Milliseconds that the last `run` took by the accelerator's own clock, without copies; None where the runtime
        does not count them."""
        return None

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run once.

        Args:
            arrays: one array per spec of `inputs`.

        Returns:
            One float32 array per spec of `outputs`, owned by the caller.

        Raises:
            ContractError: a name, shape or dtype is not as declared, or the runner is closed.
            UsageError: a height or width that the network's strides do not divide.
        """
        self._check(arrays)
        return self._run(arrays)

    def start(self, arrays: Mapping[str, Array]) -> Callable[[], Outputs]:
        """Begin a run; arguments and errors are those of `run`.

        Returns:
            To be called once, which waits for the run and gives what `run` gives; tensors that the artifact holds in
            integers may come as they are. Until then the arrays must not be changed, nor the runner closed.
        """
        self._check(arrays)
        return self._start(arrays)

    def _check(self, arrays: Mapping[str, Array]) -> None:
        if not self._open:
            raise ContractError("this runner is closed", hint="open the artifact again")
        check_tensors(self.inputs, arrays, "the inputs")
        height, width = arrays[INPUT_NAME].shape[2:]
        check_image_size((height, width))

    def close(self) -> None:
        """Free the runtime's memory; a second call does nothing."""
        if self._open:
            self._open = False
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abc.abstractmethod
    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Run on checked inputs."""

    def _start(self, arrays: Mapping[str, Array]) -> Callable[[], Outputs]:
        """Begin a run on checked inputs; by default it is made when it is waited for."""
        return functools.partial(self._run, arrays)

    def _close(self) -> None:  # noqa: B027 - most runners free everything with their last reference
        """Free what `__init__` took; the default has nothing to free."""


class Target(abc.ABC):
    """The code for one format.

    Class attributes:
        name: the format's name, equal to its folder and entry point.
        summary: one line for `edgeseg targets`.
        capabilities: what it can do.
        options_type: what a card may say under `options`.
        run_options_type: what `predict --option` may set.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    options_type: ClassVar[type[Options]]
    run_options_type: ClassVar[type[Options]]

    @abc.abstractmethod
    def check_env(self) -> EnvReport:
        """Look for the SDK without importing it, in milliseconds."""

    @abc.abstractmethod
    def recognizes(self, path: Path) -> bool:
        """Whether `path` holds this format, told from its bytes without the SDK."""

    @abc.abstractmethod
    def export(self, request: ExportRequest) -> Artifact:
        """Write the artifact, atomically, with its metadata."""

    @abc.abstractmethod
    def read_metadata(self, path: Path) -> ArtifactMetadata:
        """What the file says about itself; a foreign exporter's file is read as far as it tells."""

    def deferral(self) -> str:
        """Why an artifact can be neither finished nor run here: a sentence that names the hardware or system that is
        lacking; empty where it can. Told in milliseconds, without importing the SDK."""
        return ""

    def finish(self, artifact: Artifact, output_dir: Path) -> Artifact:
        """On the device: what `export` left to the artifact that runs there.

        Args:
            artifact: as it came out of `export`. Where it came in a bundle, its calibration pictures, letterboxed
                PNGs, lie in the folder ``calibration`` beside the artifact's own.
            output_dir: an existing folder for what is written.

        Returns:
            The finished artifact; `artifact` itself where `export` leaves nothing to do.

        Raises:
            EnvironmentMissingError: a tool that this needs is not here.
            StageError: the compiler refuses it.
        """
        return artifact

    @abc.abstractmethod
    def inspect(self, artifact: Artifact) -> Findings:
        """Static findings: precision as asked, names kept, node counts."""

    @abc.abstractmethod
    def open(self, artifact: Artifact, options: Options) -> Runner:
        """Load the artifact; `options` is of this target's `run_options_type`."""

    def probe(self, artifact: Artifact, options: Options) -> Probe:
        """Open the artifact so that the tensors between its layers can be read; where `capabilities.intermediate`.

        Args:
            artifact: as for `open`.
            options: of this target's `run_options_type`.

        Raises:
            EnvironmentMissingError: a package that this needs is not here.
            UsageError: this format shows none.
        """
        raise UsageError(f"{self.name}: shows no tensors between its layers")
