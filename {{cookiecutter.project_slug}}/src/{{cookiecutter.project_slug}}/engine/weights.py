"""Whether the weights of a checkpoint fit a model: their names and shapes, before anything is written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.nn.parameter import is_lazy

from .errors import InputError


def require_matching_weights(model: LightningModule, saved: Mapping[str, Any], path: Path) -> None:
    """Reject a checkpoint whose weights do not fit a model, unless one of the model's own hooks may change either.

    Args:
        model: A model as its `__init__` left it.
        saved: The checkpoint's state_dict.
        path: The checkpoint, for the message.

    Raises:
        InputError: If a name is missing on either side, or a shape differs.
    """
    if is_overridden("on_load_checkpoint", model) or is_overridden("load_state_dict", model):
        return
    own = model.state_dict()
    grows = is_overridden("setup", model) or is_overridden("configure_model", model)
    missing = own.keys() - saved.keys() if model.strict_loading else set()
    unexpected = saved.keys() - own.keys() if model.strict_loading and not grows else set()
    reshaped = {name for name in own.keys() & saved.keys() if _shape(own[name]) not in (None, _shape(saved[name]))}
    for names, flaw in (
        (reshaped, "has another shape"),
        (missing, "is missing from the checkpoint"),
        (unexpected, "is not in the model"),
    ):
        if names:
            hint = "drop the --model options that change its layers, or --ckpt_path"
            raise InputError(f"--ckpt_path {path} does not fit the model: {min(names)} {flaw}; {hint}")


def _shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of a tensor; None if it has none yet."""
    return None if is_lazy(value) or not hasattr(value, "shape") else tuple(value.shape)
