"""From a resolved card to a training: data, network, settings, resume. `train` and `build` both call this."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from edgeseg.card.data_paths import SetPaths
from edgeseg.card.resolve import ResolvedCard
from edgeseg.card.train import Train
from edgeseg.data.dataset import Dataset
from edgeseg.data.labelled_set import LabelledSet
from edgeseg.data.open import open_dataset
from edgeseg.errors import UsageError
from edgeseg.files import make_folder, sha256_of
from edgeseg.model.network import SegmentationNetwork
from edgeseg.model.weights import Weights, WeightsMetadata, load_weights
from edgeseg.train.auto_batch import MEMORY_SHARE, largest_batch
from edgeseg.train.callbacks import Callback, End, Run
from edgeseg.train.distributed import World, join
from edgeseg.train.loader import Loader
from edgeseg.train.losses import SegmentationLoss
from edgeseg.train.optimizer import decided, warmup_bias_lr
from edgeseg.train.precision import Precision, choose_precision
from edgeseg.train.sampler import BatchOrder
from edgeseg.train.schedule import Schedule
from edgeseg.train.start import freeze, start_network
from edgeseg.train.state import load_state
from edgeseg.train.trainer import STATE_FILE, Plan, Trainer

logger = logging.getLogger(__name__)

MOST_WORKERS = 4
"""Of `workers: auto`, for each process that trains."""

NOT_OF_THE_CURVE = ("workers", "cache", "patience", "val_interval")
"""Settings that a resume may change: they do not touch what is learned."""


def train(
    card: ResolvedCard,
    output: Path,
    *,
    callbacks: Sequence[Callback] = (),
    resume: bool = False,
    device: str = "auto",
) -> End:
    """Train the network of a card.

    In a process that torch's launcher started, all processes train together, and the first one writes.

    Args:
        card: with a `train` section and a training set; its weights, if any, are where the training starts.
        output: folder of the results: ``weights/best.safetensors``, ``weights/last.safetensors``, ``state.pt``.
        callbacks: who listens.
        resume: go on where the training in `output` was left.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Returns:
        Why it ended, the weights' paths, all epochs.

    Raises:
        UsageError: the card cannot be trained, or `output` holds another training.
        SourceError: data that cannot be read.
        StageError: ``train_failed``: a loss that is not finite, or out of memory.
    """
    settings = _checked(card, output, resume=resume)
    with join(device) as world:
        torch.manual_seed(settings.seed)
        trainer, run = prepared(card, settings, make_folder(output), world, callbacks)
        if resume:
            trainer.resume(load_state(output / STATE_FILE, trainer.plan.identity))
        for callback in trainer.callbacks:
            callback.on_start(replace(run, first_epoch=trainer.position.epoch), trainer.epochs)
        try:
            return trainer.run()
        except BaseException as error:
            # Displays must be closed whatever it is: a broken picture, Ctrl-C, a bug.
            trainer.fail(str(error) or type(error).__name__)
            raise


def _checked(card: ResolvedCard, output: Path, *, resume: bool) -> Train:
    settings = card.card.train
    if settings is None:
        raise UsageError(f"{card.path}: has no `train` section", hint="add one: `train: {}` is the whole recipe")
    if card.data.train is None:
        raise UsageError(f"{card.path}: names no data.train", hint="--set data.train=ANNOTATIONS")
    for key, path in card.missing_data():
        if key.startswith(("data.train", "data.val")):
            raise UsageError(f"{card.path}: {key} {path} is not there", hint=f"--set {key}=ANNOTATIONS")
    if (output / STATE_FILE).is_file() and not resume:
        raise UsageError(
            f"{output}: holds a training already", hint="--resume goes on with it; or choose another --output"
        )
    return settings


def prepared(
    card: ResolvedCard, settings: Train, output: Path, world: World, callbacks: Sequence[Callback]
) -> tuple[Trainer, Run]:
    """All parts of a training, put together.

    Args:
        card: that can be trained.
        settings: its `train` section.
        output: folder of the results.
        world: this process among all.
        callbacks: who listens.

    Returns:
        The trainer before its first step, and what the callbacks are told at the start.
    """
    names, image_size = card.class_names, card.image_size
    assert card.data.train is not None  # noqa: S101 - `_checked` refused
    train_set = _opened(card.data.train, "train", settings)
    val_set = _opened(card.data.val, "val", settings) if card.data.val is not None else None
    pictures = LabelledSet(train_set, image_size, settings.cache, strict=settings.strict, processes=world.size)
    pictures.prepare()
    start = load_weights(card.weights) if card.weights is not None else None
    network = start_network(card.card.model.scale, names, image_size, start)
    freeze(network, settings.freeze)
    network = network.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    precision = choose_precision(world.device.type, amp=settings.amp)
    batch = _batch(network, settings, image_size, precision, world)
    order = BatchOrder(len(pictures), batch, settings.seed, world.size, world.rank)
    decisions = decided(settings, len(names), order.steps_per_epoch * settings.epochs)
    schedule = Schedule(decisions, batch * world.size, order.steps_per_epoch, warmup_bias_lr(decisions))
    plan = Plan(
        settings=decisions,
        folder=output,
        metadata=_metadata(card, settings, start),
        image_size=image_size,
        schedule=schedule,
        precision=precision,
        world=world,
        val_set=val_set,
        identity=_identity(card, settings, pictures.dataset, batch * world.size),
    )
    class_weights = torch.tensor([settings.class_weights.get(name, 1.0) for name in names], device=world.device)
    loss = SegmentationLoss(len(names), settings.gains, settings.assigner, class_weights)
    pin, workers = world.device.type == "cuda", _workers(settings, world)
    loader = Loader(pictures, order, decisions, image_size, _class_map(train_set, names), pin, workers)
    trainer = Trainer(
        plan,
        network,
        loss,
        loader,
        callbacks,
        lambda module: world.parallel(module, sync_batch_norm=settings.sync_batch_norm),
    )
    facts = {
        **decisions.model_dump(mode="json"),
        "batch": batch,
        "workers": workers,
        "image_size": list(image_size),
        "device": str(world.device),
        "precision": plan.precision.name,
        "processes": world.size,
        "weights": str(card.weights or "from scratch"),
    }
    return trainer, Run(
        card.card.name, output, facts, names, pictures.dataset, val_set, settings.epochs, order.steps_per_epoch
    )


def _batch(
    network: SegmentationNetwork, settings: Train, image_size: tuple[int, int], precision: Precision, world: World
) -> int:
    """Pictures per step and process, the same in all."""
    if isinstance(settings.batch, int):
        return settings.batch
    largest = 1 + settings.augmentation.multi_scale
    height, width = (round(side * largest) for side in image_size)
    found = largest_batch(
        network,
        (height, width),
        world.device,
        # On a CPU all processes of a machine take from one memory.
        share=MEMORY_SHARE / (world.size if world.device.type == "cpu" else 1),
        most=settings.nominal_batch,
        autocast=precision.autocast,
    )
    return world.broadcast_object(found)


def _workers(settings: Train, world: World) -> int:
    """Processes that read pictures, for each process that trains."""
    if isinstance(settings.workers, int):
        return settings.workers
    # On a CPU of two cores they would take from the network what they save.
    spare = (os.cpu_count() or 1) // world.size - (0 if world.device.type == "cuda" else 2)
    return max(0, min(MOST_WORKERS, spare))


def _opened(paths: SetPaths, split: str, settings: Train) -> Dataset:
    # Only what is learned may be left out: a number over fewer validation pictures would be another number.
    strict = settings.strict or split != "train"
    found = open_dataset(paths.annotations, split=split, images=paths.images, strict=strict)
    if not len(found):
        raise UsageError(f"{paths.annotations}: no pictures in its part {split!r}")
    return found


def _class_map(dataset: Dataset, names: Sequence[str]) -> tuple[int, ...]:
    """The card's class id of each class id of a data set, matched by name.

    Raises:
        UsageError: the set has classes that the card lacks: their objects would be learned as background.
    """
    unknown = [name for name in dataset.names if name not in names]
    if unknown:
        raise UsageError(
            f"{dataset.source}: its classes {', '.join(map(repr, unknown[:5]))} are none of the card's",
            hint="write the data set's class names in model.classes",
        )
    lacking = [name for name in names if name not in dataset.names]
    if lacking:
        logger.warning("%s has no class %s: it cannot be learned", dataset.source, ", ".join(lacking[:8]))
    return tuple(names.index(name) for name in dataset.names)


def _metadata(card: ResolvedCard, settings: Train, start: Weights | None) -> WeightsMetadata:
    val = card.data.val or card.data.train
    source = {"card": card.path.name, "card_sha256": card.sha256}
    if start is not None and card.weights is not None:
        source |= {"start": card.weights.name, "start_sha256": sha256_of(card.weights)}
    return WeightsMetadata(
        names=card.class_names,
        scale=card.card.model.scale,
        license=card.card.license,
        image_size=card.image_size,
        train_args=settings.model_dump(mode="json"),
        data=str(val.annotations) if val else "",
        images=str(val.images or "") if val else "",
        source=source,
    )


def _identity(card: ResolvedCard, settings: Train, train_set: Dataset, batch: int) -> Mapping[str, Any]:
    """What the curve depends on, flat: key to a plain value."""
    recipe = {k: v for k, v in settings.model_dump(mode="json").items() if k not in NOT_OF_THE_CURVE}
    return {
        **{f"train.{key}": value for key, value in recipe.items()},
        "train.batch": batch,
        "model": card.card.model.model_dump(mode="json"),
        "data.train": train_set.sha256,
        "weights": sha256_of(card.weights) if card.weights is not None else "",
    }
