"""Write checkpoints so that neither a kill nor a full disk ever damages one, and notice damage."""

import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from .errors import InputError

UNFINISHED = ".unfinished"


class DurableCheckpointIO(TorchCheckpointIO):
    """Write beside the file, sync, and rename; Lightning goes through TMPDIR, perhaps on another disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        if "://" in str(path):  # an object store replaces files as a whole
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = Path(path)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}{UNFINISHED}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
            _sync_folder(path.parent)
        except (OSError, RuntimeError) as error:  # PyTorch wraps those of the operating system
            kept = f"{path.name} is still the one before" if path.exists() else f"there is no {path.name} yet"
            raise InputError(f"{path.parent}: cannot write a checkpoint, {_reason(error)}; {kept}") from error
        finally:
            unfinished.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what a killed process left unfinished."""
    for unfinished in folder.glob(f".*{UNFINISHED}"):
        unfinished.unlink(missing_ok=True)


def require_space(folder: Path, size: int) -> None:
    """Try to write into the folder of checkpoints before training starts.

    Args:
        folder: The folder; it is made.
        size: Bytes that a checkpoint takes at least.

    Raises:
        InputError: If the folder cannot be written, or has less space.
    """
    probe = folder / f".probe{UNFINISHED}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"\0")
        available = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize if hasattr(os, "statvfs") else size
    except OSError as error:
        raise InputError(f"{folder}: cannot write checkpoints, {_reason(error)}") from error
    finally:
        probe.unlink(missing_ok=True)
    if available < size:
        raise InputError(f"{folder}: {available:,} bytes are free, but a checkpoint takes at least {size:,}")


def require_whole(path: Path) -> None:
    """Compare every byte of a checkpoint with its checksums, which PyTorch writes but does not read.

    Raises:
        InputError: If it is empty, truncated or changed.
    """
    with path.open("rb") as file:
        start = file.read(2)
    if not start:
        raise InputError(f"{path}: empty")
    if start != b"PK":
        return  # no zip archive: a format of earlier versions, or not a checkpoint
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception:  # what a damaged header raises depends on where it is
        damaged = "its table of contents"
    if damaged:
        raise InputError(f"{path}: damaged, or not written to the end ({damaged.rpartition('/')[2]})")


def _reason(error: BaseException) -> str:
    causes = [error, error.__cause__, error.__context__]
    system = next((cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror), None)
    return system or str(error).splitlines()[0]


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where folders can be opened (not on Windows)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
