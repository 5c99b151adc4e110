"""The data: images and their classes.

By default it is scikit-learn's digits: 1,797 handwritten ones, 8 x 8 pixels each. Your own images, in one folder per
class, are a config change:

    --data.path my_images
    --data.path my_images --data.labels labels.csv
"""

import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from .data.classes import balanced_weights, class_columns, shares
from .data.fingerprint import fingerprint, fingerprint_of_bytes
from .data.images import (
    MAX_PIXELS,
    ImageLoader,
    Images,
    Source,
    collate_images,
    find_flaws,
    find_images,
    open_image,
    read_image,
    workers_that_pay,
)
from .data.labels import Label, file_labels, folder_labels, require_known_classes, split_images
from .data.split import Splits, require_rows_of_training
from .engine.errors import InputError, require_between, require_positive, require_same


class LitDataModule(LightningDataModule):
    """Normalized images and class numbers, with augmentation in training.

    Args:
        path: Folder with one folder of images per class, perhaps inside folders train, val and test; by default the
            digits. To predict, any folder of images.
        labels: CSV file with columns file (its path in the folder), label and perhaps split, instead of class folders.
        balance: Whether to weight the loss by the inverse frequency of the classes in training.
        image_size: Width and height to scale and crop to, in pixels; by default 8 for the digits, 64 for a folder.
        grayscale: Whether to drop the colors.
        augment: Whether to rotate, shift, scale and (in color) jitter training images at random.
        flip: Whether augmentation also mirrors images horizontally; not for digits or text.
        mean: Mean for normalization of values from 0 to 1, one for all channels or one for each.
        std: Standard deviation for normalization, likewise.
        skip_corrupt: Whether to leave out images that cannot be read.
        num_workers: Worker processes that read images; by default as many as pay in training, none for a small folder.
            They import the script that runs, so guard a script of your own with `if __name__ == "__main__":`.
        batch_size: Images per step.
        shuffle: Whether to reshuffle the training images every epoch.
        val_fraction: Fraction of every class for validation, unless that split is given.
        test_fraction: Fraction of every class for the test, unless that split is given.
        split_seed: Random seed of the split.
        folds: Number of folds of a cross-validation, stratified by class; a given test split stays.
        fold: The fold that is the validation split, from 0.
        cache_dir: Folder that remembers which images can be read.

    Raises:
        InputError: If the folder or an image in it cannot be used.
    """

    def __init__(
        self,
        path: str | None = None,
        labels: str | None = None,
        balance: bool = False,
        image_size: int | None = None,
        grayscale: bool = False,
        augment: bool = True,
        flip: bool = False,
        mean: Sequence[float] = (0.5,),
        std: Sequence[float] = (0.5,),
        skip_corrupt: bool = False,
        num_workers: int | None = None,
        batch_size: int = 64,
        shuffle: bool = True,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        folds: int | None = None,
        fold: int = 0,
        cache_dir: str = ".cache",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        require_positive("data", batch_size=batch_size, std=std)
        require_between("data", 1, math.isqrt(MAX_PIXELS), image_size=8 if image_size is None else image_size)
        require_between("data", 0, None, num_workers=num_workers or 0)
        require_between("data", 0, 2**32 - 1, split_seed=split_seed)  # as scikit-learn takes it, for folds
        if fold and folds is None:
            raise InputError(f"--data.fold {fold}: has no effect without --data.folds; name that too")
        if labels is not None and path is None:
            raise InputError(f"--data.labels {labels}: name the folder of the images with --data.path")
        self.path = path
        self.labels = labels
        self.balance = balance
        self.image_size = image_size
        self.grayscale = grayscale
        self.augment = augment
        self.flip = flip
        self.mean = list(mean)
        self.std = list(std)
        self.skip_corrupt = skip_corrupt
        self.num_workers = num_workers
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.folds = folds
        self.fold = fold
        self.cache_dir = cache_dir

    @property
    def in_channels(self) -> int:
        """Color channels: 1 for grayscale, 3 for RGB."""
        return self.fitted["in_channels"]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.fitted["classes"])

    @property
    def class_weights(self) -> list[float] | None:
        """Weight of every class in the loss; None for equal weights."""
        return balanced_weights(self.fitted["class_counts"]) if self.balance else None

    def setup(self, stage: str) -> None:
        """Find the images that can be read, and number their classes."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.in_channels):
                right = "1" if self.in_channels == 1 else f"1, or {self.in_channels}"
                raise InputError(f"--data.{name} {values}: holds {len(values)} numbers; give it {right}")
        if stage == "predict":
            self.names = self._readable(list(self.found))
            return
        classes = self.fitted["classes"]
        for label in sorted(_class_names(self.found_labels) - set(classes)):
            raise InputError(f"{self.origin}: class '{label}', unseen in training; known: {', '.join(classes)}")
        require_rows_of_training(self.fitted["images"], len(self.found_labels), self.origin, kind="images")
        self.names = list(self.labeled)
        self.y = torch.tensor([classes.index(label.name) for label in self.labeled.values()])
        if stage == "fit":
            self._tell()

    def train_dataloader(self) -> DataLoader:
        return self._loader("train", augment=self.augment, shuffle=self.shuffle)

    def val_dataloader(self) -> DataLoader:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader:
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader:
        """All images in the order of their names, without labels."""
        return self._batches(range(len(self.names)))

    def state_dict(self) -> dict[str, Any]:
        """Return the classes and image settings, for the checkpoint."""
        return self.fitted

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the classes and image settings.

        Raises:
            InputError: If the settings contradict it.
        """
        trained = dict(state_dict["settings"])
        if trained.pop("path") != self.path:  # another folder has its own split
            shared = ("image_size", "grayscale", "mean", "std", "balance")
            trained = {name: value for name, value in trained.items() if name in shared}
            state_dict = state_dict | {"images": None}
        require_same(self._settings, trained)
        self.fitted = state_dict

    def decode(self, prediction: Tensor, rows: Sequence[int]) -> dict[str, list[Any]]:
        """Turn logits (n, num_classes) into the file, the predicted class and the probability of each."""
        files = [self.names[row] for row in rows]
        return {"file": files, **class_columns(prediction, "class", self.fitted["classes"])}

    def describe_data(self) -> dict[str, Any]:
        """Describe the images and the size of every split, for run.json in the run's folder."""
        if self.path is None:
            sources = [fingerprint_of_bytes(self.origin, self._digits.images.tobytes())]
        else:
            sources = [fingerprint(self.path, [image for image in self.found.values() if isinstance(image, Path)])]
            sources += [fingerprint(self.labels, [self.labels])] if self.labels else []
        return {
            "sources": sources,
            "rows": {split: len(rows) for split, rows in self.splits.items()},
            "train_rows_by_class": dict(zip(self.fitted["classes"], self.fitted["class_counts"], strict=True)),
        }

    def name_rows(self, rows: Sequence[int]) -> list[str]:
        """Name images of the training split by their file."""
        return [self.names[position] for position in self.splits["train"][list(rows)].tolist()]

    def transform(self, augment: bool) -> v2.Compose:
        """Make the transform of an image into uint8 of shape (in_channels, image_size, image_size).

        Args:
            augment: Whether to augment.
        """
        steps: list[Any] = [partial(open_image, channels=self.in_channels, size=self.fitted["image_size"])]
        if augment:
            smooth = v2.InterpolationMode.BILINEAR
            steps.append(v2.RandomAffine(degrees=10, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation=smooth))
            if self.in_channels == 3:
                steps.append(v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2))
            if self.flip:
                steps.append(v2.RandomHorizontalFlip())
        return v2.Compose([*steps, v2.PILToTensor()])  # last: Pillow turns small images three times as fast

    @property
    def normalize(self) -> v2.Compose:
        """The transform of a batch into normalized float32: a batch at a time, which is faster than each image."""
        return v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(self.mean, self.std)])

    @cached_property
    def workers(self) -> int:
        """Number of worker processes."""
        if self.num_workers is not None or self.trainer is None or self.trainer.state.fn != "fit":
            return self.num_workers or 0
        count = workers_that_pay([self.found[name] for name in self.names], self.read)
        if count:
            rank_zero_info(f"images are read by {count} worker processes; --data.num_workers sets their number")
        return count

    @property
    def read(self) -> partial[Tensor]:
        """`read_image` at the size and with the channels that the model takes."""
        return partial(read_image, channels=self.in_channels, size=self.fitted["image_size"])

    @cached_property
    def found(self) -> dict[str, Source]:
        """All images by name; for a folder, the path in it."""
        if self.path is not None:
            return find_images(self.path)
        pixels = (self._digits.images * (255 / 16)).round().astype("uint8")
        return {f"digit {row}": Image.fromarray(digit) for row, digit in enumerate(pixels)}

    @cached_property
    def found_labels(self) -> dict[str, Label]:
        """The class of every image by name, and its split where it is given."""
        if self.path is None:
            return {name: Label(str(digit)) for name, digit in zip(self.found, self._digits.target, strict=True)}
        labels = (
            folder_labels(self.path, self.found)
            if self.labels is None
            else file_labels(self.labels, self.path, self.found)
        )
        require_known_classes(labels, self.origin)
        return labels

    @cached_property
    def labeled(self) -> dict[str, Label]:
        """The same without images that cannot be read."""
        labels = {name: self.found_labels[name] for name in self._readable(list(self.found_labels))}
        for label in sorted(_class_names(self.found_labels) - _class_names(labels)):
            raise InputError(f"{self.origin}: class '{label}' has no image that can be read")
        return labels

    @cached_property
    def splits(self) -> Splits:
        """Row numbers of the three splits in `labeled`: as given, or at random or in folds, stratified by class."""
        labels = list(self.labeled.values())
        fractions = (self.val_fraction, self.test_fraction)
        return split_images(labels, *fractions, self.split_seed, self.origin, self.folds, self.fold)

    @cached_property
    def fitted(self) -> dict[str, Any]:
        """What was found in the images, as plain values: checkpoints load with `weights_only=True`."""
        classes = sorted(_class_names(self.found_labels))
        if len(classes) == 1:
            raise InputError(f"{self.origin} holds a single class, '{classes[0]}'; there must be two")
        given = {label.split for label in self.found_labels.values()}
        return {
            "settings": self._settings,
            "images": None if {"val", "test"} <= given else len(self.found_labels),  # which a random split depends on
            "classes": classes,
            "class_counts": [self._class_sizes[name] for name in classes],
            "in_channels": 1 if self.grayscale or self.path is None else 3,
            "image_size": self.image_size or (8 if self.path is None else 64),
        }

    @property
    def origin(self) -> str:
        """Name of the data in messages."""
        return self.labels or self.path or "the digits"

    @property
    def _settings(self) -> dict[str, Any]:
        """The settings that decide what the model sees."""
        splits = ("val_fraction", "test_fraction", "split_seed", "folds", "fold")
        images = ("path", "labels", "balance", "image_size", "grayscale", "mean", "std")
        return {name: getattr(self, name) for name in (*images, *splits)}

    @property
    def _class_sizes(self) -> Counter[str]:
        """Number of training images by class."""
        labels = list(self.labeled.values())
        return Counter(labels[row].name for row in self.splits["train"].tolist())

    def _tell(self) -> None:
        """Say which splits are given, how many images are left out, and how frequent the classes are."""
        given = {label.split for label in self.found_labels.values()} - {None}
        if given:
            rank_zero_info(f"splits given by {self.origin}: {', '.join(name for name in self.splits if name in given)}")
        unlabeled = [name for name in self.found if name not in self.found_labels]
        if unlabeled:
            count = f"{len(unlabeled)} of {len(self.found)}"
            rank_zero_info(f"left out {count} images, which have no class in {self.origin}, such as {unlabeled[0]}")
        rank_zero_info(shares(self.fitted["classes"], self.fitted["class_counts"], self.balance, kind="images"))

    @cached_property
    def _digits(self) -> Any:
        from sklearn.datasets import load_digits  # a slow import, only for the default dataset

        return load_digits()

    def _readable(self, names: list[str]) -> list[str]:
        """Leave out corrupt images, or raise an error for them."""
        flaws = find_flaws({name: self.found[name] for name in names}, self.path or "", self.cache_dir)
        broken = list(flaws)
        if not broken:
            return names
        if not self.skip_corrupt:
            others = f", and {len(broken) - 1} more cannot be read" if len(broken) > 1 else ""
            raise InputError(
                f"{self.found[broken[0]]}: {flaws[broken[0]]}{others}; "
                "fix or remove it, or leave out all such images with --data.skip_corrupt true"
            )
        rank_zero_info(f"left out {len(broken)} of {len(names)} images that cannot be read: {', '.join(broken)}")
        return [name for name in names if name not in flaws]

    def _loader(self, split: str, augment: bool = False, shuffle: bool = False) -> DataLoader:
        rows = self.splits[split]
        # BatchNorm cannot train on a single image.
        drop_last = split == "train" and len(rows) % self.batch_size == 1
        return self._batches(rows.tolist(), self.y[rows], augment=augment, shuffle=shuffle, drop_last=drop_last)

    def _batches(
        self, rows: Sequence[int], labels: Tensor | None = None, augment: bool = False, **options: Any
    ) -> DataLoader:
        images = Images([self.found[self.names[row]] for row in rows], self.transform(augment), labels)
        collate = partial(collate_images, normalize=self.normalize)
        return ImageLoader(images, self.workers, batch_size=self.batch_size, collate_fn=collate, **options)


def _class_names(labels: dict[str, Label]) -> set[str]:
    return {label.name for label in labels.values()}
