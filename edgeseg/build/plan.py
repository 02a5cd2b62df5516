"""From a resolved card to what will run: which targets, on which weights, verified on which pictures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeseg.build.stage import StageRequest
from edgeseg.build.steps import TARGET_STEPS
from edgeseg.card.resolve import THREE_WAYS, ResolvedCard, ResolvedTarget
from edgeseg.data.pictures import drawn, pictures_of
from edgeseg.errors import UsageError, did_you_mean
from edgeseg.photos import shipped_photos
from edgeseg.validate import MIN_PICTURES

logger = logging.getLogger(__name__)

VERIFY_PICTURES = 32
"""Pictures of the validation set that masks are compared on."""

VERIFY_SEED = 0


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
        validation: parameters of the stages that judge AP; None where there are too few annotated pictures.
    """

    card: ResolvedCard
    folder: Path
    weights: Path | None
    license: str
    targets: tuple[ResolvedTarget, ...]
    pictures: tuple[Path, ...]
    pictures_from: str
    validation: dict[str, Any] | None

    def train_request(self) -> StageRequest:
        """The stage before all others, where the card trains its weights."""
        return StageRequest("train", "", self.folder / "train", {}, {"card": self.card.content()})

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
        return StageRequest("weights", "", self.folder, {"weights": self.weights}, parameters)

    def target_folder(self, target: ResolvedTarget) -> Path:
        """Where a target's results go."""
        return self.folder / target.id

    def parameters(self, target: ResolvedTarget) -> dict[str, dict[str, Any]]:
        """Stage name to its parameters, for one target."""
        stem = f"{self.card.card.name}-{target.format}-{target.precision}"
        return {
            "export": {
                "format": target.format,
                "precision": target.precision,
                "image_size": list(self.card.image_size),
                "options": target.option_values(),
                "stem": stem,
                "card_sha256": self.card.sha256,
            },
            "inspect": {},
            "verify": {
                "gates": target.gates.model_dump(exclude_none=True),
                "pictures": [str(path) for path in self.pictures],
            },
            "validate": {**(self.validation or {}), "gates": target.gates.model_dump(exclude_none=True)},
        }

    def lines(self) -> list[str]:
        """What will run, for people: one line a stage."""
        lines = []
        if self.weights is None:
            start = self.card.weights or "fresh weights"
            lines.append(f"train     from {start}, in {self.folder / 'train'}")
        lines.append(f"weights   {self.weights or 'trained'} -> {self.folder / 'weights.safetensors'}")
        if self.validation is not None:
            lines.append(f"reference AP on {self.validation['pictures']} pictures")
        for target in self.targets:
            available = {"weights", "artifact"} | ({"reference"} if self.validation is not None else set())
            steps = ", ".join(step.name for step in TARGET_STEPS if set(step.inputs) <= available)
            lines.append(f"{target.id:<16} " + (steps if not target.reason else f"env_missing: {target.reason}"))
        return [*lines, f"verify on {len(self.pictures)} pictures ({self.pictures_from})", "report"]


def make_plan(card: ResolvedCard, *, weights_given: bool, only: Sequence[str] = (), output: Path | None = None) -> Plan:
    """Decide what to do, without doing it.

    Args:
        card: from `edgeseg.card.resolve.resolve`.
        weights_given: the user named the weights, so the card's licence does not speak for them.
        only: ids, formats or devices of targets; all where empty.
        output: where results go; ``runs/<card name>`` where None.

    Raises:
        UsageError: `only` names no target of the card; or it trains, and its data is not named or not there.
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
        license="" if weights_given else card.card.license,
        targets=_chosen(card.targets, only),
        pictures=tuple(pictures),
        pictures_from=origin,
        validation=validation,
    )


def _chosen(targets: tuple[ResolvedTarget, ...], only: Sequence[str]) -> tuple[ResolvedTarget, ...]:
    known = {word for target in targets for word in (target.id, target.format, target.device) if word}
    for word in only:
        if word not in known:
            raise UsageError(f"--only {word}: the card has no such target", hint=did_you_mean(word, known))
    return tuple(t for t in targets if not only or {t.id, t.format, t.device} & set(only))


def _pictures(card: ResolvedCard) -> tuple[list[Path], str, dict[str, Any] | None]:
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
        return shipped_photos(), "shipped with edgeseg", None
    found = pictures_of(val.annotations, val.images)
    validation = None
    if len(found) < MIN_PICTURES:
        logger.warning("data.val has %d pictures: AP retention needs %d and is not judged", len(found), MIN_PICTURES)
    elif val.annotations.is_file():
        validation = {
            "annotations": str(val.annotations),
            "images": str(val.images or ""),
            "image_size": list(card.image_size),
            "pictures": len(found),
        }
    return drawn(found, VERIFY_PICTURES, VERIFY_SEED), f"of data.val, seed {VERIFY_SEED}", validation
