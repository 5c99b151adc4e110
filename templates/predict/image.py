"""Classify images with an exported model, with NumPy and ONNX Runtime; Pillow decodes image files.

    python predict.py one.png two.jpg > predictions.csv

It needs model.onnx and model.json in its folder. In Python:

    from predict import Predictor

    Predictor(".").predict(["one.png"])
"""

import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

MAX_PIXELS = 178_956_970  # where Pillow takes an image for a decompression bomb


class Predictor:
    """An exported model of images.

    Args:
        folder: Folder of model.onnx and model.json.

    Attributes:
        about: The content of model.json.
    """

    def __init__(self, folder: Path | str) -> None:
        self.about, self.session = open_model(folder)
        image = self.about.get("image", {})
        self.size, self.channels = image.get("size"), image.get("channels")

    def predict(self, rows: Sequence[Any], batch_size: int = 64) -> dict[str, list[Any]]:
        """Predict for images.

        Args:
            rows: Paths, contents of image files, or uint8 arrays of shape (height, width) or (height, width, channels).
            batch_size: Images that are run together.

        Returns:
            Columns by name: the file, if rows are paths, the class and the probability of each class.

        Raises:
            InputError: If an image cannot be read.
        """
        files = [str(row) for row in rows if isinstance(row, (str, Path))]
        columns = predict_in_batches(self, rows, batch_size)
        return {"file": files, **columns} if len(files) == len(rows) else columns

    def read(self, paths: Sequence[str]) -> list[Any]:
        """List images: files, and those in folders; or read the rows of .npz files for a model of plain arrays."""
        if self.size is None:
            return read_arrays(paths)
        files = [sorted(path.rglob("*.*")) if path.is_dir() else [path] for path in map(Path, paths)]
        return [file for group in files for file in group]

    def encode(self, rows: Sequence[Any], first: int = 1) -> dict[str, np.ndarray]:
        """Turn images into uint8 of shape (images, channels, size, size).

        Args:
            rows: As for `predict`.
            first: Number of the first one, for messages.

        Raises:
            InputError: If one cannot be read.
        """
        if self.size is None:
            return stack(rows, self.about)
        images = np.empty((len(rows), self.channels, self.size, self.size), dtype=np.uint8)
        for position, row in enumerate(rows):
            where = (str(row), None) if isinstance(row, (str, Path)) else ("image", first + position)
            try:
                images[position] = self._pixels(row)
            except ImportError:
                raise InputError("image files need Pillow: python -m pip install pillow", *where) from None
            except Exception as error:  # Pillow's readers raise almost anything
                flaw = "is not an image, or a damaged one" if "cannot identify" in str(error) else str(error)
                raise InputError(flaw, *where) from None
        return {"images": images}

    def decode(self, outputs: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """Turn outputs into columns."""
        if "probabilities" in outputs:
            scores, classes = outputs["probabilities"], self.about["classes"]
            names = [classes[number] for number in scores.argmax(axis=1)]
            columns = {f"probability_{name}": scores[:, number].tolist() for number, name in enumerate(classes)}
            return {self.about["targets"][0]: names, **columns}
        return plain_columns(outputs)

    def _pixels(self, row: Any) -> np.ndarray:
        """Read an image as in training: EXIF-rotated, center-cropped, composited on white."""
        from PIL import Image, ImageOps

        mode = "L" if self.channels == 1 else "RGB"
        Image.MAX_IMAGE_PIXELS = None  # checked below, without Pillow's warning at half of it
        source = io.BytesIO(row) if isinstance(row, bytes) else row
        opened = Image.fromarray(row) if isinstance(row, np.ndarray) else Image.open(source)
        with opened as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS:,}")
            if image.mode == "F":
                raise ValueError("holds floating-point pixels of unknown range")
            image.draft(mode, (self.size, self.size))
            upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255 instead of scaling
            upright = upright.convert("I").point(lambda value: value / 256)
        if upright.has_transparency_data:
            white = Image.new("RGBA", upright.size, "white")
            upright = Image.alpha_composite(white, upright.convert("RGBA"))
        square = ImageOps.fit(upright.convert(mode), (self.size, self.size), Image.Resampling.BILINEAR)
        return np.asarray(square).reshape(self.size, self.size, self.channels).transpose(2, 0, 1)
