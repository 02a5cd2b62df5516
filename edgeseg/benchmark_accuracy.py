"""AP beside a speed: from the JSON of an earlier `edgeseg val`, or validated now."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.errors import UsageError
from edgeseg.files import write_atomically

if TYPE_CHECKING:
    from edgeseg.data.dataset import Dataset

logger = logging.getLogger(__name__)

Bar = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""Opens a progress bar of a name and a length; what it gives is called after each picture."""


@dataclass(frozen=True)
class Accuracy:
    """What `edgeseg val` found.

    Attributes:
        mask_ap: AP of the masks, 0..1.
        box_ap: AP of the boxes, 0..1.
        pictures: how many.
        data: the data set's file.
    """

    mask_ap: float
    box_ap: float
    pictures: int
    data: str


def val_file(model: Path) -> Path:
    """Where the validation of a model is looked for: ``<stem>.val.json`` beside it."""
    return model.with_name(f"{model.stem}.val.json")


def read_accuracy(model: Path) -> Accuracy | None:
    """The AP of an earlier validation, None where there is none, or one older than the model.

    Raises:
        UsageError: the file is there, but is no JSON of `edgeseg val`.
    """
    path = val_file(model)
    if not path.is_file():
        return None
    if path.stat().st_mtime < model.stat().st_mtime:
        logger.warning("%s is older than %s: its AP is left out", path, model.name)
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        mask, box = content["seg"]["AP"], content["box"]["AP"]
        # A set without objects has no AP.
        return None if mask is None else Accuracy(float(mask), float(box), int(content["pictures"]), content["data"])
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"{path}: no result of `edgeseg val --json`: {error!r}", hint="remove it, or validate again"
        ) from error


def validate_model(model: Path, dataset: Dataset, run_options: Mapping[str, Any], bar: Bar) -> None:
    """Validate a model by the published protocol and write the JSON where `read_accuracy` looks for it."""
    from edgeseg.predict import load
    from edgeseg.report.val_json import val_json
    from edgeseg.validate import validate

    workers = max((os.cpu_count() or 1) - 1, 0)
    with closing(load(model, **run_options)) as opened, bar(f"val {model.name}", len(dataset)) as advance:
        content = val_json(validate(opened, dataset, workers=workers, progress=advance))
    write_atomically(val_file(model), (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
