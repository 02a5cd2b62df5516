"""An engine on disk: one line of text, JSON, then the plain engine as TensorRT wrote it.

    edgeseg-tensorrt 1       6342\n{"metadata": ..., "built": ...}<engine>

The number is where the plain engine starts, in bytes, so that a shell takes it out without edgeseg:
``tail -c +$(head -n 1 n.engine | awk '{print $3 + 1}') n.engine > plain.engine``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeseg.errors import ArtifactError
from edgeseg.files import replacing
from edgeseg.metadata import ArtifactMetadata

WORDS = b"edgeseg-tensorrt 1 "
FIRST_LINE = len(WORDS) + 11
"""The words, a number ten characters wide, a line feed."""

MOST_HEADER = 16 << 20
PLAIN = (b"ftrt", b"vtrt")
"""First bytes of plain engines, of TensorRT and of TensorRT for RTX."""

ACROSS = ((8, 10), (10, 11))
"""Major versions that built and that run a version-compatible engine (TensorRT 11.4 support matrix)."""

_HINT = "build it again on its device: edgeseg verify BUNDLE --finished DIR"


@dataclass(frozen=True)
class Built:
    """What an engine was built with and for: it runs nowhere else.

    Attributes:
        tensorrt: version.
        gpu: as the driver names it.
        compute_capability: of the GPU, such as ``8.7``.
        version_compatible: whether later minor versions of TensorRT run it, too.
        float_type: what computes where the graph's precision leaves the choice.
        seconds: that building took.
    """

    tensorrt: str
    gpu: str
    compute_capability: str
    version_compatible: bool = False
    float_type: str = ""
    seconds: float = 0.0

    def mismatch(self, tensorrt: str, gpu: str, compute_capability: str) -> str:
        """Why it does not run there, naming both sides; empty where it does."""
        same_gpu = (self.gpu, self.compute_capability) == (gpu, compute_capability)
        if same_gpu and (self.tensorrt == tensorrt or (self.version_compatible and self._reads(tensorrt))):
            return ""
        return (
            f"an engine of TensorRT {self.tensorrt} for {self.gpu} (compute capability {self.compute_capability}), "
            f"here are TensorRT {tensorrt} and {gpu} (compute capability {compute_capability})"
        )

    def _reads(self, version: str) -> bool:
        """The same major version or one of `ACROSS`, and not an earlier one (developer guide, Engine Compatibility)."""
        built, here = ([int(part) for part in text.split(".")[:2]] for text in (self.tensorrt, version))
        return here >= built and (built[0] == here[0] or (built[0], here[0]) in ACROSS)


def write_engine(path: Path, metadata: ArtifactMetadata, built: Built, engine: bytes) -> None:
    """Write it, whole or not at all."""
    content = {"metadata": json.loads(metadata.to_json()), "built": asdict(built)}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
    start = FIRST_LINE + len(text)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(b"%s%10d\n" % (WORDS, start))
        file.write(text)
        file.write(engine)


def is_engine(path: Path) -> bool:
    """Whether a file is an engine, with our words in front or plain."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(len(WORDS))
    return head == WORDS or head[:4] in PLAIN


def read_header(path: Path) -> tuple[ArtifactMetadata, Built]:
    """What an engine says about itself.

    Raises:
        ArtifactError: it is plain or damaged.
    """
    metadata, built, _ = _read(path, whole=False)
    return metadata, built


def read_engine(path: Path) -> bytes:
    """The plain engine.

    Raises:
        ArtifactError: it is plain already, or damaged.
    """
    return _read(path, whole=True)[2]


def _read(path: Path, *, whole: bool) -> tuple[ArtifactMetadata, Built, bytes]:
    try:
        with path.open("rb") as file:
            line = file.read(FIRST_LINE)
            if line[:4] in PLAIN:
                raise ArtifactError(
                    f"{path}: a plain TensorRT engine, which does not say its classes, size and version",
                    hint="give the engine that edgeseg wrote, or build one: edgeseg verify BUNDLE --finished DIR",
                )
            size = path.stat().st_size
            start = int(line[len(WORDS) :]) if line.startswith(WORDS) and line.endswith(b"\n") else 0
            if not FIRST_LINE < start < size or start > MOST_HEADER:
                raise ArtifactError(f"{path}: its first line says no place within its {size} bytes", hint=_HINT)
            content = json.loads(file.read(start - FIRST_LINE))
            metadata = ArtifactMetadata.from_json(json.dumps(content["metadata"]), str(path))
            return metadata, Built(**content["built"]), file.read() if whole else b""
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{path}: its header is not readable: {error!r}", hint=_HINT) from error
