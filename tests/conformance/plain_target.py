"""A target for a format of our own, "plain": a zip of the weights and of what the file says about itself."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from edgeseg.environment import report_packages
from edgeseg.errors import ArtifactError, needs_extra
from edgeseg.files import replacing, sha256_of
from edgeseg.metadata import ArtifactMetadata
from edgeseg.target import Artifact, Capabilities, EnvReport, ExportRequest, Findings, Options, Runner, Target
from edgeseg.tensors import Array

METADATA_FILE = "plain/edgeseg.json"
WEIGHTS_FILE = "plain/weights.safetensors"


class PlainOptions(Options):
    """What a card may say under `options`."""

    deflate: bool = Field(False, description="compress the weights: a smaller file that opens slower")


class PlainRunOptions(Options):
    """What `edgeseg predict --option` may set."""

    threads: int | None = Field(None, ge=1, description="threads per operator; absent: torch's choice")


class PlainRunner(Runner):
    """An open artifact. `run` has checked names, shapes and dtypes before it calls `_run`."""

    def __init__(self, artifact: Artifact, options: Options) -> None:
        super().__init__(artifact.metadata)
        threads = PlainRunOptions.of(options).threads
        try:
            from edgeseg.model.reference import ReferenceOptions, ReferenceRunner
            from edgeseg.model.weights import load_weights
        except ImportError as error:
            raise needs_extra("torch", "build", f"running {artifact.path.name}") from error
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(artifact.path) as archive:
            weights = load_weights(Path(archive.extract(WEIGHTS_FILE, folder)))
        # Here a real target opens its SDK's session; this one computes with the reference's own network.
        self._network = ReferenceRunner(weights, options=ReferenceOptions(threads=threads))

    @property
    def execution(self) -> Mapping[str, str]:
        """What a report prints beside a number."""
        return self._network.execution

    def _run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        return self._network.run(arrays)

    def _close(self) -> None:
        self._network.close()


class PlainTarget(Target):
    """One `.plain` file. Constructing it is free; SDKs are imported where they are used."""

    name = "plain"
    summary = "A zip of weights, run by PyTorch"
    capabilities = Capabilities(precisions=("fp32",), suffix=".plain", dynamic_shapes=True)
    options_type = PlainOptions
    run_options_type = PlainRunOptions

    def check_env(self) -> EnvReport:
        """Looks into package metadata, imports nothing."""
        return report_packages(("torch", "safetensors"), (), extra="build")

    def recognizes(self, path: Path) -> bool:
        """Told from the bytes; the suffix may be anything."""
        if not path.is_file() or not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return METADATA_FILE in archive.namelist()

    def export(self, request: ExportRequest) -> Artifact:
        """Write ``output_dir / (stem + suffix)``, whole or not at all."""
        from edgeseg.model.describe import describe
        from edgeseg.model.weights import load_weights

        options = PlainOptions.of(request.options)
        metadata = describe(
            request,
            load_weights(request.weights),
            file_format=self.name,
            head="raw",
            tools=("torch", "safetensors"),
            dynamic=("batch", "size"),
        )
        path = request.output_dir / f"{request.stem}{self.capabilities.suffix}"
        method = zipfile.ZIP_DEFLATED if options.deflate else zipfile.ZIP_STORED
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", method) as archive:
            archive.writestr(METADATA_FILE, metadata.to_json())
            archive.write(request.weights, WEIGHTS_FILE)
        return Artifact(path, metadata)

    def read_metadata(self, path: Path) -> ArtifactMetadata:
        """From the file itself: it must not need the JSON beside it."""
        try:
            with zipfile.ZipFile(path) as archive:
                text = archive.read(METADATA_FILE).decode()
        except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile) as error:
            raise ArtifactError(f"{path}: no readable plain file: {error}", hint="export it again") from error
        return ArtifactMetadata.from_json(text, str(path))

    def inspect(self, artifact: Artifact) -> Findings:
        """Facts for the report; a problem is what is not as asked."""
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(artifact.path) as archive:
            found = sha256_of(Path(archive.extract(WEIGHTS_FILE, folder)))
        problems = () if found == artifact.metadata.weights_sha256 else ("the weights are not those exported",)
        return Findings({"megabytes": round(artifact.path.stat().st_size / 1e6, 2)}, problems)

    def open(self, artifact: Artifact, options: Options) -> Runner:
        """Load it; this may be costly."""
        return PlainRunner(artifact, options)


target = PlainTarget()
