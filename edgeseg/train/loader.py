"""Training batches: pictures read and augmented in worker processes that start once for a run."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from edgeseg.card.train import Train
from edgeseg.data.augment import Augmenter
from edgeseg.data.label_map import MASK_STRIDE, boxes, label_map, object_maps
from edgeseg.data.labelled import Labelled
from edgeseg.errors import EdgesegError
from edgeseg.train.batch import Batch
from edgeseg.train.guards import worker_error
from edgeseg.train.sampler import BatchKeys, BatchOrder, InputSizes, Key


class Pictures(Protocol):
    """A data set as training reads it, such as `edgeseg.data.labelled_set.LabelledSet`; pickle takes it."""

    def __len__(self) -> int:
        """How many pictures there are."""

    def load(self, index: int) -> Labelled:
        """One picture with its objects."""

    def path(self, index: int) -> Path:
        """The file of that picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One picture of a batch, of N objects.

    Attributes:
        image: (3, H, W) uint8, RGB.
        label_map: (H / 4, W / 4) int16, as in `Batch`.
        class_ids: (N,) int64.
        boxes: (N, 4) float32 xyxy, input px.
        name: which picture it is.
        object_maps: (N, H / 4, W / 4) bool, as in `Batch`.
    """

    image: NDArray[np.uint8]
    label_map: NDArray[np.int16]
    class_ids: NDArray[np.int64]
    boxes: NDArray[np.float32]
    name: str
    object_maps: NDArray[np.bool_] | None = None


class AugmentedPictures(Dataset[Item | EdgesegError]):
    """Augmented pictures by `Key`; the same key gives the same bytes in any process.

    Args:
        pictures: what to read.
        augmenter: what to do with them.
        class_map: the card's class id of each class id of `pictures`.
        seed: of the augmentation.
        separate: whether every object keeps a mask of its own.
    """

    def __init__(
        self, pictures: Pictures, augmenter: Augmenter, class_map: Sequence[int], seed: int, *, separate: bool = False
    ) -> None:
        self.pictures = pictures
        self.augmenter = augmenter
        self.class_map = np.asarray(class_map, np.int64)
        self.seed = seed
        self.separate = separate

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: Key) -> Item | EdgesegError:
        """The picture of a key, or the error to raise where the training runs.

        An error that crosses processes the way torch sends it would lose its hint and gain a trace as its message.
        """
        try:
            return self._item(key)
        except EdgesegError as error:
            return error

    def _item(self, key: Key) -> Item:
        size = key.height, key.width
        random = np.random.default_rng([self.seed, key.epoch, key.position])
        found = self.augmenter(self.pictures.load, key.picture, len(self), size, random, key.mosaic)
        return Item(
            image=np.ascontiguousarray(found.picture.transpose(2, 0, 1)),
            label_map=label_map(found.objects, size, MASK_STRIDE),
            class_ids=self.class_map[found.class_ids],
            boxes=boxes(found.objects),
            name=str(self.pictures.path(key.picture)),
            object_maps=object_maps(found.objects, size, MASK_STRIDE) if self.separate else None,
        )


def collate(items: Sequence[Item | EdgesegError]) -> Batch | EdgesegError:
    """Put pictures together to a batch; the first error where there is one."""
    good = [item for item in items if isinstance(item, Item)]
    if len(good) < len(items):
        return next(item for item in items if isinstance(item, EdgesegError))
    counts = [len(item.class_ids) for item in good]
    own = [item.object_maps for item in good if item.object_maps is not None]
    return Batch(
        images=torch.from_numpy(np.stack([item.image for item in good])),
        label_maps=torch.from_numpy(np.stack([item.label_map for item in good])),
        picture_of=torch.from_numpy(np.repeat(np.arange(len(good), dtype=np.int64), counts)),
        number=torch.from_numpy(np.concatenate([np.arange(count, dtype=np.int64) for count in counts])),
        class_ids=torch.from_numpy(np.concatenate([item.class_ids for item in good])),
        boxes=torch.from_numpy(np.concatenate([item.boxes for item in good])),
        names=tuple(item.name for item in good),
        object_maps=torch.from_numpy(np.concatenate(own)) if own else None,
    )


class Loader:
    """The batches of one process, epoch by epoch; while one is learned, workers prepare the next.

    Args:
        pictures: the training set.
        order: which pictures come when.
        settings: the recipe: epochs, seed, augmentation.
        image_size: (height, width) px.
        class_map: the card's class id of each class id of `pictures`.
        pin: whether batches are put into page-locked memory, from which copies to a CUDA device are fast.
        workers: processes that prepare them; 0 prepares each when it is asked for.
    """

    def __init__(  # noqa: PLR0913 - what batches depend on
        self,
        pictures: Pictures,
        order: BatchOrder,
        settings: Train,
        image_size: tuple[int, int],
        class_map: Sequence[int],
        pin: bool = False,
        workers: int = 0,
    ) -> None:
        self.steps_per_epoch = order.steps_per_epoch
        self._order = order
        self._settings = settings
        self._sizes = InputSizes(image_size, settings.augmentation.multi_scale, settings.seed)
        separate = settings.overlap_masks == "separate"
        augmenter = Augmenter(settings.augmentation)
        self._dataset = AugmentedPictures(pictures, augmenter, class_map, settings.seed, separate=separate)
        self._pin = pin
        self._workers = workers
        self._next = (0, 0)
        self._batches: Iterator[Batch | EdgesegError] = iter(())

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch.

        Epochs that follow each other are read ahead without a stop; any other order starts the workers anew.

        Args:
            epoch: 1-based.
            first_step: 0-based; those before it are not read.

        Raises:
            SourceError: a picture or annotation that cannot be read.
            StageError: ``train_failed``: a worker died.
        """
        if self._next != (epoch, first_step):
            self.close()
            self._batches = self._from((epoch, first_step))
        for step in range(first_step, self.steps_per_epoch):
            batch = self._take()
            self._next = (epoch, step + 1) if step + 1 < self.steps_per_epoch else (epoch + 1, 0)
            yield batch

    def close(self) -> None:
        """End the workers. The next epoch starts them again."""
        # torch's iterator ends them when it goes.
        self._batches = iter(())
        self._next = (0, 0)

    def _take(self) -> Batch:
        try:
            found = next(self._batches)
        except RuntimeError as error:
            refused = worker_error(error)
            if refused is None:
                raise
            raise refused from error
        if isinstance(found, EdgesegError):
            raise found
        return found

    def _from(self, start: tuple[int, int]) -> Iterator[Batch | EdgesegError]:
        settings = self._settings
        keys = BatchKeys(self._order, self._sizes, settings.epochs, settings.augmentation.close_mosaic, start)
        loader: DataLoader[Item | EdgesegError] = DataLoader(
            self._dataset,
            batch_sampler=keys,
            num_workers=self._workers,
            collate_fn=collate,
            pin_memory=self._pin,
            worker_init_fn=_start_worker,
            # A fork would copy the locks of torch's threads in whatever state they are.
            multiprocessing_context="spawn" if self._workers else None,
            # Else torch's generator of the main process would be drawn from, more often after a resume.
            generator=torch.Generator().manual_seed(settings.seed),
        )
        return iter(loader)


def _start_worker(number: int) -> None:
    """One thread in each worker; Ctrl-C is the main process's to answer, which ends the workers."""
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
