"""The training loop: steps, moves of the optimizer, epochs, validation, checkpoints."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from edgeseg.card.train import Train
from edgeseg.data.dataset import Dataset
from edgeseg.model.network import SegmentationNetwork
from edgeseg.model.weights import WeightsMetadata, save_weights
from edgeseg.train.averaged import Averaged
from edgeseg.train.batch import Batch
from edgeseg.train.callbacks import LOSSES, Callback, End, Epoch, Step, best_epoch
from edgeseg.train.distributed import World
from edgeseg.train.guards import check_finite, memory_guard
from edgeseg.train.losses import SegmentationLoss
from edgeseg.train.optimizer import make_optimizer, set_rates
from edgeseg.train.precision import Precision
from edgeseg.train.schedule import Schedule
from edgeseg.train.start import train_mode
from edgeseg.train.state import Position, Saved, save_state
from edgeseg.train.validation import peak_memory_mb, scores_of, validated, weights_of
from edgeseg.validate import Metrics

logger = logging.getLogger(__name__)

STATE_FILE = "state.pt"
BEST, LAST = "weights/best.safetensors", "weights/last.safetensors"


class Batches(Protocol):
    """Where batches come from."""

    steps_per_epoch: int

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, 1-based, from the step `first_step`, 0-based, on."""

    def close(self) -> None:
        """End what reads ahead."""


@dataclass(frozen=True)
class Plan:
    """What does not change while a network is trained.

    Attributes:
        settings: the recipe, every "auto" decided.
        folder: of all results.
        metadata: of the weights that are written.
        image_size: (height, width) px of validation.
        schedule: rates by step.
        precision: of the forward pass.
        world: this process among all.
        val_set: what is validated on; None for nothing.
        identity: what the curve depends on (`edgeseg.train.state`).
        save_seconds: longest time between two states within an epoch.
    """

    settings: Train
    folder: Path
    metadata: WeightsMetadata
    image_size: tuple[int, int]
    schedule: Schedule
    precision: Precision
    world: World
    val_set: Dataset | None
    identity: Mapping[str, Any] = field(default_factory=dict)
    save_seconds: float = 600.0


class Trainer:
    """One training.

    Args:
        plan: its constants.
        network: with its start weights, on the device, frozen modules marked.
        loss: of one batch.
        batches: of this process.
        callbacks: called in the first process only.
        wrap: makes the network data parallel; the identity for one process.
    """

    def __init__(
        self,
        plan: Plan,
        network: SegmentationNetwork,
        loss: SegmentationLoss,
        batches: Batches,
        callbacks: Sequence[Callback],
        wrap: Callable[[nn.Module], nn.Module] = lambda network: network,
    ) -> None:
        self.plan = plan
        self.network = network
        self.loss = loss
        self.batches = batches
        self.callbacks = callbacks if plan.world.is_first else ()
        self.averaged = Averaged(network, plan.settings.ema_decay, plan.settings.ema_tau)
        self.parallel = wrap(network)
        self.optimizer = make_optimizer(network, plan.settings, plan.schedule.weight_decay)
        self.scaler = plan.precision.scaler()
        self.position = Position()
        self.epochs: list[Epoch] = []
        self._waiting = 0
        self._saved_at = time.monotonic()

    def resume(self, saved: Saved) -> None:
        """Go on where a state was saved."""
        tensors = saved.tensors
        self.network.load_state_dict(tensors["network"])
        self.averaged.network.load_state_dict(tensors["averaged"])
        self.averaged.moves = tensors["moves"]
        self.optimizer.load_state_dict(tensors["optimizer"])
        self.scaler.load_state_dict(tensors["scaler"])
        torch.set_rng_state(tensors["random"])
        self.position, self.epochs = saved.position, list(saved.epochs)

    def run(self) -> End:
        """Train to the last epoch or an early stop.

        Raises:
            StageError: a loss that is not finite, or out of memory.
        """
        settings = self.plan.settings
        reason, message = "finished", f"{settings.epochs} epochs"
        while self.position.epoch <= settings.epochs:
            if self._is_stalled():
                reason, message = "early_stop", f"no gain for {settings.patience} epochs"
                break
            self._run_epoch()
        self.batches.close()
        return self._end(reason, message)

    def fail(self, message: str) -> None:
        """Tell the callbacks that the training broke off."""
        self._end("failed", message)

    def _end(self, reason: str, message: str) -> End:
        best, last = (self.plan.folder / name if self.epochs else None for name in (BEST, LAST))
        end = End(reason, message, best, last, tuple(self.epochs))
        for callback in self.callbacks:
            callback.on_end(end)
        return end

    def _run_epoch(self) -> None:
        number, steps = self.position.epoch, self.batches.steps_per_epoch
        train_mode(self.network, self.plan.settings.freeze)
        self._saved_at = resumed = time.monotonic()
        before = self.position.seconds
        for batch in self.batches.epoch(number, self.position.step):
            for callback in self.callbacks:
                callback.on_batch(number, self.position.step + 1, batch)
            self._step(batch, last=self.position.step + 1 == steps)
            self.position.seconds = before + time.monotonic() - resumed
            if self._waiting == 0 and self.position.step < steps:
                self._save_in_time()
        self._finish_epoch()

    def _step(self, batch: Batch, *, last: bool) -> None:
        plan, done = self.plan, self.position
        rates = plan.schedule.at((done.epoch - 1) * self.batches.steps_per_epoch + done.step)
        set_rates(self.optimizer, rates)
        moves = last or self._waiting + 1 >= rates.accumulate
        with memory_guard(plan.schedule.batch // plan.world.size):
            parts, pictures = self._learn(batch, moves=moves)
        check_finite(parts, batch, plan.folder, done.epoch, done.step + 1)
        self._waiting += 1
        if moves:
            self._move(batch)
        done.step += 1
        done.pictures += pictures
        done.losses = [total + float(part) for total, part in zip(done.losses, parts, strict=True)]
        means = dict(zip(LOSSES, (total / done.step for total in done.losses), strict=True))
        size = (int(batch.images.shape[2]), int(batch.images.shape[3]))
        told = Step(done.epoch, done.step, means, rates.weights, pictures, len(batch.class_ids), size)
        for callback in self.callbacks:
            callback.on_step(told)

    def _learn(self, batch: Batch, *, moves: bool) -> tuple[Tensor, int]:
        """Gradients of one batch, added to those that wait; the parts of its loss over all processes."""
        plan = self.plan
        batch = batch.to(plan.world.device)
        images = batch.images.to(torch.float32, memory_format=torch.channels_last) / 255
        held: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if isinstance(self.parallel, nn.parallel.DistributedDataParallel) and not moves:
            # Gradients travel once for every move of the optimizer.
            held = self.parallel.no_sync()
        with held:
            with plan.precision.autocast():
                outputs = self.parallel(images)
            losses = self.loss(outputs, batch, plan.world.sum)
            pictures = len(images) * plan.world.size
            # The published rates are for the sum over pictures. Data parallel takes the mean over processes of what
            # is here each process's share of the whole.
            total = self.scaler.scale(losses.total * (pictures * plan.world.size))
            total.backward()  # type: ignore[no-untyped-call]
        parts = torch.stack([losses.box, losses.cls, losses.dfl, losses.mask]).detach()
        return plan.world.sum(parts).cpu(), pictures

    def _move(self, batch: Batch) -> None:
        self.scaler.unscale_(self.optimizer)
        limit = self.plan.settings.clip_norm or float("inf")
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), limit)
        if not self.scaler.is_enabled():
            check_finite(norm, batch, self.plan.folder, self.position.epoch, self.position.step + 1)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.averaged.follow(self.network)
        self._waiting = 0

    def _finish_epoch(self) -> None:
        plan, done = self.plan, self.position
        start = time.monotonic()
        metrics = self._validate()
        record = Epoch(
            epoch=done.epoch,
            losses=dict(zip(LOSSES, (total / max(done.step, 1) for total in done.losses), strict=True)),
            learning_rate=float(self.optimizer.param_groups[0]["lr"]),
            seconds=done.seconds,
            val_seconds=time.monotonic() - start,
            images_per_second=done.pictures / max(done.seconds, 1e-9),
            memory_mb=peak_memory_mb(plan.world.device),
            scores=dict(scores_of(metrics)) if metrics is not None else {},
        )
        # Every process must come to the same early stop.
        record = plan.world.broadcast_object(self._judged(record))
        self.epochs.append(record)
        self.position = Position(epoch=done.epoch + 1)
        if plan.world.is_first:
            self._write_weights(record)
            self._save()
        plan.world.barrier()
        for callback in self.callbacks:
            callback.on_epoch(record, metrics)

    def _validate(self) -> Metrics | None:
        plan, epoch = self.plan, self.position.epoch
        due = epoch % plan.settings.val_interval == 0 or epoch == plan.settings.epochs
        if not plan.world.is_first or plan.val_set is None or not due:
            return None
        weights = weights_of(self.averaged.network, plan.metadata)
        return validated(weights, plan.val_set, plan.world.device.type, plan.image_size)

    def _judged(self, record: Epoch) -> Epoch:
        """The record with its verdict: the best so far by the sum of box and mask AP.

        While nothing is found at all, or nothing is validated, later weights are better than earlier ones.
        """
        best = best_epoch(self.epochs)
        so_far = _fitness(best) if best is not None else 0.0
        return replace(record, best=_fitness(record) > so_far or so_far == 0.0)

    def _is_stalled(self) -> bool:
        best, patience = best_epoch(self.epochs), self.plan.settings.patience
        return best is not None and patience > 0 and self.position.epoch - 1 - best.epoch >= patience

    def _write_weights(self, record: Epoch) -> None:
        facts = {"epoch": str(record.epoch), **{name: f"{value:.4f}" for name, value in record.scores.items()}}
        metadata = self.plan.metadata
        source = {**metadata.source, **facts}
        weights = weights_of(self.averaged.network, replace(metadata, source=source))
        for name in (LAST, BEST) if record.best else (LAST,):
            save_weights(weights, self.plan.folder / name)

    def _save_in_time(self) -> None:
        if self.plan.world.is_first and time.monotonic() - self._saved_at > self.plan.save_seconds:
            self._save()
            self._saved_at = time.monotonic()

    def _save(self) -> None:
        tensors = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.network.state_dict(),
            "moves": self.averaged.moves,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": torch.get_rng_state(),
        }
        save_state(self.plan.folder / STATE_FILE, Saved(self.plan.identity, self.position, self.epochs, tensors))


def _fitness(epoch: Epoch) -> float:
    return epoch.scores.get("box_ap", 0.0) + epoch.scores.get("mask_ap", 0.0)
