"""What a card's training depends on: its weights, recipe and data; not its gates and targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeseg.build.code_version import code_version
from edgeseg.build.file_hashes import list_sha256
from edgeseg.build.stage import StageRequest
from edgeseg.card.data_paths import SetPaths
from edgeseg.card.resolve import ResolvedCard
from edgeseg.data.open import open_dataset


def train_request(card: ResolvedCard, folder: Path) -> StageRequest:
    """The stage that trains, for a card that can be trained.

    Raises:
        SourceError: a data set cannot be read.
    """
    content = card.content()
    parameters = {
        "model": content["model"],
        "train": content["train"],
        "license": content["license"],
        "name": content["name"],
        "data": {
            name: _set_key(paths, name)
            for name, paths in (("train", card.data.train), ("val", card.data.val))
            if paths is not None
        },
    }
    inputs = {"weights": card.weights} if card.weights is not None else {}
    return StageRequest("train", "", folder, inputs, parameters, {"card": content}, code=code_version())


def _set_key(paths: SetPaths, split: str) -> dict[str, Any]:
    """Annotations by content; pictures by name and size, since a training set may be too large to be hashed."""
    dataset = open_dataset(paths.annotations, split=split, images=paths.images)
    pictures = [sample.path for sample in dataset]
    sizes = ((path.name, str(path.stat().st_size if path.is_file() else -1)) for path in pictures)
    return {"annotations": dataset.sha256, "pictures": list_sha256(sizes), "count": len(pictures)}
