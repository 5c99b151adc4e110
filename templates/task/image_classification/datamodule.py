"""The data: find the images, split them, vary them, hand them out in batches.

Without a path it is scikit-learn's digits: 1,797 of them, written by hand, 8 x 8 pixels each. Your own images,
in a folder with one folder per class, are a matter of configuration:

    --data.path my_images
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from glob import iglob
from pathlib import Path
from typing import Any, TypedDict

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor

from .engine.errors import InputError, require_positive
from .engine.split import deal

Source = Path | Image.Image  # a file, or an image in memory


class Fitted(TypedDict):
    """What was found out about the training images, in plain values: a checkpoint loads with `weights_only=True`."""

    classes: list[str]  # declared, or the command line would take the class "1" of a checkpoint for a number
    in_channels: int
    image_size: int


class Images(Dataset[tuple[Tensor, Tensor]]):
    """Images, each with a number, read whenever they are asked for.

    Args:
        images: Files, or images in memory.
        numbers: What comes with each, of shape (images,).
        transform: What makes a tensor of one.
    """

    def __init__(self, images: Sequence[Source], numbers: Tensor, transform: v2.Compose) -> None:
        self.images = images
        self.numbers = numbers
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(self.images[index]), self.numbers[index]


def read_image(source: Source, channels: int, size: int) -> Tensor:
    """Read an image: upright, its middle square, on white where it is transparent.

    Args:
        source: A file, or an image in memory.
        channels: 1 of gray, 3 of colour.
        size: Width and height of the result, in pixels.

    Returns:
        Values from 0 to 255, of shape (channels, size, size) and type uint8.

    Raises:
        Exception: If it cannot be read. Pillow does not say of which types.
    """
    mode = "L" if channels == 1 else "RGB"
    with source if isinstance(source, Image.Image) else Image.open(source) as image:
        if image.mode == "F":
            raise ValueError("floating-point pixels, whose range nobody knows")
        if isinstance(source, Path):
            image.draft(mode, (size, size))  # a JPEG may be decoded at a fraction of its size, many times faster
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits, which Pillow would not scale but cut off at 255
        upright = upright.convert("I").point(lambda value: value / 256)
    if upright.has_transparency_data:
        white = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(white, upright.convert("RGBA"))
    square = ImageOps.fit(upright.convert(mode), (size, size), Image.Resampling.BILINEAR)
    return pil_to_tensor(square)


class LitDataModule(LightningDataModule):
    """Images, each of one class.

    Args:
        path: Folder with one folder of images per class; without one, the digits. To predict, any folder of images.
        image_size: Width and height to which images are scaled and cropped, in pixels; by default 8 for the digits,
            64 for a folder.
        grayscale: Whether to drop the colours.
        augment: Whether training sees each image turned, shifted and scaled a little, at random.
        flip: Whether it sees each mirrored, half of the time; not for what has a left and a right, such as digits.
        mean: What to subtract from values of 0 to 1, one number for all channels or one for each.
        std: What to divide by then.
        skip_corrupt: Whether to leave out images that cannot be read.
        num_workers: Processes that read images ahead.
        batch_size: Images per step.
        shuffle: Whether each epoch sees the training images in a new order.
        val_fraction: Share of every class that is kept for validation.
        test_fraction: Share of every class that is kept for the test.
        split_seed: The same seed always gives the same split.
        fitted: What was found out about the training images; comes with a checkpoint.

    Raises:
        InputError: If the folder or an image in it cannot be used.
    """

    # What the model has to know of the data: the command line hands these to its arguments of the same names.
    shapes = ("in_channels", "num_classes")

    def __init__(
        self,
        path: str | None = None,
        image_size: int | None = None,
        grayscale: bool = False,
        augment: bool = True,
        flip: bool = False,
        mean: Sequence[float] = (0.5,),
        std: Sequence[float] = (0.5,),
        skip_corrupt: bool = False,
        num_workers: int = 0,
        batch_size: int = 64,
        shuffle: bool = True,
        val_fraction: float = 0.15,
        test_fraction: float = 0.15,
        split_seed: int = 0,
        fitted: Fitted | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        require_positive("data", batch_size=batch_size, image_size=image_size)
        self.path = path
        self.image_size = image_size
        self.grayscale = grayscale
        self.augment = augment
        self.flip = flip
        self.mean = mean
        self.std = std
        self.skip_corrupt = skip_corrupt
        self.num_workers = num_workers
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed

    @property
    def in_channels(self) -> int:
        """Numbers per pixel: 1 of gray, 3 of colour."""
        return self.fitted["in_channels"]

    @property
    def num_classes(self) -> int:
        """Classes to tell apart."""
        return len(self.fitted["classes"])

    def setup(self, stage: str) -> None:
        """Read every image once, to see that it can be done, and number its class."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.in_channels):
                raise InputError(f"--data.{name} holds {len(values)} numbers: give it 1, or {self.in_channels}")
        if stage == "predict":
            self.names = self._readable(list(self.found))
            return
        classes = self.fitted["classes"]
        for label in sorted(set(self.labels.values()) - set(classes)):
            raise InputError(
                f"{self.path}: class '{label}' was not there in training; there were: {', '.join(classes)}"
            )
        self.names = self._readable(list(self.labels))
        labels = [self.labels[name] for name in self.names]
        for label in sorted(set(self.labels.values()) - set(labels)):
            raise InputError(f"{self.path}: class '{label}' has no image that can be read")
        self.y = torch.tensor([classes.index(label) for label in labels])

    def train_dataloader(self) -> DataLoader:
        return self._load("train", augment=self.augment, shuffle=self.shuffle)

    def val_dataloader(self) -> DataLoader:
        return self._load("val")

    def test_dataloader(self) -> DataLoader:
        return self._load("test")

    def predict_dataloader(self) -> DataLoader:
        """All images in the order of their names, with their row numbers."""
        rows = torch.arange(len(self.names))
        return self._batches(rows, rows)

    def decode(self, prediction: tuple[Tensor, Tensor]) -> dict[str, list[Any]]:
        """Turn scores (n, num_classes) and row numbers (n,) into file, class, and the probability of every class."""
        y_hat, rows = prediction
        classes = self.fitted["classes"]
        columns = y_hat.float().softmax(dim=1).T.tolist()
        return {
            "file": [self.names[row] for row in rows.tolist()],
            "class": [classes[number] for number in y_hat.argmax(dim=1).tolist()],
            **{f"probability_{name}": column for name, column in zip(classes, columns, strict=True)},
        }

    def transform(self, augment: bool) -> v2.Compose:
        """Make what turns an image into a float32 tensor (in_channels, image_size, image_size).

        Args:
            augment: Whether to vary it, so that there is something new to see in every epoch.
        """
        steps: list[Any] = [self.read]
        if augment:
            smooth = v2.InterpolationMode.BILINEAR
            steps.append(v2.RandomAffine(degrees=10, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation=smooth))
            if self.in_channels == 3:
                steps.append(v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2))
            if self.flip:
                steps.append(v2.RandomHorizontalFlip())
        return v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(self.mean, self.std)])

    @property
    def read(self) -> partial[Tensor]:
        """`read_image`, as the model needs it."""
        return partial(read_image, channels=self.in_channels, size=self.image_size or self.fitted["image_size"])

    @cached_property
    def found(self) -> dict[str, Source]:
        """All images by their name, which is their path in the folder."""
        if self.path is None:
            pixels = (self._digits.images * (255 / 16)).round().astype("uint8")
            return {f"digit {row}": Image.fromarray(digit) for row, digit in enumerate(pixels)}
        folder = Path(self.path)
        if not folder.is_dir():
            wrong = "is a file: name the folder around it" if folder.exists() else "there is no such folder"
            raise InputError(f"{self.path}: {wrong}")
        suffixes = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
        # `iglob` passes over what is hidden, such as .ipynb_checkpoints, and follows links.
        paths = [Path(name) for name in iglob("**", root_dir=folder, recursive=True)]
        names = sorted(path.as_posix() for path in paths if path.suffix.lower() in suffixes)
        if not names:
            raise InputError(f"{self.path}: there is no image in this folder, nor in those within")
        return {name: folder / name for name in names}

    @cached_property
    def labels(self) -> dict[str, str]:
        """The class of every image by its name: the folder that it is in."""
        if self.path is None:
            return dict(zip(self.found, map(str, self._digits.target), strict=True))
        labels = {name: name.split("/")[0] for name in self.found if "/" in name}
        if not labels:
            raise InputError(f"{self.path} holds images but no classes: put those of each into a folder of their own")
        for folder in sorted(Path(self.path).iterdir()):
            if folder.is_dir() and not folder.name.startswith(".") and folder.name not in labels.values():
                raise InputError(f"{folder} holds no image: add some, or remove the folder")
        return labels

    @cached_property
    def splits(self) -> dict[str, Tensor]:
        """Row numbers of the three splits, dealt out at random but always alike, to each its share of every class."""
        splits = deal(self.y, self.val_fraction, self.test_fraction, self.split_seed)
        for name, rows in splits.items():
            if len(rows) == 0:
                raise InputError(f"{self.path}: {len(self.y)} images leave 0 for the {name} split: add images")
        for number in sorted(set(self.y.tolist()) - set(self.y[splits["train"]].tolist())):
            raise InputError(
                f"{self.path}: class '{self.fitted['classes'][number]}' has too few images to leave one for the train "
                "split: add images of it, or lower --data.val_fraction and --data.test_fraction"
            )
        return splits

    @cached_property
    def fitted(self) -> Fitted:
        """What was found out about the training images; every checkpoint holds it."""
        if self.hparams["fitted"] is None:
            classes = sorted(set(self.labels.values()))
            if len(classes) == 1:
                raise InputError(f"{self.path} holds one class only, '{classes[0]}': there must be two")
            self.hparams["fitted"] = Fitted(
                classes=classes,
                in_channels=1 if self.grayscale or self.path is None else 3,
                image_size=self.image_size or (8 if self.path is None else 64),
            )
        return self.hparams["fitted"]

    @cached_property
    def _digits(self) -> Any:
        from sklearn.datasets import load_digits  # a slow import that your own data does not need

        return load_digits()

    def _readable(self, names: list[str]) -> list[str]:
        """Leave out, or complain of, what cannot be read."""
        with ThreadPoolExecutor() as pool:  # Pillow lets threads decode at the same time
            flaws = dict(zip(names, pool.map(self._flaw, names), strict=True))
        broken = [name for name in names if flaws[name]]
        if not broken:
            return names
        if not self.skip_corrupt:
            others = f", and {len(broken) - 1} more cannot be read" if len(broken) > 1 else ""
            raise InputError(
                f"{self.found[broken[0]]}: {flaws[broken[0]]}{others}: "
                "mend or remove it, or leave out all such images with --data.skip_corrupt true"
            )
        rank_zero_info(f"left out {len(broken)} of {len(names)} images, which cannot be read: {', '.join(broken)}")
        return [name for name in names if not flaws[name]]

    def _flaw(self, name: str) -> str | None:
        """Say why an image cannot be read, if it cannot."""
        try:
            self.read(self.found[name])
        except UnidentifiedImageError:
            return "this is no image, or a damaged one"
        except Exception as error:  # Pillow's readers raise almost anything
            return f"this image cannot be read, {error}"
        return None

    def _load(self, split: str, augment: bool = False, shuffle: bool = False) -> DataLoader:
        rows = self.splits[split]
        # Of a single image that is left over, BatchNorm could learn nothing.
        drop_last = split == "train" and len(rows) % self.batch_size == 1
        return self._batches(rows, self.y[rows], augment=augment, shuffle=shuffle, drop_last=drop_last)

    def _batches(self, rows: Tensor, numbers: Tensor, augment: bool = False, **options: Any) -> DataLoader:
        images = [self.found[self.names[row]] for row in rows.tolist()]
        return DataLoader(
            Images(images, numbers, self.transform(augment)),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            **options,
        )
