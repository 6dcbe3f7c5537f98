"""Something trained inside a frozen trunk: put in and trained, put in again and filled."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from tunewise.backbones.loading import load_tokenizer
from tunewise.errors import SettingsError
from tunewise.training.batches import encode
from tunewise.training.fitting import blank_classifier, fit_classifier, predictor_of
from tunewise.training.keeping import fill, read_kept

if TYPE_CHECKING:
    from pathlib import Path

    from peft import PeftConfig

    from tunewise.contracts import Backbone, Inputs, Runtime
    from tunewise.rng import Rng
    from tunewise.training.classifier import Classifier
    from tunewise.training.fitting import TrunkPredictor
    from tunewise.training.settings import TrunkSettings

COMMON_TOKENS = 5000
"""Vectors start from tokens among so many of the most frequent, as in Lester et al. 2021, section 3.2."""


class Install(Protocol):
    """Puts what ``shape`` describes into the trunk of ``classifier``; what it leaves trainable is trained."""

    def __call__(self, classifier: Classifier, shape: dict[str, Any]) -> None:
        """Change ``classifier``; first weights come from torch's generator."""


class Merge(Protocol):
    """Makes of what was trained what answers, where these differ."""

    def __call__(self, classifier: Classifier) -> None:
        """Change ``classifier``; its answers stay what they were."""


def as_it_is(classifier: Classifier) -> None:
    """Leave the classifier as it was trained."""


def fit_installed(
    install: Install, classifier: Classifier, shape: dict[str, Any], inputs: Inputs, settings: TrunkSettings, rng: Rng
) -> TrunkPredictor:
    """Freeze the trunk, put in what ``shape`` describes, and train that and the output layer on ``inputs.train``.

    Args:
        install: Puts it in.
        classifier: The backbone with a new output layer.
        shape: Plain JSON; is stored, and given to ``install`` again when the fit is loaded.
        inputs: Training and development rows.
        settings: Step sizes and schedule.
        rng: First weights come from its stream ``added``.
    """
    with rng.child("added").torch():
        put_in(install, classifier, shape)
    kept = fit_classifier(classifier, inputs, settings, shape, rng)
    return predictor_of(classifier, kept, inputs.runtime)


def load_installed(install: Install, folder: Path, runtime: Runtime, *, merge: Merge = as_it_is) -> TrunkPredictor:
    """Return the predictor that ``folder`` holds: the backbone with what was put in, filled and merged."""
    from tunewise.rng import Rng

    kept = read_kept(folder)
    classifier = blank_classifier(kept, runtime)
    with Rng(0).torch():
        put_in(install, classifier, kept.shape)
    fill(classifier, kept)
    merge(classifier)
    return predictor_of(classifier, kept, runtime)


def load_plain(folder: Path, runtime: Runtime) -> TrunkPredictor:
    """Return the predictor that ``folder`` holds: the backbone, some of whose own weights were trained."""
    kept = read_kept(folder)
    classifier = blank_classifier(kept, runtime)
    fill(classifier, kept)
    return predictor_of(classifier, kept, runtime)


def put_in(install: Install, classifier: Classifier, shape: dict[str, Any]) -> None:
    """Freeze the trunk and install into it, on the classifier's device."""
    classifier.trunk.requires_grad_(requires_grad=False)
    install(classifier, shape)
    classifier.to(classifier.device.kind)


def wrap_with_peft(classifier: Classifier, config: PeftConfig) -> None:
    """Put peft's layers into the trunk, without a warning that no user can act on."""
    from peft import get_peft_model

    with warnings.catch_warnings():
        # peft asks transformers for a name that it is about to rename.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        classifier.trunk = get_peft_model(classifier.pretrained, config)


def merge_peft(classifier: Classifier) -> None:
    """Work what peft's layers trained into the weights beside them."""
    trunk: Any = classifier.trunk
    classifier.trunk = trunk.merge_and_unload()


def drawn_tokens(inputs: Inputs, n: int, rng: Rng) -> list[int]:
    """Return ``n`` tokens drawn from the most frequent ones of the training texts, special ones left out.

    Raises:
        SettingsError: If the backbone could not read so many at once.
    """
    backbone = cast("Backbone", inputs.runtime.backbone)
    if n >= backbone.max_tokens:
        raise SettingsError(
            f"length={n} was given and {backbone.name} reads {backbone.max_tokens} tokens, so none would be left for the text. "
            f"Give a length well below {backbone.max_tokens}."
        )
    tokenizer = load_tokenizer(backbone)
    found, counts = np.unique(np.concatenate(encode(tokenizer, inputs.train.texts).tokens.ids), return_counts=True)
    is_plain = ~np.isin(found, tokenizer.all_special_ids)
    if not is_plain.any():
        is_plain[:] = True
    common = found[is_plain][np.argsort(-counts[is_plain], kind="stable")][:COMMON_TOKENS]
    return [int(token) for token in rng.child("tokens").numpy().choice(common, size=n, replace=n > len(common))]
