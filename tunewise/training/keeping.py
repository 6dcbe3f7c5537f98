"""What is stored of a gradient fit: the trained numbers as safetensors, and what they are as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tunewise.errors import ArtifactError
from tunewise.training.classifier import n_numbers, trained

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

WEIGHTS = "trained.safetensors"
FACTS = "fit.json"


@dataclass(frozen=True, eq=False)
class Kept:
    """The trained numbers of a module in float32, and the facts that go with them."""

    tensors: dict[str, Tensor]
    n_classes: int
    n_trained_parameters: int
    n_total_parameters: int
    chosen: dict[str, Any]
    shape: dict[str, Any] = field(default_factory=dict)
    """What the method needs to build the module again; plain JSON."""

    def save(self, folder: Path) -> None:
        """Write both files into ``folder``."""
        save_file({name: tensor.cpu().contiguous() for name, tensor in self.tensors.items()}, folder / WEIGHTS)
        facts = {name: value for name, value in vars(self).items() if name != "tensors"}
        (folder / FACTS).write_text(json.dumps(facts, indent=1))


def keep(module: nn.Module, n_classes: int, chosen: dict[str, Any], shape: dict[str, Any]) -> Kept:
    """Return what is stored of ``module``; its trained tensors are referred to, not copied.

    Args:
        module: The trained module.
        n_classes: Width of its answers.
        chosen: What the fit chose on development rows.
        shape: What the method needs to build the module again.
    """
    found = trained(module)
    return Kept(
        {name: parameter.detach() for name, parameter in found.items()},
        n_classes,
        n_numbers(list(found.values())),
        n_numbers(list(module.parameters())),
        chosen,
        shape,
    )


def read_kept(folder: Path) -> Kept:
    """Return what `Kept.save` wrote.

    Raises:
        ArtifactError: If a file is missing or altered.
    """
    try:
        return Kept(load_file(folder / WEIGHTS), **json.loads((folder / FACTS).read_text()))
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise ArtifactError(f"{folder} holds no readable {WEIGHTS} and {FACTS}: {error}. Delete it and fit again.") from error


def fill(module: nn.Module, kept: Kept) -> None:
    """Copy the stored numbers into ``module``.

    Raises:
        ArtifactError: If a stored tensor has no place of its name and shape.
    """
    places = dict(module.named_parameters())
    with torch.no_grad():
        for name, tensor in kept.tensors.items():
            if name not in places or places[name].shape != tensor.shape:
                raise ArtifactError(
                    f"The stored weight {name} of shape {tuple(tensor.shape)} has no place in this backbone, "
                    "so it was fitted on another one. Load it with the backbone it was fitted on."
                )
            places[name].copy_(tensor)
