"""A data set divided into parts for training, validation and testing: new annotation files, the same pictures.

Pictures of the same bytes, or of the same group, stay together. COCO rows are passed on as they are.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from edgeseg.data.check_duplicates import content_hash
from edgeseg.data.dataset import Dataset
from edgeseg.data.new_set import new_set
from edgeseg.data.open import open_dataset
from edgeseg.data.split_assign import assign
from edgeseg.data.yolo_yaml import label_path
from edgeseg.errors import SourceError, UsageError
from edgeseg.files import make_folder, write_atomically


@dataclass(frozen=True)
class SplitOptions:
    """How to divide.

    Attributes:
        val: share of the pictures to validate on, above 0.
        test: share to test on; 0 makes no such part.
        seed: another one divides otherwise.
        group: regular expression; pictures stay together for whose path from the set's folder it matches the same
            text, that of its first group where it has one. None puts each picture by itself.
        copy: copy the pictures, too; else the new files point to where they are.

    Raises:
        UsageError: shares that leave nothing for training, or no regular expression.
    """

    val: float = 0.2
    test: float = 0.0
    seed: int = 0
    group: str | None = None
    copy: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.val < 1 and 0 <= self.test < 1 and self.val + self.test < 1):
            raise UsageError(f"split: val {self.val:g}, test {self.test:g}, expected shares above 0 of sum below 1")
        try:
            re.compile(self.group or "")
        except re.error as error:
            raise UsageError(f"split: group {self.group!r} is no regular expression: {error}") from error

    @property
    def shares(self) -> dict[str, float]:
        """Part to share, of sum 1."""
        shares = {"train": 1 - self.val - self.test, "val": self.val, "test": self.test}
        return {part: share for part, share in shares.items() if share}


@dataclass(frozen=True)
class SplitResult:
    """What was written.

    Attributes:
        names: class names by class id.
        sources: part to what opens it: its COCO json, or the one yaml of all parts.
        pictures: part to number of pictures.
        objects: part to number of objects of each class, by class id.
        together: pictures that are with another one because their bytes are the same.
    """

    names: tuple[str, ...]
    sources: Mapping[str, Path]
    pictures: Mapping[str, int]
    objects: Mapping[str, tuple[int, ...]]
    together: int


def split_dataset(
    source: Path, folder: Path, options: SplitOptions, *, split: str = "train", images: Path | None = None
) -> SplitResult:
    """Divide a data set; annotations are written last, and a run that was killed is started over by the next.

    Args:
        source: a COCO json or a YOLO-seg yaml.
        folder: a new or empty one. COCO: `annotations/<part>.json`; YOLO-seg: `data.yaml` with `<part>.txt`, or with
            copies `images/<part>/` and `labels/<part>/`.
        options: how to divide.
        split: part of a YOLO-seg set that is divided.
        images: folder of a COCO set's pictures; None where it is looked for.

    Raises:
        SourceError: the set cannot be read, or has too few pictures or groups for so many parts.
        UsageError: a picture that the group's expression does not match, or two of one name to copy.
        OutputError: the folder is not empty, or cannot be written.
    """
    dataset = open_dataset(source, split=split, images=images)
    paths = [sample.path for sample in dataset]
    class_ids = [[annotation.class_id for annotation in sample.annotations] for sample in dataset]
    group_of, together = _groups(dataset, paths, options.group)
    part_of = _parts(group_of, class_ids, len(dataset.names), options, source)
    chosen = {part: np.flatnonzero(part_of == number).tolist() for number, part in enumerate(options.shares)}
    if options.copy:
        _refuse_same_names(paths)
    with new_set(folder):
        write = _write_coco if dataset.kind == "coco" else _write_yolo
        placed = {part: _placed(folder / "images" / part, [paths[i] for i in places], options.copy)
                  for part, places in chosen.items()}  # fmt: skip
        sources = write(dataset, folder, chosen, placed)
    counts = {part: Counter(key for place in places for key in class_ids[place]) for part, places in chosen.items()}
    objects = {part: tuple(count[key] for key in range(len(dataset.names))) for part, count in counts.items()}
    return SplitResult(dataset.names, sources, {p: len(places) for p, places in chosen.items()}, objects, together)


def _groups(dataset: Dataset, paths: list[Path], expression: str | None) -> tuple[list[int], int]:
    """The group of each picture, and how many are with another one because of their bytes."""
    leader = list(range(len(paths)))

    def find(place: int) -> int:
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = leader[place]
        return place

    def join(key_of: Callable[[int], Hashable], places: list[int]) -> int:
        first: dict[Hashable, int] = {}
        for place in places:
            leader[find(place)] = find(first.setdefault(key_of(place), place))
        return len(places) - len(first)

    if expression is not None:
        keys = [_group_key(expression, _from_root(path, dataset.root)) for path in paths]
        join(keys.__getitem__, list(range(len(paths))))
    together = join(lambda place: content_hash(paths[place]), _of_equal_length(paths))
    return [find(place) for place in range(len(paths))], together


def _of_equal_length(paths: list[Path]) -> list[int]:
    """Pictures that have as many bytes as another one: only those can be the same."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for place, path in enumerate(paths):
        try:
            by_length[path.stat().st_size].append(place)
        except OSError as error:
            hint = "`edgeseg data check` lists all that is wrong in a data set"
            raise SourceError(f"{path}: cannot be read: {error.strerror}", hint=hint) from error
    return [place for places in by_length.values() if len(places) > 1 for place in places]


def _group_key(expression: str, path: str) -> str:
    found = re.search(expression, path)
    if found is None:
        raise UsageError(
            f"split: the group {expression!r} matches nothing in {path}", hint="write one that matches every picture"
        )
    return str(found[1] if found.re.groups else found[0])


def _from_root(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _parts(
    group_of: list[int], class_ids: list[list[int]], classes: int, options: SplitOptions, source: Path
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The number of each picture's part."""
    groups, member = np.unique(group_of, return_inverse=True)
    shares = options.shares
    if len(groups) < len(shares):
        raise SourceError(
            f"{source}: {len(group_of)} pictures in {len(groups)} groups, expected at least one for each of "
            + ", ".join(shares)
        )
    counts = np.zeros((len(groups), classes), np.int64)
    for place, ids in zip(member.tolist(), class_ids, strict=True):
        counts[place, list(set(ids))] += 1
    rng = np.random.default_rng(options.seed)
    dealt = assign(counts, np.bincount(member), np.array(list(shares.values())), rng)
    empty = [part for number, part in enumerate(shares) if number not in dealt]
    if empty:
        raise SourceError(
            f"{source}: nothing is left for {', '.join(empty)} of {len(group_of)} pictures in {len(groups)} groups",
            hint="ask for a larger share, or make smaller groups",
        )
    return np.asarray(dealt[member])


def _refuse_same_names(paths: list[Path]) -> None:
    # Labels go by the stem, and some disks know no case.
    name, number = Counter(path.stem.lower() for path in paths).most_common(1)[0]
    if number > 1:
        raise UsageError(f"split: {number} pictures have the name {name!r}", hint="leave out --copy")


def _placed(folder: Path, paths: list[Path], copy: bool) -> list[Path]:
    """Where the pictures of a part are, after copying them where that was asked."""
    if not copy:
        return paths
    make_folder(folder)
    return [Path(shutil.copyfile(path, folder / path.name)) for path in paths]


def _write_coco(
    dataset: Dataset, folder: Path, chosen: Mapping[str, list[int]], placed: Mapping[str, list[Path]]
) -> dict[str, Path]:
    content = json.loads(dataset.source.read_bytes())
    rows = {row["id"]: row for row in content["images"]}
    annotations: dict[int, list[Any]] = defaultdict(list)
    for row in content["annotations"]:
        annotations[row["image_id"]].append(row)
    ids = [sample.image_id for sample in dataset]
    place_of = folder / "annotations"
    sources = {}
    for part, places in chosen.items():
        images = [
            {**rows[ids[place]], "file_name": path.name if path.is_relative_to(folder) else _relative(path, place_of)}
            for place, path in zip(places, placed[part], strict=True)
        ]
        kept = [row for image in images for row in annotations[image["id"]]]
        sources[part] = place_of / f"{part}.json"
        write_atomically(sources[part], json.dumps({**content, "images": images, "annotations": kept}).encode())
    return sources


def _write_yolo(
    dataset: Dataset, folder: Path, chosen: Mapping[str, list[int]], placed: Mapping[str, list[Path]]
) -> dict[str, Path]:
    entries = {}
    sources = [sample.path for sample in dataset]
    for part, places in chosen.items():
        if placed[part][0].is_relative_to(folder):
            entries[part] = f"images/{part}"
            make_folder(folder / "labels" / part)
            for place, path in zip(places, placed[part], strict=True):
                label = Path(label_path(str(sources[place])))
                if label.is_file():
                    shutil.copyfile(label, folder / "labels" / part / f"{path.stem}.txt")
        else:
            entries[part] = f"{part}.txt"
            # Other readers take a line for relative to its list only where it begins so.
            lines = [f"./{_relative(path, folder)}\n" for path in placed[part]]
            write_atomically(folder / entries[part], "".join(lines).encode())
    path = folder / "data.yaml"
    names = dict(enumerate(dataset.names))
    write_atomically(path, yaml.safe_dump({**entries, "names": names}, sort_keys=False, allow_unicode=True).encode())
    return dict.fromkeys(chosen, path)


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()
