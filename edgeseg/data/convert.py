"""Data sets from one format to another."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from edgeseg.data.coco import describe_json
from edgeseg.data.convert_options import ConvertOptions
from edgeseg.data.dataset import Dataset
from edgeseg.data.index import posix
from edgeseg.data.notes import Notes
from edgeseg.data.open import read_dataset
from edgeseg.data.placed_pictures import place_pictures
from edgeseg.data.yolo_line import yolo_line
from edgeseg.data.yolo_yaml import SPLITS, label_path, read_yaml
from edgeseg.errors import OutputError, SourceError, UsageError
from edgeseg.files import make_folder, write_atomically

KINDS = ("coco", "yolo-seg", "labelme", "masks", "via")
TARGETS = ("coco", "yolo-seg")
YAML_NAME = "data.yaml"

Parts = dict[str, Dataset]


@dataclass(frozen=True)
class Conversion:
    """What was done.

    Attributes:
        kind: of the source.
        files: what opens the new set: the yaml, or a json for each part.
        pictures: part to number of pictures.
        annotations: part to number of annotations that were written.
        notes: what was decided, with counts.
    """

    kind: str
    files: tuple[Path, ...]
    pictures: Mapping[str, int]
    annotations: Mapping[str, int]
    notes: tuple[str, ...]


def convert(
    source: Path, destination: Path, to: str, *, kind: str | None = None, options: ConvertOptions | None = None
) -> Conversion:
    """Write a data set in another format.

    COCO becomes ``annotations/<part>.json`` and YOLO-seg ``data.yaml`` with ``labels/<part>/``, both with
    ``images/<part>/``. Parts may be added to a folder one after another.

    Args:
        source: a COCO or VIA json, a YOLO-seg yaml, a folder of LabelMe files or of mask PNGs.
        destination: folder of the new set.
        to: ``coco`` or ``yolo-seg``.
        kind: of the source, one of `KINDS`; None tells it from the source.
        options: see there.

    Raises:
        SourceError: the source cannot be read, or lacks pictures.
        UsageError: what is asked cannot be done.
        OutputError: the destination has such a part already, or cannot be written.
    """
    options = options or ConvertOptions()
    for name, value, known in (("--to", to, TARGETS), ("--from", kind or "coco", KINDS)):
        if value not in known:
            raise UsageError(f"{name} {value}: expected one of {', '.join(known)}")
    if to == "yolo-seg" and options.pictures == "absolute":
        raise UsageError(
            "YOLO-seg finds labels by where the pictures lie: --absolute would write into the source's folder",
            hint="--link takes no space either",
        )
    kind = kind or kind_of(source)
    parts = _open(source, kind, options)
    notes = Notes()
    files, annotations = _WRITERS[to](parts, destination, options, notes)
    pictures = {part: len(dataset) for part, dataset in parts.items()}
    read = dict.fromkeys(note for dataset in parts.values() for note in dataset.notes)
    return Conversion(kind, tuple(files), pictures, annotations, (*read, *notes.said()))


def kind_of(source: Path) -> str:
    """What a source is, one of `KINDS`, told from its content.

    Raises:
        SourceError: it is none of them, or is not there.
    """
    if source.suffix.lower() in (".yaml", ".yml") and source.is_file():
        return "yolo-seg"
    if source.is_dir():
        return _kind_of_folder(source)
    try:
        content = json.loads(source.read_bytes())
    except OSError as error:
        raise SourceError(f"{source}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{source}: no JSON or yaml that can be read: {error}", hint=_EXPECTED) from error
    if isinstance(content, dict):
        if {"images", "annotations"} <= content.keys():
            return "coco"
        rows = content.get("_via_img_metadata", content)
        if isinstance(rows, dict) and any(isinstance(row, dict) and "regions" in row for row in rows.values()):
            return "via"
    raise SourceError(f"{source}: {describe_json(content)}", hint=_EXPECTED)


_EXPECTED = (
    "expected a COCO or VIA json, a YOLO-seg yaml, a folder of LabelMe files, of mask PNGs or with SegmentationObject"
)


def _kind_of_folder(folder: Path) -> str:
    if (folder / "SegmentationObject").is_dir():
        return "masks"
    for kind, pattern in (("labelme", "**/*.json"), ("masks", "*.png")):
        if next(folder.glob(pattern), None) is not None:
            return kind
    raise SourceError(f"{folder}: nothing that is known in this folder", hint=_EXPECTED)


def _open(source: Path, kind: str, options: ConvertOptions) -> Parts:
    if kind == "coco":
        return {options.part_of(source): read_dataset(source, images=options.images)}
    if kind == "yolo-seg":
        return {split: read_dataset(source, split=split) for split in options.splits or read_yaml(source).splits}
    module, function = _READERS[kind]
    opened: Parts = getattr(importlib.import_module(module), function)(source, options)
    return opened


_READERS = {
    "labelme": ("edgeseg.data.labelme", "open_labelme"),
    "masks": ("edgeseg.data.mask_png", "open_masks"),
    "via": ("edgeseg.data.via", "open_via"),
}
"""Kind to module and function, imported when it is used."""


def _write_coco(
    parts: Parts, destination: Path, options: ConvertOptions, notes: Notes
) -> tuple[list[Path], dict[str, int]]:
    files = {part: destination / "annotations" / f"{part}.json" for part in parts}
    for file in files.values():
        if file.exists():
            raise OutputError(f"{file}: is there already", hint="name another folder or --split")
    placed = place_pictures(parts, destination, options.pictures, notes)
    for part, dataset in parts.items():
        content = dataset.to_coco()
        folder = destination.absolute() / "images" / part
        for row, path in zip(content["images"], placed[part], strict=True):
            row["file_name"] = posix(path if options.pictures == "absolute" else path.relative_to(folder))
        write_atomically(files[part], json.dumps(content, ensure_ascii=False).encode())
    counts = {part: sum(len(sample.annotations) for sample in dataset) for part, dataset in parts.items()}
    return list(files.values()), counts


def _write_yolo(
    parts: Parts, destination: Path, options: ConvertOptions, notes: Notes
) -> tuple[list[Path], dict[str, int]]:
    names = next(iter(parts.values())).names
    file = destination / YAML_NAME
    splits = _splits_there(file, names, parts)
    placed = place_pictures(parts, destination, options.pictures, notes)
    counts = {part: _write_labels(dataset, placed[part], notes) for part, dataset in parts.items()}
    splits |= {part: f"images/{part}" for part in parts}
    content = {"path": ".", **{split: splits[split] for split in SPLITS if split in splits}}
    text = yaml.safe_dump({**content, "names": dict(enumerate(names))}, sort_keys=False, allow_unicode=True)
    write_atomically(file, text.encode())
    return [file], counts


_WRITERS: Mapping[str, Callable[[Parts, Path, ConvertOptions, Notes], tuple[list[Path], dict[str, int]]]] = {
    "coco": _write_coco,
    "yolo-seg": _write_yolo,
}


def _splits_there(file: Path, names: tuple[str, ...], parts: Parts) -> dict[str, str]:
    """Splits that the folder's yaml has already."""
    for part in parts:
        if part not in SPLITS:
            raise UsageError(f"--split {part}: a YOLO-seg set has {', '.join(SPLITS)}")
    if not file.exists():
        return {}
    there = read_yaml(file)
    if there.names != names:
        raise OutputError(f"{file}: has other classes than the source", hint="name another folder")
    for part in parts:
        if part in there.splits:
            raise OutputError(f"{file}: has a split {part} already", hint="name another folder or --split")
    return {split: entries[0] for split, entries in there.splits.items()}


def _write_labels(dataset: Dataset, pictures: list[Path], notes: Notes) -> int:
    """A label file for each picture, empty where it has no objects; returns the number of lines."""
    number = 0
    for sample, picture in zip(dataset, pictures, strict=True):
        lines = [line for a in sample.annotations if (line := yolo_line(a, sample.size, notes)) is not None]
        path = Path(label_path(str(picture)))
        make_folder(path.parent).joinpath(path.name).write_text("".join(f"{line}\n" for line in lines))
        number += len(lines)
    return number
