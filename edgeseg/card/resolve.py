"""A loaded card to what a build needs: absolute paths, known formats, checked options, merged gates."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgeseg.card.classes import COCO80
from edgeseg.card.data_paths import DataPaths, data_paths
from edgeseg.card.document import KeyPath
from edgeseg.card.limits import Limits
from edgeseg.card.load import LoadedCard, combined
from edgeseg.card.mistakes import note
from edgeseg.card.schema import Card, CardTarget
from edgeseg.devices import catalogue
from edgeseg.errors import CardError, WeightsError, did_you_mean
from edgeseg.files import sha256_of
from edgeseg.gates import Gates, gates_for
from edgeseg.registry import Entry, entries
from edgeseg.target import Options

log = logging.getLogger(__name__)

THREE_WAYS = (
    "give weights with --weights FILE; or train: --set data.train=ANNOTATIONS and a `train` section; "
    "or make a small synthetic set with `edgeseg data synth` and name it in data.train"
)


@dataclass(frozen=True)
class ResolvedTarget:
    """One artifact to build.

    Attributes:
        index: position in the card's list.
        id: name of its results, distinct in the card: the target's name, else ``<format>-<precision>``.
        format: what the file is.
        device: of the catalogue, or None.
        precision: one that device and format support.
        options: of the target's `Options` type; as in the card where no target is registered.
        gates: the card's over the defaults of the precision.
        registered: whether this installation has the target.
        reason: why it cannot be built in this interpreter; empty where it can.
        limits: of its stages.
        asked: names of the gates that the card itself sets, other than to what the precision's default is: a card
            with every default written out means the same.
        require: ``device`` where being deferred to the device is a failure.
    """

    index: int
    id: str
    format: str
    device: str | None
    precision: str
    options: Options | Mapping[str, Any]
    gates: Gates
    registered: bool
    reason: str = ""
    limits: Limits = field(default_factory=Limits)
    asked: tuple[str, ...] = ()
    require: str | None = None

    def option_values(self) -> dict[str, Any]:
        """The options as plain values, defaults written out where the target is registered."""
        if isinstance(self.options, Options):
            return self.options.model_dump(mode="json", exclude_none=True)
        return dict(self.options)


@dataclass(frozen=True)
class ResolvedCard:
    """A card with everything looked up that does not need a build.

    Attributes:
        card: as loaded.
        path: the card's file.
        sha256: of the card's content with overrides and defaults.
        class_names: by class id.
        image_size: (height, width) in pixels.
        weights: absolute path of the weights, None to train from scratch.
        weights_sha256: as the card demands and as checked; empty where nothing is demanded.
        data: absolute paths of the data sets.
        targets: in the card's order.
        overrides: the ``KEY=VALUE`` texts that are part of it.
    """

    card: Card
    path: Path
    sha256: str
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    weights: Path | None
    weights_sha256: str
    data: DataPaths
    targets: tuple[ResolvedTarget, ...]
    overrides: tuple[str, ...] = ()

    def missing_data(self) -> list[tuple[str, Path]]:
        """Key and absolute path of all data that the card names and that is not there."""
        return self.data.missing()

    def content(self) -> dict[str, Any]:
        """A card again, which means the same from any folder: every default, absolute paths, merged gates."""
        plain = self.card.content()
        if self.weights is not None:
            digest = {"sha256": self.weights_sha256} if self.weights_sha256 else {}
            plain["weights"] = {"path": str(self.weights), **digest}
        plain["data"] = {**plain["data"], "root": str(self.data.root)}
        for raw, target in zip(plain["targets"], self.targets, strict=True):
            raw.update(
                name=target.id,
                precision=target.precision,
                options=target.option_values(),
                gates=target.gates.model_dump(exclude_none=True),
            )
        return Card.model_validate(plain).content()


def resolve(loaded: LoadedCard, *, weights: Path | None = None) -> ResolvedCard:
    """Look up devices, formats, options, weights and data paths.

    Args:
        loaded: from `load_card`.
        weights: replaces the card's weights and the check of their sha256.

    Raises:
        CardError: something in the card does not fit; `CardErrors` for several mistakes.
        WeightsError: `weights` is no file.
    """
    errors: list[CardError] = []
    found_weights = _argument_weights(loaded, weights) if weights is not None else _card_weights(loaded, errors)
    data = data_paths(loaded, errors)
    _check_sources(loaded, weights is not None, errors)
    _check_class_weights(loaded, errors)
    targets = [_resolve_target(loaded, index, errors) for index in range(len(loaded.card.targets))]
    _check_distinct(loaded, [target for target in targets if target is not None], errors)
    if errors:
        raise combined(errors)
    card = loaded.card
    return ResolvedCard(
        card=card,
        path=loaded.path,
        sha256=loaded.sha256,
        class_names=class_names(card),
        image_size=card.model.image_size,
        weights=found_weights,
        weights_sha256=(card.weights.sha256 or "") if card.weights and weights is None else "",
        data=data,
        targets=tuple(target for target in targets if target is not None),
        overrides=loaded.overrides,
    )


def class_names(card: Card) -> tuple[str, ...]:
    """The class names, by class id."""
    return COCO80 if isinstance(card.model.classes, str) else card.model.classes


def _argument_weights(loaded: LoadedCard, weights: Path) -> Path:
    if not weights.is_file():
        raise WeightsError(f"{weights}: no such file", hint="--weights takes a .safetensors or .pt file")
    if loaded.card.weights is not None:
        log.info("weights %s replace the card's %s and its sha256", weights, loaded.card.weights.path)
    return weights.resolve()


def _card_weights(loaded: LoadedCard, errors: list[CardError]) -> Path | None:
    named = loaded.card.weights
    if named is None:
        return None
    path = (loaded.path.absolute().parent / Path(named.path).expanduser()).resolve()
    if not path.is_file():
        message = f"no such file: {path}"
        hint = "the path is relative to the card's folder; or give another file with --weights FILE"
        errors.append(loaded.error(("weights", "path"), message, hint))
    elif named.sha256 is not None and (actual := sha256_of(path)) != named.sha256:
        message = f"the weights have another sha256: expected {named.sha256}, {path.name} has {actual}"
        hint = "fetch the file again, or write its sha256 if the change is meant"
        errors.append(loaded.error(("weights", "sha256"), message, hint))
    return path


def _check_sources(loaded: LoadedCard, weights_given: bool, errors: list[CardError]) -> None:
    card = loaded.card
    if weights_given or card.weights is not None:
        return
    lacking = [
        name for name, part in (("`data.train`", card.data.train), ("`train` section", card.train)) if part is None
    ]
    if lacking:
        message = f"no weights, and no {' and no '.join(lacking)} to train them with"
        errors.append(loaded.error((), message, THREE_WAYS))


def _check_class_weights(loaded: LoadedCard, errors: list[CardError]) -> None:
    names = class_names(loaded.card)
    for name, factor in (loaded.card.train.class_weights if loaded.card.train else {}).items():
        keypath: KeyPath = ("train", "class_weights", name)
        if name not in names:
            hint = did_you_mean(name, names)
            errors.append(loaded.error(keypath, f"{name!r} is no class of this card", hint, at_key=True))
        if factor < 0:
            errors.append(loaded.error(keypath, f"class weight {factor}, expected 0 or more"))


def _resolve_target(loaded: LoadedCard, index: int, errors: list[CardError]) -> ResolvedTarget | None:
    """One target, or None after noting why there is none."""
    asked = loaded.card.targets[index]
    entry = _entry(loaded, index, asked, errors)
    if entry is None:
        return None
    supported = _precisions(asked, entry)
    precision = asked.precision or next(iter(supported.values()))[0]
    known = len(errors)
    for owner, precisions in supported.items():
        if precision not in precisions:
            message = f"{owner} does not support the precision {precision!r}"
            hint = "supported: " + ", ".join(precisions)
            errors.append(loaded.error(("targets", index, "precision"), message, hint))
            break
    options = _options(loaded, index, entry, errors)
    if len(errors) > known:
        return None
    return ResolvedTarget(
        index=index,
        id=asked.name or f"{entry.name}-{precision}",
        format=entry.name,
        device=asked.device,
        precision=precision,
        options=options,
        gates=gates_for(precision, asked.gates),
        registered=entry.target is not None,
        reason="; ".join(entry.report.problems),
        limits=asked.limits or loaded.card.limits,
        asked=_own_gates(asked.gates, gates_for(precision, Gates())),
        require=asked.require,
    )


def _own_gates(asked: Gates, defaults: Gates) -> tuple[str, ...]:
    """Names of the gates that differ from the defaults."""
    given = asked.model_dump(exclude_none=True)
    return tuple(name for name, limit in given.items() if limit != getattr(defaults, name))


def _entry(loaded: LoadedCard, index: int, asked: CardTarget, errors: list[CardError]) -> Entry | None:
    """The registry's entry for the target's format; None after noting an unknown device or format."""
    devices, formats = catalogue().devices, entries()
    format_name = devices[asked.device].format if asked.device and asked.device in devices else asked.format
    if format_name in formats:
        return formats[format_name]
    if asked.device is not None:
        key, name, known, other, elsewhere = "device", asked.device, set(devices), "format", set(formats)
    else:
        key, name, known, other, elsewhere = "format", str(asked.format), set(formats), "device", set(devices)
    hint = f"it is a {other}: write {other}: {name}" if name in elsewhere else did_you_mean(name, known)
    errors.append(loaded.error(("targets", index, key), f"unknown {key} {name!r}", hint))
    return None


def _precisions(asked: CardTarget, entry: Entry) -> dict[str, tuple[str, ...]]:
    """Who supports which precisions, the one that sets the default first."""
    found: dict[str, tuple[str, ...]] = {}
    if asked.device:
        found[f"the device {asked.device}"] = catalogue().devices[asked.device].precisions
    if entry.target is not None:
        found[f"the target {entry.name}"] = entry.target.capabilities.precisions
    elif row := catalogue().format_rows.get(entry.name):
        found[f"the format {entry.name}"] = row.precisions
    return found or {f"the format {entry.name}": ("fp32",)}


def _options(loaded: LoadedCard, index: int, entry: Entry, errors: list[CardError]) -> Options | Mapping[str, Any]:
    given = loaded.card.targets[index].options
    if entry.target is None:
        return given
    try:
        return entry.target.options_type.model_validate(given)
    except ValidationError as error:
        document = loaded.document.without_mistakes()
        note(document, error, entry.target.options_type, ("targets", index, "options"))
        errors.extend(document.mistakes.values())
        return given


def _check_distinct(loaded: LoadedCard, targets: list[ResolvedTarget], errors: list[CardError]) -> None:
    """No artifact twice by accident; a `name` on each target says that it is meant."""
    ids: dict[str, ResolvedTarget] = {}
    for target in targets:
        first = ids.setdefault(target.id, target)
        if first is target:
            continue
        keypath: KeyPath = ("targets", target.index)
        if (first.format, first.precision, first.options) == (target.format, target.precision, target.options):
            message = f"the same as target {first.index}: {target.format} {target.precision} with equal options"
            errors.append(loaded.error(keypath, message, "remove one, or give each its own `name`"))
        else:
            message = f"its results would go to {target.id!r}, as those of target {first.index}"
            errors.append(loaded.error(keypath, message, "give one of them a `name`"))
