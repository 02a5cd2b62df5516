"""From a resolved card to what will run: which targets, on which weights, verified on which pictures."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeseg.build.code_version import code_version
from edgeseg.build.data_lists import DataList, data_list
from edgeseg.build.stage import StageRequest
from edgeseg.build.training_request import train_request
from edgeseg.card.resolve import THREE_WAYS, ResolvedCard, ResolvedTarget
from edgeseg.data.calibration import require_pictures
from edgeseg.data.pictures import drawn, pictures_of
from edgeseg.errors import EdgesegError, UsageError, did_you_mean
from edgeseg.machine import read_machine
from edgeseg.photos import shipped_photos
from edgeseg.registry import entries
from edgeseg.validate import MIN_PICTURES

logger = logging.getLogger(__name__)

VERIFY_PICTURES = 32
"""Pictures of the validation set that masks are compared on."""

VERIFY_SEED = 0

TIMED_PICTURES = 8
TIMED_RUNS, TIMED_WARMUP = 30, 5
"""Of the benchmark stage: enough for a median; `edgeseg benchmark` measures with more care."""

SCRATCH = ".scratch"
"""Folder below a build's own where stages work; whatever a kill leaves there, the next build removes."""


@dataclass(frozen=True)
class Plan:
    """Everything that a build will do.

    Attributes:
        card: the resolved card.
        folder: where all results go.
        weights: the file that the reference is read from; None where it is still to be trained.
        license: of the weights as far as the card speaks for this very file; empty where the file must say it.
        targets: what to build, in the card's order.
        pictures: what masks are compared on.
        pictures_from: where the pictures come from, in words.
        validation: what AP is judged on; None where there are too few annotated pictures.
        calibration: what quantised targets set their ranges on; None where the card's set is not there.
    """

    card: ResolvedCard
    folder: Path
    weights: Path | None
    license: str
    targets: tuple[ResolvedTarget, ...]
    pictures: DataList
    pictures_from: str
    validation: DataList | None
    calibration: DataList | None = None

    @property
    def scratch(self) -> Path:
        """Where stages work."""
        return self.folder / SCRATCH

    def train_request(self) -> StageRequest:
        """The stage before all others, where the card trains its weights."""
        return train_request(self.card, self.folder / "train")

    def with_weights(self, weights: Path) -> Plan:
        """The plan once its weights are trained."""
        return replace(self, weights=weights)

    def weights_request(self) -> StageRequest:
        """The stage that all targets share."""
        assert self.weights is not None  # noqa: S101 - `build` trains them before
        parameters = {
            "scale": self.card.card.model.scale,
            "names": list(self.card.class_names),
            "license": self.license,
        }
        return StageRequest("weights", "", self.folder, {"weights": self.weights}, parameters, code=code_version())

    def reference_request(self, weights: Path) -> StageRequest:
        """AP of the reference, where there is a validation set."""
        assert self.validation is not None  # noqa: S101 - asked by the caller
        return StageRequest(
            "reference", "", self.folder, {"weights": weights}, *self._validated_on(), code=code_version()
        )

    def target_folder(self, target: ResolvedTarget) -> Path:
        """Where a target's results go."""
        return self.folder / target.id

    def readable(self) -> tuple[Path, ...]:
        """Folders and files that stages read."""
        data = [self.pictures, *(one for one in (self.validation, self.calibration) if one is not None)]
        found = {self.folder}
        for one in data:
            found |= {path.parent for path in one.pictures}
            found |= {path.parent for path in (one.annotations,) if path is not None}
        return tuple(sorted(found))

    def parameters(self, target: ResolvedTarget) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
        """Stage name to its parameters and its places, for one target."""
        stem = f"{self.card.card.name}-{target.format}-{target.precision}"
        pictures = [str(path) for path in self.pictures.pictures]
        machine = dataclasses.asdict(read_machine())
        export = {
            "format": target.format,
            "precision": target.precision,
            "image_size": list(self.card.image_size),
            "options": target.option_values(),
            "stem": stem,
        }
        timed = {"runs": TIMED_RUNS, "warmup": TIMED_WARMUP, "machine": machine, "data": self.pictures.key()}
        calibration = self.calibration if is_calibrated(target) else None
        export["calibration"] = calibration.sha256 if calibration else ""
        chosen = [str(path) for path in calibration.pictures] if calibration else []
        return {
            "export": ({**export, "card_sha256": _part_sha256(self.card, export)}, {"calibration": chosen}),
            "compile": ({"format": target.format, "options": target.option_values()}, {}),
            "inspect": ({}, {}),
            "verify": ({"data": self.pictures.key()}, {"pictures": pictures}),
            "validate": self._validated_on() if self.validation is not None else ({}, {}),
            "benchmark": (timed, {"pictures": pictures[:TIMED_PICTURES]}),
        }

    def _validated_on(self) -> tuple[dict[str, Any], dict[str, Any]]:
        assert self.validation is not None  # noqa: S101 - asked by the callers
        return (
            {"image_size": list(self.card.image_size), "data": self.validation.key()},
            {"annotations": str(self.validation.annotations), "images": str(self.validation.images or "")},
        )


def make_plan(card: ResolvedCard, *, weights_given: bool, only: Sequence[str] = (), output: Path | None = None) -> Plan:
    """Decide what to do, without doing it.

    Args:
        card: from `edgeseg.card.resolve.resolve`.
        weights_given: the user named the weights, so the card's licence does not speak for them.
        only: ids, formats or devices of targets; all where empty.
        output: where results go; ``runs/<card name>`` where None.

    Raises:
        UsageError: `only` names no target of the card; it trains, and its data is not named or not there; its
            calibration set has too few pictures.
        SourceError: a picture that it would read cannot be read.
    """
    trains = card.card.train is not None and not weights_given
    if trains and card.data.train is None:
        raise UsageError(f"{card.path}: has a `train` section and names no data.train", hint=THREE_WAYS)
    missing = [f"{key} {path}" for key, path in card.missing_data() if key.startswith(("data.train", "data.val"))]
    if trains and missing:
        raise UsageError(
            f"{card.path}: trains its weights, and its data is not there: {', '.join(missing)}", hint=THREE_WAYS
        )
    pictures, origin, validation = _pictures(card)
    return Plan(
        card=card,
        folder=(output or Path("runs") / card.card.name).absolute(),
        weights=None if trains else card.weights,
        license="" if weights_given and not _set(card, "license") else card.card.license,
        targets=_chosen(card.targets, only),
        pictures=pictures,
        pictures_from=origin,
        validation=validation,
        calibration=_calibration(card, _chosen(card.targets, only)),
    )


def _set(card: ResolvedCard, key: str) -> bool:
    """Whether ``--set`` says it: then it is about this very build."""
    return any(override.partition("=")[0].strip() == key for override in card.overrides)


def is_calibrated(target: ResolvedTarget) -> bool:
    """Whether its export sets ranges on calibration pictures."""
    known = entries()[target.format].target
    return known is not None and target.precision in known.capabilities.calibrated


def _part_sha256(card: ResolvedCard, export: Mapping[str, Any]) -> str:
    """Of what an artifact depends on in its card: a gate or another target does not change it."""
    model = card.card.model.model_dump(mode="json")
    text = json.dumps({"name": card.card.name, "model": model, **export}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _chosen(targets: tuple[ResolvedTarget, ...], only: Sequence[str]) -> tuple[ResolvedTarget, ...]:
    known = {word for target in targets for word in (target.id, target.format, target.device) if word}
    for word in only:
        if word not in known:
            raise UsageError(f"--only {word}: the card has no such target", hint=did_you_mean(word, known))
    return tuple(t for t in targets if not only or {t.id, t.format, t.device} & set(only))


def _pictures(card: ResolvedCard) -> tuple[DataList, str, DataList | None]:
    """What masks are compared on, where it is from, and what AP is judged on.

    The card's validation set where it is there, else the photos that ship with edgeseg, which have no annotations.
    """
    val = card.data.val
    if val is not None and not val.annotations.exists() and any(o.startswith("data.val") for o in card.overrides):
        raise UsageError(f"--set data.val: {val.annotations} is not there", hint="name a COCO json or a YOLO-seg yaml")
    if val is None or not val.annotations.exists():
        if val is not None:
            logger.warning(
                "data.val %s is not there: masks are compared on the photos shipped with edgeseg, and AP is not judged",
                val.annotations,
            )
        return data_list("verify", shipped_photos()), "shipped with edgeseg", None
    found = pictures_of(val.annotations, val.images)
    validation = None
    if len(found) < MIN_PICTURES:
        logger.warning("data.val has %d pictures: AP retention needs %d and is not judged", len(found), MIN_PICTURES)
    elif val.annotations.is_file():
        validation = data_list("val", found, val.annotations, val.images)
    chosen = data_list("verify", drawn(found, VERIFY_PICTURES, VERIFY_SEED))
    return chosen, f"of data.val, seed {VERIFY_SEED}", validation


def _calibration(card: ResolvedCard, targets: tuple[ResolvedTarget, ...]) -> DataList | None:
    """The calibration pictures, where a target needs them and their set is there; else such a target says so itself."""
    source, asked = card.data.calibration, card.card.data.calibration
    needing = [target.id for target in targets if is_calibrated(target)]
    if not needing or source is None:
        return None
    if not source.annotations.exists():
        logger.warning("data.calibration %s is not there: %s cannot be made", source.annotations, ", ".join(needing))
        return None
    try:
        chosen = drawn(pictures_of(source.annotations, source.images), asked.images, asked.seed)
        calibration = data_list("calibration", chosen, source.annotations, source.images)
    except EdgesegError as error:
        logger.warning("the calibration set is left out: %s", error)
        return None
    require_pictures(chosen, needing[0])
    return calibration
