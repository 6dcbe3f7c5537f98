"""A trunk with output layers: hidden states, one vector per text, class scores."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tunewise.backbones.loading import load_trunk
from tunewise.backbones.pooling import pool
from tunewise.training.batches import collate, passes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor
    from transformers import PreTrainedModel

    from tunewise.contracts import Backbone, Device, Matrix
    from tunewise.training.batches import Batch, Encoded

HEAD_DEVIATION = 0.02
"""Standard deviation of the last layer's first weights, as in Devlin et al. 2019."""

SCORING_TOKENS = {"cpu": 4096, "cuda": 65_536}
"""Padded tokens of one forward pass without gradients; larger ones leave a core's cache and are slower."""


class OutputLayers(nn.Sequential):
    """Dropout and a linear layer per width, GELU between them, over vectors brought to root mean square one.

    The scale of pooled states differs a hundredfold between backbones. At one scale, one learning rate
    serves them all, and L2-normalised features give what raw ones give.
    """

    def __init__(self, width: int, hidden_layers: Sequence[int], n_classes: int, dropout: float) -> None:
        layers: list[nn.Module] = []
        for below, above in zip((width, *hidden_layers), (*hidden_layers, n_classes), strict=True):
            layers += [nn.Dropout(dropout), nn.Linear(below, above), nn.GELU()]
        super().__init__(*layers[:-1])
        last = cast("nn.Linear", self[-1])
        nn.init.normal_(last.weight, std=HEAD_DEVIATION)
        nn.init.zeros_(last.bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the inherited name
        """Return class scores. Shapes: (n, width) -> (n, n_classes)."""
        scaled = nn.functional.normalize(input, dim=-1) * input.shape[-1] ** 0.5
        return super().forward(scaled)


class Classifier(nn.Module):
    """A trunk, the pooling of its backbone, and output layers in float32."""

    def __init__(self, trunk: nn.Module, head: OutputLayers, backbone: Backbone, device: Device) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.device = device
        self._pooling = backbone.pooling
        self.options: dict[str, Any] = {"use_cache": False} if backbone.kind == "decoder" else {}
        self._has_fused_attention = self._attention == "sdpa"

    @property
    def _attention(self) -> str:
        return cast("str", self.pretrained.config._attn_implementation)  # noqa: SLF001 - transformers offers no public name

    @property
    def pretrained(self) -> PreTrainedModel:
        """Return the backbone's model, whatever is wrapped around it."""
        from transformers import PreTrainedModel

        return next(module for module in self.trunk.modules() if isinstance(module, PreTrainedModel))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return class scores of a padded batch. Shape: (n_texts, n_classes), float32."""
        return self.head(self.vectors(batch))

    def vectors(self, batch: dict[str, Tensor]) -> Tensor:
        """Return one vector per text of a padded batch. Shape: (n_texts, width), float32."""
        with autocast(self.device):
            hidden = self.trunk(**batch, **self.options).last_hidden_state
        # Positions that a method put before the text are as real as those of the text.
        mask = functional.pad(batch["attention_mask"], (hidden.shape[1] - batch["attention_mask"].shape[1], 0), value=1)
        return pool(hidden.float(), mask, self._pooling)

    def train(self, mode: bool = True) -> Classifier:
        """Switch the mode, and on a CPU the form of attention with it."""
        if self.device.kind == "cpu" and self._has_fused_attention and self._attention in ("eager", "sdpa"):
            # The fused kernel's backward pass is 5 to 10% slower on CPUs than plain matrix products, at 16 to 256 tokens.
            self.pretrained.set_attn_implementation("eager" if mode else "sdpa")
        return super().train(mode)


def new_classifier(backbone: Backbone, n_classes: int, device: Device, *, dropout: float) -> Classifier:
    """Return the backbone with one new output layer, on the device; its first weights are drawn from torch's generator."""
    head = OutputLayers(backbone.hidden_size, (), n_classes, dropout)
    return Classifier(load_trunk(backbone, dropout=dropout), head, backbone, device).to(device.kind)


@contextmanager
def autocast(device: Device) -> Iterator[None]:
    """Compute matrix products of the block in bfloat16 where the device's precision is that."""
    with torch.autocast(device.kind, torch.bfloat16, enabled=device.dtype == "bfloat16"):
        yield


def probabilities(classifier: Classifier, encoded: Encoded, n_classes: int, batch: Batch | None = None) -> Matrix:
    """Return class probabilities, computed in passes that depend on the texts' lengths alone.

    Args:
        classifier: Answers.
        encoded: The texts' tokens.
        n_classes: Number of classes.
        batch: Makes the trunk's batch of some rows; the padded tokens unless given.

    Shape:
        (n_texts, n_classes), float32
    """
    device, lengths = classifier.device.kind, encoded.lengths
    found = np.empty((len(lengths), n_classes), dtype=np.float32)
    with torch.inference_mode():
        for rows in passes(np.arange(len(lengths)), lengths, SCORING_TOKENS[device]):
            made = collate(encoded, rows, device) if batch is None else batch(rows)
            found[rows] = classifier(made).softmax(-1).cpu().numpy()
    return found


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that training moves, by name."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def n_numbers(parameters: Iterator[Tensor] | Sequence[Tensor]) -> int:
    """Return how many numbers tensors hold together."""
    return sum(parameter.numel() for parameter in parameters)
