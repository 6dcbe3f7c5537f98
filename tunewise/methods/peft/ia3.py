"""IA3: trained scales of keys, values and the feed-forward part's inner activations, in every block.

``softmax(Q (l_k * K)^T) (l_v * V)`` and ``W_2 (l_ff * gelu(W_1 x))``, with ``*`` element by element. The three vectors
start at one, so step zero is the backbone; they are the fewest numbers that any method here trains inside a block. For
answers they are multiplied into the weights, so that these cost what the backbone's cost.

Source: Liu et al. 2022, "Few-shot parameter-efficient fine-tuning is better and cheaper than in-context learning",
arXiv:2205.05638, section 3.3. Through peft.
Differs from the source: where an architecture computes query, key and value in one layer (GPT-2, ModernBERT), the query is
scaled too; the vectors are not decayed, as decay would draw them to zero, not to one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from tunewise.contracts import Method, Need
from tunewise.training.settings import TrunkSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tunewise.contracts import Inputs, Predictor, Runtime
    from tunewise.rng import Rng
    from tunewise.training.classifier import Classifier


class Ia3Settings(TrunkSettings):
    """Settings of ``ia3``."""

    learning_rate: float = Field(1e-2, gt=0, le=1, description="Highest step size of AdamW for the scales.")
    weight_decay: float = Field(0.0, ge=0, le=1, description="Of the scales and the output layer's matrix.")


def fit(inputs: Inputs, settings: Ia3Settings, *, rng: Rng) -> Predictor:
    """Train the scales and the output layer on ``inputs.train``.

    Raises:
        BackboneError: If the backbone's blocks are not known.
    """
    with inputs.monitor.untimed():  # the import of a library is no cost of the method that comes first
        import peft  # noqa: F401

        from tunewise.training.fitting import fit_classifier, predictor_of, start_classifier
        from tunewise.training.installing import merge_peft, put_in

    classifier = start_classifier(inputs, settings.dropout, rng)
    shape = shape_of(classifier)
    put_in(install, classifier, shape)
    kept = fit_classifier(classifier, inputs, settings, shape, rng)
    merge_peft(classifier)
    return predictor_of(classifier, kept, inputs.runtime)


def load(folder: Path, runtime: Runtime) -> Predictor:
    """Put the scales in again, and read them and the output layer."""
    from tunewise.training.installing import load_installed, merge_peft

    return load_installed(install, folder, runtime, merge=merge_peft)


def shape_of(classifier: Classifier) -> dict[str, Any]:
    """Return the layers whose results are scaled, and those whose inputs are."""
    from tunewise.training.blocks import blocks_of

    blocks = blocks_of(classifier.pretrained)
    results = dict.fromkeys([*blocks.names("key"), *blocks.names("value")])
    return {"results": list(results), "inputs": blocks.names("feed_forward_output")}


def install(classifier: Classifier, shape: dict[str, Any]) -> None:
    """Put a scale of ones at the layers of ``shape``."""
    from peft import IA3Config
    from transformers.pytorch_utils import Conv1D

    from tunewise.training.installing import wrap_with_peft

    # GPT-2 keeps its weights transposed.
    is_transposed = isinstance(classifier.pretrained.get_submodule(shape["inputs"][0]), Conv1D)
    config = IA3Config(
        target_modules=[*shape["results"], *shape["inputs"]], feedforward_modules=shape["inputs"], fan_in_fan_out=is_transposed
    )
    wrap_with_peft(classifier, config)


METHOD = Method(
    settings=Ia3Settings,
    fit=fit,
    load=load,
    trains="scales in every block and an output layer",
    source="Liu et al. 2022, arXiv:2205.05638",
    needs=frozenset({Need.TRUNK}),
    is_default=False,
    badges=frozenset({"pytorch", "huggingface"}),
)
