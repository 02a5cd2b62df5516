"""`edgeseg predict`: parse, run, write, print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseg.cli.output import is_quiet, parse_pairs, progress_bar, verbosity

if TYPE_CHECKING:
    from edgeseg.cli.predict_report import RunReport
    from edgeseg.predict import Failure, Model, PredictOptions, Result
    from edgeseg.writers import Writer


@click.command(context_settings={"show_default": True})
@click.argument("model")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="COCO results with RLE masks.")
@click.option("--save", type=click.Path(path_type=Path), help="Folder for drawn pictures and videos.")
@click.option("--txt", type=click.Path(path_type=Path), help="Folder for YOLO-seg label files.")
@click.option("--txt-scores", is_flag=True, help="Add the score to each line of --txt.")
@click.option("--masks", "masks_dir", type=click.Path(path_type=Path), help="Folder for 16-bit PNGs of instances.")
@click.option("--score", default=0.25, help="Score threshold, 0 to 1.")
@click.option("--iou", default=0.7, help="Suppression threshold, 0 to 1.")
@click.option("--max-detections", default=300, help="Instances per picture.")
@click.option("--classes", multiple=True, metavar="NAME|ID", help="Keep these classes only; may be repeated.")
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

    with closing(load(model, **parse_pairs(options["option"], "--option"))) as opened, ExitStack() as stack:
        settings = _settings(opened, options)
        opened.check(settings)
        frames = open_sources(list(sources))
        writers = [stack.enter_context(closing(writer)) for writer in _writers(opened, options)]
        report = RunReport(settings.postprocess.masks)
        results = opened.predict_frames(frames, settings)
        try:
            with progress_bar("predict", frames.total) as advance:
                _run(results, writers, report, advance)
        except KeyboardInterrupt:
            report.interrupted = True
    report.finish(rate=options["frames_per_second"])


def _run(results: Iterator[Result | Failure], writers: list[Writer], report: RunReport, advance: Any) -> None:
    from edgeseg.predict import Failure

    for result in results:
        if isinstance(result, Failure):
            report.failed(result)
        else:
            for writer in writers:
                writer.write(result)
            report.done(result, show=not is_quiet())
        advance()


def _settings(model: Model, options: dict[str, Any]) -> PredictOptions:
    from edgeseg.errors import UsageError
    from edgeseg.postprocess.pipeline import PostprocessOptions
    from edgeseg.predict import PredictOptions

    needs_masks = [name for name in ("txt", "masks_dir") if options[name]]
    if options["no_masks"] and needs_masks:
        raise UsageError("--no-masks leaves nothing for --txt and --masks to write", hint="drop one of them")
    post = PostprocessOptions(
        score=options["score"],
        iou=options["iou"],
        max_detections=options["max_detections"],
        classes=_class_ids(options["classes"], model.names),
        class_agnostic=options["class_agnostic"],
        masks=not options["no_masks"],
    )
    return PredictOptions(post, options["image_size"], options["batch"])


def _class_ids(asked: tuple[str, ...], names: tuple[str, ...]) -> tuple[int, ...] | None:
    from edgeseg.errors import UsageError, did_you_mean

    if not asked:
        return None
    ids = []
    for word in (part.strip() for item in asked for part in item.split(",")):
        if word in names:
            ids.append(names.index(word))
        elif word.isdecimal():
            ids.append(int(word))
        else:
            raise UsageError(f"--classes: the model has no class {word!r}", hint=did_you_mean(word, names))
    return tuple(sorted(set(ids)))


def _writers(model: Model, options: dict[str, Any]) -> Iterator[Writer]:
    from edgeseg.writers import DrawnWriter, JsonWriter, MaskWriter, TextWriter

    if options["save"]:
        yield DrawnWriter(options["save"])
    if options["txt"]:
        yield TextWriter(options["txt"], scores=options["txt_scores"])
    if options["masks_dir"]:
        yield MaskWriter(options["masks_dir"])
    if options["json_file"]:
        yield JsonWriter(options["json_file"], model.names)
