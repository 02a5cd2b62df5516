"""A check of a data set as one HTML page that needs nothing else, with drawn samples."""

from __future__ import annotations

import base64
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

import edgeseg
from edgeseg import rle
from edgeseg.data.check_labels import Label
from edgeseg.data.check_problems import KINDS, Problem, grouped
from edgeseg.data.check_result import SIZE_EDGES_PX, CheckResult, PartSummary
from edgeseg.data.check_scan import ScannedPicture
from edgeseg.data.picture import Picture, read_picture
from edgeseg.data.rasterise import rasterise
from edgeseg.draw import draw_instances
from edgeseg.errors import ContractError, SourceError
from edgeseg.instances import CroppedMask, Instances
from edgeseg.report.template import render_page
from edgeseg.report.val_worst import CROWD

if TYPE_CHECKING:
    from collections.abc import Callable

PROBLEMS_SHOWN = 100
"""Of each kind."""

CLASSES_SHOWN = 20
"""Before the rest is folded away."""

SAMPLE_SIDE_PX = 640
"""Longer side of a drawn sample."""

SAMPLE_QUALITY = 82
"""JPEG quality: a sample is about 60 kB."""

WITH_PROBLEMS = 0.5
"""Most of the samples that are chosen for their problems."""

UNKNOWN = "unknown class"


def render(result: CheckResult, *, samples: int = 24, seed: int = 0, advance: Callable[[], None] = lambda: None) -> str:
    """The page for a check.

    Args:
        result: of `check_dataset`.
        samples: pictures that are drawn.
        seed: another one draws other pictures.
        advance: called after each of them.

    Raises:
        EnvironmentMissingError: jinja2 is not installed.
    """
    drawn = []
    for picture, problems in _chosen(result, samples, seed):
        drawn.append(_sample(picture, problems, result.names))
        advance()
    return render_page(
        "data_check.html",
        name=result.source.name,
        source=result.source,
        kind=result.kind,
        decoded=result.decoded,
        verdict=_verdict(result),
        classes=len(result.names),
        parts=[_part(part) for part in result.parts],
        crowds=(crowds := any(part.crowds for part in result.parts)),
        labels="Objects and crowds" if crowds else "Objects",
        groups=[_group(kind, members) for kind, members in grouped(result.problems).items()],
        class_rows=_class_rows(result),
        size_rows=_size_rows(result),
        listed=CLASSES_SHOWN if len(result.names) > CLASSES_SHOWN * 1.25 else len(result.names),
        samples=drawn,
        version=edgeseg.__version__,
    )


def _verdict(result: CheckResult) -> dict[str, str]:
    counts = [(result.errors, "error"), (result.warnings, "warning")]
    parts = [f"{number} {word}{'s' * (number != 1)}" for number, word in counts if number]
    state = "failed" if result.errors else "open" if result.warnings else "passed"
    return {"state": state, "text": ", ".join(parts) or "no problem found"}


def _part(part: PartSummary) -> dict[str, Any]:
    return {
        "name": part.name,
        "pictures": part.pictures,
        "unlabelled": part.unlabelled,
        "crowds": part.crowds,
        "objects": part.objects,
        "per_picture": f"{part.objects / max(part.pictures, 1):.1f}",
        "used": sum(number > 0 for number in part.labels),
    }


def _group(kind: str, members: list[Problem]) -> dict[str, Any]:
    about = KINDS[kind]
    return {
        "title": about.title,
        "label": f"{len(members)} {about.severity}" + "s" * (len(members) != 1),
        "state": "failed" if about.severity == "error" else "open",
        "advice": about.advice,
        "count": len(members),
        "shown": members[:PROBLEMS_SHOWN],
    }


def _class_rows(result: CheckResult) -> list[dict[str, Any]]:
    """The most frequent class first."""
    columns = [part.labels for part in result.parts]
    rows = _rows(result.names, columns)
    return sorted(rows, key=lambda row: -sum(row["counts"]))


def _size_rows(result: CheckResult) -> list[dict[str, Any]]:
    names = [f"{low} to {high}" for low, high in pairwise(SIZE_EDGES_PX)]
    return _rows([*names, f"{SIZE_EDGES_PX[-1]} or more"], [part.sizes for part in result.parts])


def _rows(names: Sequence[str], columns: list[tuple[int, ...]]) -> list[dict[str, Any]]:
    """Counts with their shares of each column, in percent of the largest share of all."""
    table = np.array(columns, float).reshape(len(columns), len(names))
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    widths = (100 * shares / max(float(shares.max(initial=0)), 1e-9)).round(1)
    return [
        {"name": name, "counts": [column[index] for column in columns], "shares": widths[:, index].tolist()}
        for index, name in enumerate(names)
    ]


def _chosen(result: CheckResult, number: int, seed: int) -> Iterator[tuple[ScannedPicture, list[Problem]]]:
    """Pictures to draw: up to half of them for their problems, the worst kinds first, the others at random."""
    rank = {kind: place for place, kind in enumerate(KINDS)}
    pictures = {str(picture.path): picture for part in result.scanned for picture in part.pictures}
    problems: dict[str, list[Problem]] = {}
    for problem in sorted(result.problems, key=lambda problem: rank[problem.kind]):
        if problem.picture in pictures and problem.kind not in ("picture_missing", "picture_broken"):
            problems.setdefault(problem.picture, []).append(problem)
    # One of each kind in turn, so that the most frequent kind does not take all places.
    turns = Counter[str]()
    order: dict[str, int] = {}
    for path, members in problems.items():
        order[path] = turns[members[0].kind]
        turns[members[0].kind] += 1
    first = sorted(problems, key=lambda path: order[path])[: int(number * WITH_PROBLEMS)]
    taken = set(first)
    rest = [path for path, picture in pictures.items() if picture.labels and path not in taken]
    random.Random(seed).shuffle(rest)
    for path in [*first, *rest[: number - len(first)]]:
        yield pictures[path], problems.get(path, [])


def _sample(picture: ScannedPicture, problems: list[Problem], names: tuple[str, ...]) -> dict[str, Any]:
    """A picture with its labels, and what to say of it; without the picture where it cannot be read."""
    known = (*names, CROWD, UNKNOWN)
    counts = Counter(known[_place(label, known)] for label in picture.labels)
    what = ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "no label"
    sample = {
        "name": picture.path.name,
        "what": what,
        "problems": [f"{problem.where}: {problem.message}" for problem in problems[:3]],
        "picture": "",
        "width": 0,
        "height": 0,
    }
    try:
        pixels = read_picture(picture.path)
    except SourceError as error:
        return {**sample, "problems": [error.message]}
    data, sample["height"], sample["width"] = _encoded(_drawn(pixels, picture, known))
    return {**sample, "picture": base64.b64encode(data).decode()}


def _drawn(pixels: Picture, picture: ScannedPicture, names: tuple[str, ...]) -> Picture:
    size = (pixels.shape[0], pixels.shape[1])
    found = [(label, mask) for label in picture.labels if (mask := _mask(label, size, picture.normalised)) is not None]
    boxes = [(m.left, m.top, m.left + m.bitmap.shape[1], m.top + m.bitmap.shape[0]) for _, m in found]
    instances = Instances(
        xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.ones(len(found), np.float32),
        class_ids=np.array([_place(label, names) for label, _ in found], np.int64),
        masks=tuple(mask for _, mask in found),
        names=names,
        image_size=size,
    )
    return draw_instances(pixels, instances, labels="names")


def _place(label: Label, names: tuple[str, ...]) -> int:
    """Where in the names, of which the last two are `CROWD` and `UNKNOWN`, a label's is."""
    return len(names) - 2 if label.crowd else label.class_id % len(names)


def _mask(label: Label, size: tuple[int, int], normalised: bool) -> CroppedMask | None:
    """The label's mask; None where it has none, or one that is not of this picture."""
    height, width = size
    rings = [ring * (width, height) if normalised else ring for ring in label.rings]
    try:
        encoded = label.rle or rasterise(rings, size)
        bitmap, (top, left) = rle.decode_cropped(encoded)
    except (ContractError, KeyError, TypeError, ValueError):
        return None
    if not bitmap.size or tuple(encoded["size"]) != size:
        return None
    return CroppedMask(bitmap, top, left)


def _encoded(picture: Picture) -> tuple[bytes, int, int]:
    """A JPEG of at most `SAMPLE_SIDE_PX`, with its height and width."""
    import cv2

    height, width = picture.shape[:2]
    factor = min(1, SAMPLE_SIDE_PX / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if factor < 1 else picture
    bgr = cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, SAMPLE_QUALITY])
    return data.tobytes(), size[1], size[0]
