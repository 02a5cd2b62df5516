"""What `edgeseg data convert` may be told, beyond the source, the destination and the format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeseg.data.yolo_yaml import SPLITS
from edgeseg.errors import UsageError

Pictures = Literal["copy", "link", "absolute"]

_SPLIT_IN_NAME = re.compile(rf"(?<![a-z])({'|'.join(SPLITS)})(?![a-z])")


@dataclass(frozen=True)
class ConvertOptions:
    """Options of a conversion.

    Attributes:
        splits: parts to convert of a source that has several, none meaning all; the name of the one part of others.
        images: folder of the pictures, for a source whose pictures are not found.
        classes: class names: of all objects where the source has none, or by class id.
        attribute: the region attribute of VIA that holds the class.
        pictures: copied, linked to, or named by absolute paths (COCO only).
    """

    splits: tuple[str, ...] = ()
    images: Path | None = None
    classes: tuple[str, ...] = ()
    attribute: str = ""
    pictures: Pictures = "copy"

    def part_of(self, source: Path) -> str:
        """Name of the one part of a source: as asked, else `train`, `val` or `test` in its file name, else train.

        Raises:
            UsageError: several are asked for.
        """
        if len(self.splits) > 1:
            raise UsageError(f"{source}: is one part, expected one --split to call it, not {', '.join(self.splits)}")
        found = _SPLIT_IN_NAME.search(source.stem.lower())
        return self.splits[0] if self.splits else found[1] if found else SPLITS[0]
