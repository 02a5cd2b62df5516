"""Sources of one picture: a file, a URL, encoded bytes, an array; and one that could not be resolved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.data.picture import decode_picture, from_array, read_picture
from edgeseg.errors import SourceError
from edgeseg.sources.download import download
from edgeseg.sources.frames import Frame, Limits


@dataclass(frozen=True)
class Still:
    """What every source of one picture is."""

    name: str
    live = False

    def count(self) -> int | None:
        """One picture, or one broken frame."""
        return 1


@dataclass(frozen=True)
class FilePicture(Still):
    """A picture file, called by its path."""

    def frames(self, limits: Limits) -> Iterator[Frame]:
        """Read the file."""
        yield Frame(read_picture(Path(self.name), limits.max_pixels), self.name)


@dataclass(frozen=True)
class UrlPicture(Still):
    """A picture behind an http(s) URL, called by it."""

    def frames(self, limits: Limits) -> Iterator[Frame]:
        """Download it."""
        yield Frame(decode_picture(download(self.name, limits), self.name, limits.max_pixels), self.name)


@dataclass(frozen=True)
class EncodedPicture(Still):
    """The bytes of a picture file."""

    data: bytes

    def frames(self, limits: Limits) -> Iterator[Frame]:
        """Decode them."""
        yield Frame(decode_picture(self.data, self.name, limits.max_pixels), self.name)


@dataclass(frozen=True)
class ArrayPicture(Still):
    """An array or a Pillow image, see `edgeseg.data.picture.from_array`."""

    array: Any

    def frames(self, limits: Limits) -> Iterator[Frame]:
        """Bring it into the common form."""
        yield Frame(from_array(self.array, self.name), self.name)


@dataclass(frozen=True)
class Unresolved(Still):
    """What a user's iterator gave and nobody can read."""

    error: SourceError

    def frames(self, limits: Limits) -> Iterator[Frame]:
        """Raise its error."""
        yield from ()
        raise self.error
