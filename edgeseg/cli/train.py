"""`edgeseg train`: the `train` section of a card, to weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeseg.cli.output import emit_json, is_quiet, verbosity

if TYPE_CHECKING:
    from edgeseg.train.callbacks import End


@click.command(context_settings={"show_default": True})
@click.argument("card", type=click.Path(path_type=Path))
@click.option("--weights", type=click.Path(path_type=Path), help="Start from these, in place of the card's weights.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Folder of the results: runs/<name>/train.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the card.")
@click.option("--resume", is_flag=True, help="Go on with the training in the output folder.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", help="Where to compute.")
@click.option("--tensorboard", is_flag=True, help="Write events for TensorBoard too.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@verbosity
def command(  # noqa: PLR0913 - one parameter per option of the command line
    card: Path,
    weights: Path | None,
    output: Path | None,
    overrides: tuple[str, ...],
    resume: bool,
    device: str,
    tensorboard: bool,
    as_json: bool,
) -> None:
    """Train the network of CARD on its data.train, judged on its data.val.

    On several GPUs or machines: torchrun --nproc-per-node 2 -m edgeseg train CARD.
    """
    from edgeseg.card.load import load_card
    from edgeseg.card.resolve import resolve
    from edgeseg.train.listeners import standard_callbacks
    from edgeseg.train.run import train

    resolved = resolve(load_card(card, overrides), weights=weights)
    folder = output or Path("runs") / resolved.card.name / "train"
    callbacks = standard_callbacks(folder, quiet=is_quiet(), tensorboard=tensorboard)
    end = train(resolved, folder, callbacks=callbacks, resume=resume, device=device)
    if as_json:
        emit_json(_json(end))
    else:
        _print(end, folder)


def _json(end: End) -> dict[str, object]:
    from dataclasses import asdict

    return {
        "reason": end.reason,
        "message": end.message,
        "best": str(end.best or ""),
        "last": str(end.last or ""),
        "epochs": [asdict(epoch) for epoch in end.epochs],
    }


def _print(end: End, folder: Path) -> None:
    from edgeseg.train.callbacks import best_epoch

    best = best_epoch(end.epochs)
    click.echo(f"{end.reason}: {end.message}")
    if best is not None and best.scores:
        scores = best.scores
        click.echo(f"best epoch {best.epoch}: mask AP {scores['mask_ap']:.4f}, box AP {scores['box_ap']:.4f}")
    click.echo(f"weights: {end.best}")
    click.echo(f"page: {folder / 'train.html'}")
