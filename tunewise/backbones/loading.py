"""A backbone's tokenizer and weights, from its local folder alone."""

from __future__ import annotations

from contextlib import contextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any, cast

from tunewise.backbones.offline import offline
from tunewise.errors import BackboneError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

    from tunewise.contracts import Backbone

_BERT_SHAPED = ("hidden_dropout_prob", "attention_probs_dropout_prob", "hidden_dropout", "attention_dropout", "dropout")
_OTHERS = ("activation_dropout", "embedding_dropout", "mlp_dropout", "embd_pdrop", "resid_pdrop", "attn_pdrop", "embd_dropout")
DROPOUTS = frozenset({*_BERT_SHAPED, *_OTHERS})
"""Names under which configurations keep the dropout probabilities of their layers; those of heads are not among them."""


def load_tokenizer(backbone: Backbone) -> PreTrainedTokenizerFast:
    """Return the tokenizer, padding and cutting on the right, cutting at ``backbone.max_tokens``.

    Raises:
        BackboneError: If the folder's tokenizer has no fast form.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    with offline():
        tokenizer = AutoTokenizer.from_pretrained(backbone.folder, local_files_only=True, trust_remote_code=False, use_fast=True)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise BackboneError(
            f"{backbone.name} has a {type(tokenizer).__name__}, which has no fast form. "
            f"Save a tokenizer.json into {backbone.folder}."
        )
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    tokenizer.model_max_length = backbone.max_tokens
    if tokenizer.pad_token_id is None:
        # Masked positions reach no result, so any token of the vocabulary will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or cast("str", tokenizer.convert_ids_to_tokens(0))
    return tokenizer


def load_trunk(backbone: Backbone, *, dropout: float | None = None) -> PreTrainedModel:
    """Return the float32 model without pooler and head, on the CPU, in evaluation mode.

    Args:
        backbone: The backbone to load.
        dropout: Probability for every dropout layer of the trunk; the model's own unless given.

    Raises:
        BackboneError: If the file's weights do not fill the model.
    """
    import torch
    from transformers import AutoModel

    config = read_config(backbone.folder)
    if dropout is not None:
        set_dropout(config, dropout)
    with offline(), quiet(), _damage_named(backbone):
        model, report = AutoModel.from_pretrained(
            backbone.folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            attn_implementation=_attention(config),
            output_loading_info=True,
            **_without_pooler(config),
        )
    if lacking := sorted({*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])}):
        raise BackboneError(
            f"{backbone.folder} lacks {len(lacking)} weights of its architecture, such as {lacking[0]}; "
            "they would start from random numbers. Fetch the model again."
        )
    return model.eval()


@contextmanager
def _damage_named(backbone: Backbone) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise BackboneError(f"The weights in {backbone.folder} are damaged: {error}. Fetch the model again.") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Hide transformers' progress bars and reports inside the block: a trunk is loaded often, and in a moment.

    The report lists weights that are left out on purpose, the pooler's; what is lacking is refused by `load_trunk`.
    """
    from transformers.utils import logging

    was_shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if was_shown:
            logging.enable_progress_bar()


def read_config(folder: Path) -> PreTrainedConfig:
    """Return the model's configuration."""
    from transformers import AutoConfig

    with offline():
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def bare_model(config: PreTrainedConfig) -> PreTrainedModel:
    """Return the architecture of ``config`` without pooler and head, with the weights it starts from."""
    return _class_of(config)(config, **_without_pooler(config))


def set_dropout(config: PreTrainedConfig, probability: float) -> None:
    """Set every dropout probability of the layers that ``config`` names."""
    for name in DROPOUTS & config.to_dict().keys():
        setattr(config, name, probability)


def _class_of(config: PreTrainedConfig) -> Any:
    from transformers import MODEL_MAPPING

    found = MODEL_MAPPING[type(config)]
    return found[0] if isinstance(found, (tuple, list)) else found


def _without_pooler(config: PreTrainedConfig) -> dict[str, bool]:
    return {"add_pooling_layer": False} if "add_pooling_layer" in signature(_class_of(config).__init__).parameters else {}


def _attention(config: PreTrainedConfig) -> str:
    return "sdpa" if _class_of(config)._supports_sdpa else "eager"  # noqa: SLF001 - transformers offers no public question
