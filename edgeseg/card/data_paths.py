"""Where a card's data sets lie, as absolute paths."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edgeseg.card.load import LoadedCard
from edgeseg.card.schema import Data, DataSet
from edgeseg.errors import CardError

ROOT_VARIABLE = "EDGESEG_DATA"


@dataclass(frozen=True)
class SetPaths:
    """One data set.

    Attributes:
        annotations: a COCO json, a YOLO-seg yaml or, for calibration, also a folder of pictures.
        images: folder of the pictures; None where it is looked for beside the annotations.
    """

    annotations: Path
    images: Path | None = None


@dataclass(frozen=True)
class DataPaths:
    """All data sets of a card; None where the card names none.

    Attributes:
        root: folder that relative paths start from.
        train: training set.
        val: validation set.
        calibration: the set that calibration pictures are drawn from.
    """

    root: Path
    train: SetPaths | None = None
    val: SetPaths | None = None
    calibration: SetPaths | None = None

    def missing(self) -> list[tuple[str, Path]]:
        """Key and path of what is named and not there; one line a path."""
        found: dict[Path, str] = {}
        for name in ("train", "val", "calibration"):
            paths: SetPaths | None = getattr(self, name)
            key = "data.calibration.from" if name == "calibration" else f"data.{name}"
            for path, suffix in ((paths.annotations, ""), (paths.images, ".images")) if paths else ():
                if path is not None and not path.exists():
                    found.setdefault(path, key + suffix)
        return [(key, path) for path, key in found.items()]


def data_paths(loaded: LoadedCard, errors: list[CardError]) -> DataPaths:
    """The data sets of a card; a calibration set that names an absent one goes to `errors`."""
    data = loaded.card.data
    root = _root(loaded.path, data)
    named = {name: _set_paths(root, data, source) for name, source in (("train", data.train), ("val", data.val))}
    source = data.calibration.source
    if source not in named:
        return DataPaths(root, **named, calibration=_set_paths(root, data, source))
    # The default "train" of a card without a training set only says that there is nothing to calibrate with.
    if named[source] is None and "source" in data.calibration.model_fields_set:
        message = f"calibration pictures come from data.{source}, which the card does not name"
        hint = f"add data.{source}, or name a data set or a folder of pictures here"
        errors.append(loaded.error(("data", "calibration", "from"), message, hint))
    return DataPaths(root, **named, calibration=named[source])


def _root(card_path: Path, data: Data) -> Path:
    folder = card_path.absolute().parent
    if data.root is not None:
        return (folder / Path(data.root).expanduser()).resolve()
    variable = os.environ.get(ROOT_VARIABLE)
    return Path(variable).expanduser().resolve() if variable else folder.resolve()


def _set_paths(root: Path, data: Data, source: str | DataSet | None) -> SetPaths | None:
    if source is None:
        return None
    annotations, images = (source.annotations, source.images) if isinstance(source, DataSet) else (source, data.images)
    return SetPaths(_under(root, annotations), _under(root, images) if images is not None else None)


def _under(root: Path, path: str) -> Path:
    return (root / Path(path).expanduser()).resolve()
