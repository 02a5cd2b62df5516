"""`edgeseg predict`: parse, run, write, print."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.interrupts import held_back
from edgeseg.cli.output import Steps, is_quiet, parse_pairs, progress_bar, verbosity

if TYPE_CHECKING:
    from edgeseg.cli.predict_report import RunReport
    from edgeseg.predict import Failure, Model, PredictOptions, Result
    from edgeseg.writers import Writer

STDOUT = Path("-")


@click.command(context_settings={"show_default": True})
@click.argument("model")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="COCO results with RLE masks; - is stdout.")
@click.option("--save", type=click.Path(path_type=Path), help="Folder for drawn pictures and videos.")
@click.option("--txt", type=click.Path(path_type=Path), help="Folder for YOLO-seg label files.")
@click.option("--txt-scores", is_flag=True, help="Add the score to each line of --txt.")
@click.option("--masks", "masks_dir", type=click.Path(path_type=Path), help="Folder for 16-bit PNGs of instances.")
@click.option("--score", default=0.25, help="Score threshold, 0 to 1.")
@click.option("--iou", default=0.7, help="Suppression threshold, 0 to 1.")
@click.option("--max-detections", default=300, help="Instances per picture.")
@click.option("--classes", multiple=True, metavar="NAME|ID", help="Keep these classes only; several with commas.")
@click.option("--class-agnostic", is_flag=True, help="Let boxes of different classes suppress each other.")
@click.option("--no-masks", is_flag=True, help="Boxes only.")
@click.option("--image-size", nargs=2, type=int, metavar="H W", help="Letterbox size; default: the model's.")
@click.option("--batch", type=int, help="Pictures per run; default: the model's.")
@click.option("--option", multiple=True, metavar="KEY=VALUE", help="Of the runtime, such as threads=4.")
@click.option("--frames-per-second", is_flag=True, help="Report the rate and the time of each step.")
@verbosity
def command(model: str, sources: tuple[str, ...], **options: Any) -> None:
    """Segment SOURCE... with MODEL: weights or any exported artifact, told from the file.

    A SOURCE is a picture, folder, glob, list file (.txt), http(s) URL, video, camera (0) or - for stdin.
    """
    from edgeseg.cli.predict_report import RunReport
    from edgeseg.predict import load
    from edgeseg.sources import open_sources

    _check_options(options)
    with closing(load(model, **parse_pairs(options["option"], "--option"))) as opened:
        settings = _settings(opened, options)
        opened.check(settings)
        frames = open_sources(list(sources))
        report = RunReport(settings.postprocess.masks, show=not is_quiet() and options["json_file"] != STDOUT)
        with _written(opened, options) as writers:
            try:
                with progress_bar("predict", frames.total) as bar:
                    _run(opened.predict_frames(frames, settings), writers, report, bar)
            except KeyboardInterrupt:
                report.interrupted = True
    report.finish(rate=options["frames_per_second"], quiet=is_quiet())


def _run(results: Iterator[Result | Failure], writers: list[Writer], report: RunReport, bar: Steps) -> None:
    from edgeseg.predict import Failure

    for result in results:
        if isinstance(result, Failure):
            report.failed(result)
        else:
            with held_back():
                for writer in writers:
                    writer.write(result)
            report.done(result, bar.echo)
        bar()


@contextmanager
def _written(model: Model, options: dict[str, Any]) -> Iterator[list[Writer]]:
    """The writers asked for, finished at the end: a second Ctrl-C does not stop that."""
    with ExitStack() as stack:
        writers = [stack.enter_context(closing(writer)) for writer in _writers(model, options)]
        try:
            yield writers
        finally:
            with held_back():
                stack.close()


def _check_options(options: dict[str, Any]) -> None:
    """Refuse what can be known to be wrong before the model is opened."""
    from edgeseg.errors import UsageError

    json_file = options["json_file"]
    if json_file not in (None, STDOUT) and json_file.suffix != ".json":
        # It is a flag in other commands: `--json bus.jpg` would put the results in the picture's place.
        raise UsageError(f"--json {json_file}: expected a name that ends in .json, or - for stdout")
    if options["txt_scores"] and not options["txt"]:
        raise UsageError("--txt-scores changes what --txt writes", hint="add --txt DIR")
    if options["no_masks"] and (options["txt"] or options["masks_dir"]):
        raise UsageError("--no-masks leaves nothing for --txt and --masks to write", hint="drop one of them")


def _settings(model: Model, options: dict[str, Any]) -> PredictOptions:
    from edgeseg.postprocess.pipeline import PostprocessOptions
    from edgeseg.predict import PredictOptions, class_ids

    chosen = {i for words in options["classes"] for i in class_ids(words, model.names)}
    post = PostprocessOptions(
        score=options["score"],
        iou=options["iou"],
        max_detections=options["max_detections"],
        classes=tuple(sorted(chosen)) if options["classes"] else None,
        class_agnostic=options["class_agnostic"],
        masks=not options["no_masks"],
    )
    return PredictOptions(post, options["image_size"], options["batch"])


def _writers(model: Model, options: dict[str, Any]) -> Iterator[Writer]:
    from edgeseg.writers import DrawnWriter, JsonWriter, MaskWriter, TextWriter

    if options["save"]:
        yield DrawnWriter(options["save"])
    if options["txt"]:
        yield TextWriter(options["txt"], scores=options["txt_scores"])
    if options["masks_dir"]:
        yield MaskWriter(options["masks_dir"])
    if options["json_file"]:
        yield JsonWriter(sys.stdout if options["json_file"] == STDOUT else options["json_file"], model.names)
