"""Data sets opened by what their file is, through the index cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgeseg.data import index_cache
from edgeseg.data.coco import find_images, read_coco
from edgeseg.data.dataset import Dataset
from edgeseg.data.notes import log_notes
from edgeseg.data.yolo_seg import read_yolo
from edgeseg.data.yolo_yaml import list_pictures, read_yaml
from edgeseg.errors import SourceError, UsageError


def open_dataset(source: Path, *, split: str = "val", images: Path | None = None, strict: bool = True) -> Dataset:
    """Open a COCO instances json or a YOLO-seg yaml.

    Args:
        source: the file; its kind is told from it.
        split: part of a YOLO-seg set; a COCO json is one part, whatever is asked.
        images: folder of a COCO set's pictures; None looks in the json's own folder, `images/` beside it,
            `../images/<stem>`, `../images` and `../<stem>`.
        strict: refuse label lines, annotations and pictures that cannot be read; else they are left out, and each is
            named in a note.

    Raises:
        SourceError: no such file, no data set, or something in it that cannot be read: names file and line or row.
        UsageError: the set has no such split, or has its pictures named in the yaml and in `images`.
    """
    dataset = read_dataset(Path(source), split=split, images=images, strict=strict)
    log_notes(source, dataset.notes)
    return dataset


def read_dataset(source: Path, *, split: str = "val", images: Path | None = None, strict: bool = True) -> Dataset:
    """As `open_dataset`, for a caller that says the notes itself: they are not logged."""
    if not source.is_file():
        raise SourceError(f"{source}: {_what_is_there(source)}, expected a COCO .json or a YOLO-seg .yaml")
    openers = {".json": _open_coco, ".yaml": _open_yolo, ".yml": _open_yolo}
    opener = openers.get(source.suffix.lower())
    if opener is None:
        raise SourceError(
            f"{source}: a data set is told from its file, expected a COCO .json or a YOLO-seg .yaml",
            hint="`edgeseg data convert` reads LabelMe, VIA and mask PNGs",
        )
    return opener(source, split, images, strict)


def _open_coco(source: Path, split: str, images: Path | None, strict: bool) -> Dataset:
    try:
        data = source.read_bytes()
    except OSError as error:
        raise SourceError(f"{source}: cannot be read: {error.strerror or error}") from error
    kind = _kind("coco", strict)
    name, key = f"{kind} {source.absolute()}", index_cache.key_of(kind, hashlib.sha256(data).hexdigest())
    index = index_cache.load(name, key)
    if index is None:
        index = read_coco(data, source, images, strict=strict)
        # What comes from picture files is not in the key.
        if not any("picture file" in note for note in index.notes):
            index_cache.save(name, key, index)
    return Dataset(index, find_images(source, index.paths, images), source, "coco")


def _open_yolo(source: Path, split: str, images: Path | None, strict: bool) -> Dataset:
    if images is not None:
        raise UsageError(f"{source}: the yaml names its own pictures, expected no other folder of pictures")
    content = read_yaml(source)
    listed = list_pictures(content, split, strict=strict)
    kind = _kind("yolo-seg", strict)
    name = f"{kind} {split} {source.absolute()}"
    key = index_cache.key_of(kind, str(content.root), *content.names, listed.sha256)
    index = index_cache.load(name, key)
    if index is None:
        index = read_yolo(content, listed, strict=strict)
        index_cache.save(name, key, index)
    return Dataset(index, content.root, source, "yolo-seg")


def _kind(format_: str, strict: bool) -> str:
    """What an entry of the index cache begins with: a set that is read leniently is another one."""
    return format_ if strict else f"{format_} lenient"


def _what_is_there(source: Path) -> str:
    if not source.exists():
        return "no such file"
    if not source.is_dir():
        return "no regular file"
    found = sorted(entry.name for entry in source.iterdir() if entry.suffix in (".json", ".yaml", ".yml"))
    return "a folder" + (f" with {', '.join(found[:3])} in it" if found else "")
