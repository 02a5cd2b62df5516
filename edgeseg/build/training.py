"""The stage that trains a card's weights: resumed where it was cut off, at once where it is done."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from edgeseg.build import cache
from edgeseg.build.stage import StageRequest, StageResult, attempt
from edgeseg.card.load import load_card
from edgeseg.card.resolve import resolve
from edgeseg.errors import EnvironmentMissingError, StageError, UsageError
from edgeseg.files import make_folder, write_atomically

logger = logging.getLogger(__name__)


def train_weights(request: StageRequest, *, force: bool = False) -> Path:
    """Run the stage, unless it is done; the weights of the best epoch.

    It works in its own folder, not in a scratch folder: what a kill leaves there is where it goes on.

    Args:
        request: from `edgeseg.build.training_request`.
        force: ask the training even where it is done; it says so at once where nothing changed.

    Raises:
        UsageError: the card or its data cannot be trained with; or the folder holds another card's training.
        StageError: the training itself failed.
        EnvironmentMissingError: a package that it needs is absent.
    """
    content = request.content()
    earlier, reason = cache.find(request, content)
    if earlier is not None and not force:
        return earlier.outputs["weights"]
    logger.info("train runs: %s", cache.FORCED if force else reason)
    usage: list[UsageError] = []

    def work(request: StageRequest) -> StageResult:
        try:
            return train_card(request)
        except UsageError as error:
            usage.append(error)
            raise

    make_folder(request.folder)
    cache.forget(request)
    result = attempt(request, work, "train_failed")
    if usage:
        raise usage[0]
    cache.keep(request, content, result, reason)
    if result.outcome == "env_missing":
        raise EnvironmentMissingError(result.message, hint=result.hint)
    if not result.passed:
        raise StageError(result.outcome, f"training: {result.message}", hint=result.hint)
    return result.outputs["weights"]


def train_card(request: StageRequest) -> StageResult:
    """The stage's function. Places: card, its content with absolute paths."""
    from edgeseg.train.callbacks import best_epoch
    from edgeseg.train.listeners import standard_callbacks
    from edgeseg.train.run import train
    from edgeseg.train.trainer import STATE_FILE

    folder = make_folder(request.folder)
    written = folder / "card.yaml"
    # JSON is YAML.
    write_atomically(written, json.dumps(request.places["card"], indent=1).encode())
    resume = (folder / STATE_FILE).is_file()
    quiet = logging.getLogger("edgeseg").getEffectiveLevel() > logging.INFO
    callbacks = standard_callbacks(folder, quiet=quiet)
    end = train(resolve(load_card(written)), folder, callbacks=callbacks, resume=resume)
    best = best_epoch(end.epochs)
    assert best is not None and end.best is not None  # noqa: S101 - a training that ended has an epoch
    facts = {"reason": end.reason, "message": end.message, "best_epoch": best.epoch, **best.scores}
    return StageResult(outputs={"weights": end.best}, facts=facts)
